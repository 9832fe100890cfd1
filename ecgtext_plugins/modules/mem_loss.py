"""Masked ECG modelling (MEM), equation 2 of the D-BETA paper."""

from torch import Tensor

REDUCTIONS = ("mean", "sum_per_ecg")


def mem_loss(predicted: Tensor, target: Tensor, removed: Tensor, reduction: str = "mean") -> Tensor:
    """Squared error of the removed patches.

    Parameters
    ----------
    predicted : Tensor, shape (B, N, 12, P)
    target : Tensor, shape (B, N, 12 * P)
        From `patch_targets`.
    removed : Tensor, shape (B, N)
        1.0 where the encoder did not see the patch.
    reduction : str
        ``mean``: mean over the values of a patch, then over removed patches (the release); ``sum_per_ecg``: sum over
        all values of removed patches, divided by B (the paper).

    Returns
    -------
    Tensor, scalar float32
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"mem_reduction={reduction!r}: expected one of {', '.join(REDUCTIONS)}")
    error = (predicted.flatten(2).float() - target.float()).square()
    if reduction == "sum_per_ecg":
        return (error.sum(-1) * removed).sum() / len(error)
    return (error.mean(-1) * removed).sum() / removed.sum().clamp(min=1)
