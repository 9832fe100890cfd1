"""Masked ECG modelling alone."""

from dataclasses import dataclass

from fairseq.criterions import register_criterion

from ecgtext_plugins.criterions._terms import MemOptions, TermsCriterion


@dataclass
class MemCriterionConfig(MemOptions):
    """Keys of `criterion=mem`."""


@register_criterion("mem", dataclass=MemCriterionConfig)
class MemCriterion(TermsCriterion):
    """Masked ECG modelling alone."""

    @staticmethod
    def term_weights(cfg: MemCriterionConfig) -> dict[str, float]:
        """Weight 1 for the one term."""
        return {"mem": 1.0}
