"""Identification by additive angular margin (ArcFace, Deng et al. 2019)."""

from dataclasses import dataclass, field

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from torch import Tensor

from ecgtext_plugins.criterions._logging import batch_counts, log_totals, sums
from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.modules.arcface import arcface_loss


@dataclass
class ArcFaceCriterionConfig(FairseqDataclass):
    """Keys of `criterion=arcface`."""

    scale: float = field(default=32.0, metadata={"help": "factor on the cosines"})
    margin: float = field(default=0.5, metadata={"help": "angle, in radians, that is added to the own identity's"})


@register_criterion("arcface", dataclass=ArcFaceCriterionConfig)
class ArcFaceCriterion(FairseqCriterion):
    """Sum of the cross-entropy over ECGs, whose number is the sample size."""

    def __init__(self, cfg: ArcFaceCriterionConfig, task):
        super().__init__(task)
        self.cfg = cfg

    @classmethod
    def build_criterion(cls, cfg: ArcFaceCriterionConfig, task) -> "ArcFaceCriterion":
        """Build from the typed config."""
        return cls(cfg, task)

    def forward(self, model, sample: dict) -> tuple[Tensor, int, dict]:
        """Return (loss, sample size, logging output) of one batch."""
        identity = sample["target"]["identity"]
        cosines = model(**sample["net_input"], mask_seed=sample["target"].get("mask_seed"))["logits"]
        try:
            loss = arcface_loss(cosines, identity, self.cfg.scale, self.cfg.margin)
        except ValueError as error:
            raise BadConfig(f"criterion: {error}") from error
        log = batch_counts(sample, len(identity)) | {"loss": loss.detach(), "count": len(identity)}
        with torch.no_grad():
            log["correct"] = (cosines.argmax(dim=1) == identity).sum()
        return loss, len(identity), log

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict]) -> None:
        """Log the loss, in bits an ECG, and how many cosines are largest for the own identity (without margin)."""
        log_totals(sums(logging_outputs))

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All values are sums."""
        return True
