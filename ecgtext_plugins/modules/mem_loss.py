"""Masked ECG modelling (MEM), equation 2 of the D-BETA paper."""

from torch import Tensor

REDUCTIONS = ("mean", "sum_per_ecg")


def mem_loss(
    predicted: Tensor,
    target: Tensor,
    removed: Tensor,
    reduction: str = "mean",
    count: Tensor | float | None = None,
    places: Tensor | None = None,
) -> Tensor:
    """Squared error of the removed patches.

    Parameters
    ----------
    predicted : Tensor, shape (B, R, 12, P)
    target : Tensor, shape (B, N, 12 * P)
        From `patch_targets`.
    removed : Tensor, shape (B, R)
        1.0 where the encoder did not see the predicted patch.
    reduction : str
        ``mean``: mean over the values of a patch, then over removed patches (the release); ``sum_per_ecg``: sum over
        all values of removed patches, divided by B (the paper).
    count : Tensor or float, optional
        What to divide by instead of this batch's own removed patches, or B: of all processes, a process's share.
    places : Tensor, shape (B, R), optional
        Which patches are predicted, when not all are, in order.

    Returns
    -------
    Tensor, scalar float32
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"mem_reduction={reduction!r}: expected one of {', '.join(REDUCTIONS)}")
    if places is not None:
        target = target.gather(1, places[:, :, None].expand(-1, -1, target.shape[-1]))
    error = (predicted.flatten(2).float() - target.float()).square()
    if reduction == "sum_per_ecg":
        return (error.sum(-1) * removed).sum() / (len(error) if count is None else count)
    return (error.mean(-1) * removed).sum() / (removed.sum().clamp(min=1) if count is None else count)
