"""The four D-BETA terms as options, computation on a batch, and logging, shared by the registered criteria."""

from dataclasses import dataclass, field

import torch
from fairseq import metrics
from fairseq.criterions import FairseqCriterion
from fairseq.dataclass import FairseqDataclass
from torch import Tensor

from ecgtext_plugins.criterions._logging import sums
from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.modules import ets_exchange, ets_loss, mem_loss, mlm_loss, patch_masking
from ecgtext_plugins.modules.etm_loss import etm_counts, etm_loss
from ecgtext_plugins.modules.ets_exchange import NOBODY, ets_loss_of_all, share_of_all
from ecgtext_plugins.modules.ets_loss import ets_logits, mean_cosine, retrieval_counts

ACCURACIES = ("mlm", "etm", "retrieval", "text_retrieval")
MEANS = ("ecg_cosine", "text_cosine")
ALLOWED = {
    "mlm_reduction": mlm_loss.REDUCTIONS,
    "mem_reduction": mem_loss.REDUCTIONS,
    "mem_normalize": patch_masking.NORMALIZATIONS,
    "mem_target": ("original", "input"),
    "ets_reduction": ets_loss.REDUCTIONS,
    "ets_duplicates": ets_loss.DUPLICATES,
    "ets_exchange": ets_exchange.EXCHANGES,
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
    mem_normalize: str = field(
        default="lead",
        metadata={"help": "targets to zero mean and unit variance per record and lead (release), or patch, or none"},
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
        default="ignore",
        metadata={"help": "pairs with a word-for-word identical report: ignore, negative (release), positive"},
    )
    ets_exchange: str = field(
        default="gather",
        metadata={"help": "how processes share texts: gather, or neighbour by neighbour (less memory)"},
    )
    ets_chunk: int = field(default=0, metadata={"help": "pairs of so many ECGs at a time (0: all), to save memory"})


def _mlm(criterion, model, sample, out, share):
    labels, reduction = sample["target"]["mlm_scored"], criterion.cfg.mlm_reduction
    count = share["tokens" if reduction == "mean" else "rows"].clamp(min=1e-9)
    loss = mlm_loss.mlm_loss(out["mlm_logits"], labels, sample["nsentences"], reduction, count)
    return loss, {"mlm": mlm_loss.mlm_counts(out["mlm_logits"], labels)}, {}


def _mem(criterion, model, sample, out, share):
    cfg, padding = criterion.cfg, sample["net_input"]["ecg_padding_mask"]
    ecg = sample["target"]["ecg_original"] if cfg.mem_target == "original" else sample["net_input"]["ecg"]
    target = patch_masking.patch_targets(ecg, model.samples_per_patch, cfg.mem_normalize, padding)
    count = share["patches" if cfg.mem_reduction == "mean" else "rows"].clamp(min=1e-9)
    predicted = out["mem_logits"], target, out["mem_removed"]
    return mem_loss.mem_loss(*predicted, cfg.mem_reduction, count, out["mem_places"]), {}, {}


def _etm(criterion, model, sample, out, share):
    aligned = sample["target"]["is_aligned"]
    loss = etm_loss(out["etm_logits"], aligned) * (len(aligned) / share["rows"].clamp(min=1e-9))
    return loss, {"etm": etm_counts(out["etm_logits"], aligned)}, {}


def _ets(criterion, model, sample, out, share):
    target, cfg = sample["target"], criterion.cfg
    features = out["ecg_features"], out["text_features"]
    similarity = *model.ets_scale_and_bias(), model.config.ets_normalize
    options = cfg.ets_duplicates, cfg.ets_reduction, cfg.ets_exchange, cfg.ets_chunk
    shown = target
    if criterion.is_dummy:
        nobody = torch.full_like(target["report_id"], NOBODY)
        shown = target | {"report_id": nobody, "text_report_id": nobody}
    loss = ets_loss_of_all(*features, shown, *similarity, *options, alone=not model.training)
    with torch.no_grad():
        reports = target["report_id"], target["text_report_id"], target["is_aligned"]
        to_text, to_ecg, judged = retrieval_counts(ets_logits(*features, *similarity), *reports)
    counts = {"retrieval": (to_text, judged), "text_retrieval": (to_ecg, judged)}
    return loss, counts, {"ecg_cosine": mean_cosine(features[0]), "text_cosine": mean_cosine(features[1])}


TERMS = {"mlm": _mlm, "mem": _mem, "etm": _etm, "ets": _ets}


class TermsCriterion(FairseqCriterion):
    """Weighted sum of D-BETA terms; a term of weight 0 is not computed.

    The loss is a mean over the batch, so that the sample size is 1 for every batch. Of several processes, each divides
    its sums by its share of what all have, so that the gradients, averaged over processes, are those of one process on
    the whole batch.

    Attributes
    ----------
    is_dummy : bool
        Set by the task where a process has run out of batches: its rows count nothing for the others either.
    """

    def __init__(self, cfg: FairseqDataclass, task):
        super().__init__(task)
        self.cfg, self.is_dummy = cfg, False
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
        net_input, target = sample["net_input"], sample["target"]
        n_patches = net_input["ecg"].shape[-1] // model.samples_per_patch
        noise = patch_masking.seeded_noise(target["patch_seed"], n_patches)
        out = model(**net_input, heads=tuple(self.weights), mask_noise=noise)
        share = self._share(target, out, alone=not model.training)
        log = {"ntokens": sample["ntokens"], "nsentences": sample["nsentences"], "sample_size": 1}
        loss = 0.0
        for name, weight in self.weights.items():
            term, counts, means = TERMS[name](self, model, sample, out, share)
            loss = loss + weight * term
            log[f"{name}_loss"] = term.detach()
            for kind, (correct, total) in counts.items():
                log[f"{kind}_correct"], log[f"{kind}_total"] = correct, total
            log |= means
        log["loss"] = loss.detach()
        return loss, 1, log

    def _share(self, target: dict, out: dict, alone: bool) -> dict[str, Tensor]:
        """Return what the terms divide by: scored tokens, removed patches and rows, shared among the processes."""
        removed = out["mem_removed"].sum() if "mem_removed" in out else out["ecg_features"].new_zeros(())
        own = torch.tensor([len(target["mlm_scored"]), 0.0, len(target["is_aligned"])], device=removed.device)
        own[1] = removed
        shared = own if alone else share_of_all(own * (not self.is_dummy))
        return dict(zip(("tokens", "patches", "rows"), shared.unbind(), strict=True))

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


def summarise(logging_outputs: list[dict]) -> dict[str, float]:
    """Divide the sums of several batches: losses and cosines by batches, accuracies by what was judged."""
    totals = sums(logging_outputs)
    batches = totals.get("sample_size", 0.0)
    if not batches:
        return {}
    names = ("loss", *(f"{name}_loss" for name in TERMS), *MEANS)
    values = {name: totals[name] / batches for name in names if name in totals}
    for kind in ACCURACIES:
        if totals.get(f"{kind}_total"):
            values[f"{kind}_accuracy"] = totals[f"{kind}_correct"] / totals[f"{kind}_total"]
    return values
