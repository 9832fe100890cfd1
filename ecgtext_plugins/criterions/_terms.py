"""The four D-BETA terms as options, computation on a batch, and logging, shared by the registered criteria."""

from dataclasses import dataclass, field

import torch
from fairseq import metrics
from fairseq.criterions import FairseqCriterion
from fairseq.dataclass import FairseqDataclass

from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.modules import ets_loss as ets_module
from ecgtext_plugins.modules import mem_loss as mem_module
from ecgtext_plugins.modules import mlm_loss as mlm_module
from ecgtext_plugins.modules.etm_loss import etm_counts, etm_loss
from ecgtext_plugins.modules.ets_loss import ets_labels, ets_logits, ets_loss, retrieval_counts
from ecgtext_plugins.modules.mem_loss import mem_loss
from ecgtext_plugins.modules.mlm_loss import IGNORED, mlm_counts, mlm_loss
from ecgtext_plugins.modules.patch_masking import patch_targets, seeded_noise

ACCURACIES = ("mlm", "etm", "retrieval")
ALLOWED = {
    "mlm_reduction": mlm_module.REDUCTIONS,
    "mem_reduction": mem_module.REDUCTIONS,
    "mem_target": ("original", "input"),
    "ets_reduction": ets_module.REDUCTIONS,
    "ets_duplicates": ets_module.DUPLICATES,
}


@dataclass
class MlmOptions(FairseqDataclass):
    """Options of masked language modelling."""

    mlm_reduction: str = field(
        default="mean",
        metadata={"help": "mean over scored tokens (release) or sum_per_report: sum / B (paper, equation 1)"},
    )


@dataclass
class MemOptions(FairseqDataclass):
    """Options of masked ECG modelling."""

    mem_target: str = field(
        default="original",
        metadata={"help": "predict the original ECG, or the lead-masked input as the release (input)"},
    )
    mem_normalize: bool = field(
        default=True, metadata={"help": "targets to zero mean and unit variance per record and lead"}
    )
    mem_reduction: str = field(
        default="mean",
        metadata={"help": "mean over values and removed patches (release) or sum_per_ecg: sum / B (paper, equation 2)"},
    )


@dataclass
class EtsOptions(FairseqDataclass):
    """Options of the ECG-text sigmoid loss."""

    ets_reduction: str = field(
        default="sum_per_row", metadata={"help": "sum over pairs / B (paper, equation 4) or mean over pairs (release)"}
    )
    ets_duplicates: str = field(
        default="ignore", metadata={"help": "pairs with a word-for-word identical report: ignore, negative, positive"}
    )


def _mlm(criterion, model, sample, out):
    labels = sample["target"]["mlm_labels"]
    labels = labels[labels != IGNORED]
    loss = mlm_loss(out["mlm_logits"], labels, sample["nsentences"], criterion.cfg.mlm_reduction)
    return loss, {"mlm": mlm_counts(out["mlm_logits"], labels)}


def _mem(criterion, model, sample, out):
    kinds = {"original": sample["target"]["ecg_original"], "input": sample["net_input"]["ecg"]}
    target = patch_targets(kinds[criterion.cfg.mem_target], model.samples_per_patch, criterion.cfg.mem_normalize)
    return mem_loss(out["mem_logits"], target, out["mem_removed"], criterion.cfg.mem_reduction), {}


def _etm(criterion, model, sample, out):
    aligned = sample["target"]["is_aligned"]
    return etm_loss(out["etm_logits"], aligned), {"etm": etm_counts(out["etm_logits"], aligned)}


def _ets(criterion, model, sample, out):
    target = sample["target"]
    logits = ets_logits(
        out["ecg_features"], out["text_features"], *model.ets_scale_and_bias(), model.config.ets_normalize
    )
    reports = target["report_id"], target["text_report_id"]
    labels = ets_labels(target["is_aligned"], *reports, criterion.cfg.ets_duplicates)
    counts = retrieval_counts(logits, *reports, target["is_aligned"])
    return ets_loss(logits, labels, criterion.cfg.ets_reduction), {"retrieval": counts}


TERMS = {"mlm": _mlm, "mem": _mem, "etm": _etm, "ets": _ets}


class TermsCriterion(FairseqCriterion):
    """Weighted sum of D-BETA terms; a term of weight 0 is not computed.

    The loss is a mean over the batch, so that the sample size is 1 for every batch.
    """

    def __init__(self, cfg: FairseqDataclass, task):
        super().__init__(task)
        self.cfg = cfg
        self.weights = {name: weight for name, weight in self.term_weights(cfg).items() if weight != 0}
        if not self.weights:
            raise BadConfig("all weights of the criterion are 0: expected another value for one of " + ", ".join(TERMS))
        for key, allowed in ALLOWED.items():
            if getattr(cfg, key, allowed[0]) not in allowed:
                raise BadConfig(f"criterion.{key}={getattr(cfg, key)}: expected one of {', '.join(allowed)}")

    @classmethod
    def build_criterion(cls, cfg: FairseqDataclass, task) -> "TermsCriterion":
        """Build from the typed config."""
        return cls(cfg, task)

    @staticmethod
    def term_weights(cfg: FairseqDataclass) -> dict[str, float]:
        """Weight of each term: the config's keys `mlm_weight`, `mem_weight`, `etm_weight`, `ets_weight`."""
        return {name: getattr(cfg, f"{name}_weight") for name in TERMS}

    def forward(self, model, sample: dict) -> tuple[torch.Tensor, int, dict]:
        """Return (loss, sample size, logging output) of one batch."""
        positions = sample["target"]["mlm_labels"] != IGNORED
        n_patches = sample["net_input"]["ecg"].shape[-1] // model.samples_per_patch
        noise = seeded_noise(sample["target"]["patch_seed"], n_patches)
        out = model(**sample["net_input"], heads=tuple(self.weights), mlm_positions=positions, mask_noise=noise)
        log = {"ntokens": sample["ntokens"], "nsentences": sample["nsentences"], "sample_size": 1}
        loss = 0.0
        for name, weight in self.weights.items():
            term, counts = TERMS[name](self, model, sample, out)
            loss = loss + weight * term
            log[f"{name}_loss"] = term.detach()
            for kind, (correct, total) in counts.items():
                log[f"{kind}_correct"], log[f"{kind}_total"] = correct, total
        log["loss"] = loss.detach()
        return loss, 1, log

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict]) -> None:
        """Log losses (means over batches) and accuracies (over tokens, pairs, retrievals), as metrics.csv has them."""
        totals = sums(logging_outputs)
        for name, value in summarise(logging_outputs).items():
            judged = f"{name.removesuffix('_accuracy')}_total" if name.endswith("_accuracy") else "sample_size"
            metrics.log_scalar(name, value, totals[judged], round=4)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All values are sums."""
        return True


def sums(logging_outputs: list[dict]) -> dict[str, float]:
    """Sum the logging outputs of several batches, key by key."""
    totals: dict[str, float] = {}
    for log in logging_outputs:
        for key, value in log.items():
            totals[key] = totals.get(key, 0.0) + float(value)
    return totals


def summarise(logging_outputs: list[dict]) -> dict[str, float]:
    """Divide the sums of several batches: losses by batches, accuracies by what was judged."""
    totals = sums(logging_outputs)
    batches = totals.get("sample_size", 0.0)
    if not batches:
        return {}
    values = {"loss": totals["loss"] / batches}
    values |= {f"{name}_loss": totals[f"{name}_loss"] / batches for name in TERMS if f"{name}_loss" in totals}
    for kind in ACCURACIES:
        if totals.get(f"{kind}_total"):
            values[f"{kind}_accuracy"] = totals[f"{kind}_correct"] / totals[f"{kind}_total"]
    return values
