"""ECG-text sigmoid loss alone."""

from dataclasses import dataclass

from fairseq.criterions import register_criterion

from ecgtext_plugins.criterions._terms import EtsOptions, TermsCriterion


@dataclass
class EtsCriterionConfig(EtsOptions):
    """Keys of `criterion=ets`."""


@register_criterion("ets", dataclass=EtsCriterionConfig)
class EtsCriterion(TermsCriterion):
    """ECG-text sigmoid loss alone."""

    @staticmethod
    def term_weights(cfg: EtsCriterionConfig) -> dict[str, float]:
        """Weight 1 for the one term."""
        return {"ets": 1.0}
