"""Masked language modelling (MLM), equation 1 of the D-BETA paper."""

from torch import Tensor
from torch.nn import functional

IGNORED = -100
REDUCTIONS = ("mean", "sum_per_report")


def mlm_loss(
    logits: Tensor, labels: Tensor, reports: int, reduction: str = "mean", count: Tensor | float | None = None
) -> Tensor:
    """Cross-entropy of the scored tokens.

    Parameters
    ----------
    logits : Tensor, shape (M, V)
        Logits at the M scored tokens only.
    labels : Tensor, shape (M,)
        Their true ids.
    reports : int
        B, for the paper's reduction.
    reduction : str
        ``mean`` over the M tokens (the release) or ``sum_per_report``: their sum divided by B (the paper).
    count : Tensor or float, optional
        What to divide by instead of M, or B: of all processes, a process's share.

    Returns
    -------
    Tensor, scalar float32
        Zero, with a gradient of zero, when no token is scored (the release gives NaN).
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"mlm_reduction={reduction!r}: expected one of {', '.join(REDUCTIONS)}")
    if labels.numel() == 0:
        return logits.float().sum() * 0.0
    total = functional.cross_entropy(logits.float(), labels, reduction="sum")
    if count is None:
        count = labels.numel() if reduction == "mean" else reports
    return total / count


def mlm_counts(logits: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """Correct and scored tokens, for the accuracy."""
    return (logits.argmax(-1) == labels).sum(), labels.numel()
