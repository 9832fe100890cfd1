"""Random masking of ECG patches (MAE, He et al. 2022) and the patches as regression targets."""

from typing import NamedTuple

import torch
from torch import Tensor


class MaskedPatches(NamedTuple):
    """Kept frames (B, K, D), `removed` (B, N) 1.0 where a patch is gone, `restore` (B, N) their places."""

    kept: Tensor
    removed: Tensor
    restore: Tensor


def seeded_noise(seeds: Tensor, n: int) -> Tensor:
    """Draw each record's noise from its own seed, on the CPU: (B,) int64 -> (B, n) float32 on the seeds' device."""
    rows = [torch.rand(n, generator=torch.Generator().manual_seed(seed)) for seed in seeds.tolist()]
    return torch.stack(rows).to(seeds.device)


def mask_patches(frames: Tensor, mask_ratio: float, noise: Tensor | None = None) -> MaskedPatches:
    """Keep ``int(N * (1 - mask_ratio))`` random frames of each row, in the shuffled order.

    Parameters
    ----------
    frames : Tensor, shape (B, N, D)
    mask_ratio : float
        Share of frames to remove, 0 <= ratio < 1.
    noise : Tensor, shape (B, N), optional
        The frames with the smallest noise are kept; drawn uniformly when not given.

    Raises
    ------
    ValueError
        When nothing would be kept.
    """
    batch, n, width = frames.shape
    keep = int(n * (1 - mask_ratio))
    if keep < 1:
        raise ValueError(f"mask ratio {mask_ratio} keeps none of {n} frames: expected a smaller ratio or a longer ECG")
    if noise is None:
        noise = torch.rand(batch, n, device=frames.device)
    order = noise.argsort(dim=1)
    restore = order.argsort(dim=1)
    kept = frames.gather(1, order[:, :keep, None].expand(-1, -1, width))
    return MaskedPatches(kept, (restore >= keep).to(noise.dtype), restore)


def patch_targets(ecg: Tensor, samples_per_patch: int, normalize: bool = True) -> Tensor:
    """Cut an ECG into the patches that MEM predicts.

    Parameters
    ----------
    ecg : Tensor, shape (B, 12, T), millivolt
        Trimmed to a whole number N of patches.
    samples_per_patch : int
        P, the stem's stride.
    normalize : bool
        Each lead of each record to zero mean and unit (unbiased) variance over its length, as the release does.

    Returns
    -------
    Tensor, shape (B, N, 12 * P), lead-major inside a patch
    """
    n = ecg.shape[-1] // samples_per_patch
    ecg = ecg[..., : n * samples_per_patch].float()
    if normalize:
        variance, mean = torch.var_mean(ecg, dim=-1, keepdim=True)
        ecg = (ecg - mean) / (variance + 1e-6).sqrt()
    return ecg.unflatten(-1, (n, samples_per_patch)).transpose(1, 2).flatten(2)
