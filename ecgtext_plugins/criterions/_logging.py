"""Logging outputs of the criteria: sums over batches and processes, and what is told of them."""

import math

import torch
from fairseq import metrics

ROUND = 4
NOT_TOLD = ("sample_size", "ntokens", "nsentences", "batches", "correct", "count")


def sums(logging_outputs: list[dict]) -> dict[str, float]:
    """Sum the logging outputs of several batches, key by key; tensors come from their device at once."""
    entries = [(key, value) for log in logging_outputs for key, value in log.items()]
    tensors = [value.detach().reshape(()).double() for _, value in entries if torch.is_tensor(value)]
    read = iter(torch.stack(tensors).tolist() if tensors else [])
    totals: dict[str, float] = {}
    for key, value in entries:
        totals[key] = totals.get(key, 0.0) + (next(read) if torch.is_tensor(value) else float(value))
    return totals


def batch_counts(sample: dict, sample_size) -> dict:
    """Begin the logging output of a batch: what fairseq's speed and our means divide by."""
    rows = sample["nsentences"]
    return {
        "sample_size": sample_size,
        "ntokens": sample["ntokens"],
        "nsentences": rows,
        "nsignals": rows,
        "batches": 1,
    }


def log_totals(totals: dict[str, float], apart: tuple[str, ...] = ()) -> None:
    """Log the sums of several batches as fairseq-signals does.

    `loss` and its terms `loss_0`, ... are told in bits: divided by the sample size and ln 2. `accuracy` is
    correct / count, and what else was logged is a mean over batches, but for `apart`.
    """
    size, batches = totals.get("sample_size", 0.0), totals.get("batches", 0.0)
    for name, value in totals.items():
        if name == "loss" or name.startswith("loss_"):
            metrics.log_scalar(name, value / (size or 1.0) / math.log(2), size, round=ROUND)
        elif name not in (*NOT_TOLD, *apart):
            log_ratio(name, value, batches)
    log_ratio("accuracy", totals.get("correct", 0.0), totals.get("count", 0.0))


def log_ratio(name: str, part: float, whole: float) -> None:
    """Log `part / whole`, weighted so that the mean over batches is the ratio of the sums."""
    if whole:
        metrics.log_scalar(name, part / whole, whole, round=ROUND)
