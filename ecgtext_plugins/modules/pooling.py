"""From frames to one vector a record, as fairseq-signals pools."""

import torch
from torch import Tensor


def nonzero_mean(frames: Tensor, padding: Tensor | None = None) -> Tensor:
    """Sum over frames, divided for each channel by the number of frames whose value is not 0.

    The mean over frames that are no padding, but where an activation is exactly 0 (as dropout makes it), which
    does not count. A channel that is 0 in all frames stays 0 (0 / 0 in the published code).

    Parameters
    ----------
    frames : Tensor, shape (B, N, D)
    padding : Tensor, shape (B, N), bool, optional
        True at padding.

    Returns
    -------
    Tensor, shape (B, D), same dtype
    """
    if padding is not None:
        frames = frames.masked_fill(padding[:, :, None], 0.0)
    total, count = frames.sum(1, dtype=torch.float32), (frames != 0).sum(1).clamp(min=1)
    return (total / count).type_as(frames)
