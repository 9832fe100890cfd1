"""ECG-text matching alone."""

from dataclasses import dataclass

from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass

from ecgtext_plugins.criterions._terms import TermsCriterion


@dataclass
class EtmCriterionConfig(FairseqDataclass):
    """Keys of `criterion=etm`."""


@register_criterion("etm", dataclass=EtmCriterionConfig)
class EtmCriterion(TermsCriterion):
    """ECG-text matching alone."""

    @staticmethod
    def term_weights(cfg: EtmCriterionConfig) -> dict[str, float]:
        """Weight 1 for the one term."""
        return {"etm": 1.0}
