"""Masked language modelling alone."""

from dataclasses import dataclass

from fairseq.criterions import register_criterion

from ecgtext_plugins.criterions._terms import MlmOptions, TermsCriterion


@dataclass
class MlmCriterionConfig(MlmOptions):
    """Keys of `criterion=mlm`."""


@register_criterion("mlm", dataclass=MlmCriterionConfig)
class MlmCriterion(TermsCriterion):
    """Masked language modelling alone."""

    @staticmethod
    def term_weights(cfg: MlmCriterionConfig) -> dict[str, float]:
        """Weight 1 for the one term."""
        return {"mlm": 1.0}
