"""SimCLR (Chen et al. 2020): two views of each ECG attract each other."""

from dataclasses import dataclass, field

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from torch import Tensor

from ecgtext_plugins.criterions._logging import batch_counts, log_totals, sums
from ecgtext_plugins.criterions.cmsc import size_of_mean
from ecgtext_plugins.modules.ets_exchange import NOBODY
from ecgtext_plugins.modules.simclr_loss import simclr_loss


@dataclass
class SimClrCriterionConfig(FairseqDataclass):
    """Keys of `criterion=simclr`."""

    temp: float = field(default=0.1, metadata={"help": "divides the cosines"})
    all_gather: bool = field(
        default=False,
        metadata={"help": "contrast with the views of all processes, as one process would; published: its own only"},
    )


@register_criterion("simclr", dataclass=SimClrCriterionConfig)
class SimClrCriterion(FairseqCriterion):
    """NT-Xent summed over the batch's views, whose number is the sample size; views of one ECG have one id.

    Attributes
    ----------
    is_dummy : bool
        Set by the task where a process has run out of batches: its views count nothing for the others either.
    """

    def __init__(self, cfg: SimClrCriterionConfig, task):
        super().__init__(task)
        self.cfg, self.is_dummy = cfg, False

    @classmethod
    def build_criterion(cls, cfg: SimClrCriterionConfig, task) -> "SimClrCriterion":
        """Build from the typed config."""
        return cls(cfg, task)

    def forward(self, model, sample: dict) -> tuple[Tensor, int, dict]:
        """Return (loss, sample size, logging output) of one batch."""
        source, together = sample["id"], self.cfg.all_gather and model.training
        out = model(**sample["net_input"], mask_seed=sample["target"].get("mask_seed"))
        if self.is_dummy:
            source = torch.full_like(source, NOBODY)
        mean = simclr_loss(out["features"], source, self.cfg.temp, together)
        views = len(source)
        loss = mean * size_of_mean(views, mean, together, self.is_dummy)
        return loss, views, batch_counts(sample, views) | {"loss": loss.detach()}

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict]) -> None:
        """Log the loss, in bits a view."""
        log_totals(sums(logging_outputs))

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All values are sums."""
        return True
