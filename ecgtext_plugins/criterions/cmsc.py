"""Contrastive multi-segment coding (CMSC; CLOCS, Kiyasseh et al. 2021) alone."""

from dataclasses import dataclass, field

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from torch import Tensor

from ecgtext_plugins.criterions._logging import batch_counts, log_totals, sums
from ecgtext_plugins.modules.cmsc_loss import cmsc_loss
from ecgtext_plugins.modules.ets_exchange import NOBODY, share_of_all


@dataclass
class CmscCriterionConfig(FairseqDataclass):
    """Keys of `criterion=cmsc`."""

    temp: float = field(default=0.1, metadata={"help": "divides the cosines"})
    eps: float = field(default=1e-8, metadata={"help": "least length that features are divided by"})
    all_gather: bool = field(
        default=False,
        metadata={"help": "compare with the segments of all processes, as one process would; published: its own only"},
    )
    same_record_only: bool = field(
        default=False,
        metadata={"help": "segments of other records of the same patient are neither positive nor negative"},
    )


@register_criterion("cmsc", dataclass=CmscCriterionConfig)
class CmscCriterion(FairseqCriterion):
    """CMSC times the number of pairs of segments, which is the sample size.

    Attributes
    ----------
    is_dummy : bool
        Set by the task where a process has run out of batches: its segments count nothing for the others either.
    """

    def __init__(self, cfg: CmscCriterionConfig, task):
        super().__init__(task)
        self.cfg, self.is_dummy = cfg, False

    @classmethod
    def build_criterion(cls, cfg: CmscCriterionConfig, task) -> "CmscCriterion":
        """Build from the typed config."""
        return cls(cfg, task)

    def forward(self, model, sample: dict) -> tuple[Tensor, int, dict]:
        """Return (loss, sample size, logging output) of one batch."""
        target, together = sample["target"], self.cfg.all_gather and model.training
        out = model(**sample["net_input"], mask_seed=target.get("mask_seed"))
        pairs = len(target["segment"]) // 2
        mean = cmsc_of_batch(out["features"], target, self.cfg, together, self.is_dummy)
        loss = mean * size_of_mean(pairs, mean, together, self.is_dummy)
        return loss, pairs, batch_counts(sample, pairs) | {"loss": loss.detach()}

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict]) -> None:
        """Log the loss, in bits a pair."""
        log_totals(sums(logging_outputs))

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All values are sums."""
        return True


def cmsc_of_batch(
    features: Tensor, target: dict[str, Tensor], cfg: CmscCriterionConfig, together: bool, is_dummy: bool
) -> Tensor:
    """CMSC of a batch's pooled features (B, D): with its own segments or, `together`, with those of all processes."""
    patient = target["patient_id"]
    return cmsc_loss(
        features,
        torch.full_like(patient, NOBODY) if is_dummy else patient,
        target["segment"],
        record=target.get("record"),
        temperature=cfg.temp,
        eps=cfg.eps,
        same_record_only=cfg.same_record_only,
        gather=together,
    )


def size_of_mean(size: int, mean: Tensor, together: bool, is_dummy: bool) -> Tensor | int:
    """What a mean is multiplied by, so that fairseq's division by the sum of sample sizes leaves the mean.

    A mean over the rows of all processes, whose gradients are averaged over processes, counts as often as their sample
    sizes say on average; a mean over a process's own rows as its own size says.
    """
    return share_of_all(mean.new_tensor(float(size) * (not is_dummy))) if together else size
