"""Random masking of ECG patches (MAE, He et al. 2022) and the patches as regression targets."""

from typing import NamedTuple

import torch
from torch import Tensor

NORMALIZATIONS = ("lead", "patch", "none")


class MaskedPatches(NamedTuple):
    """Kept frames (B, K, D), the patches' order (B, N): kept, removed, padding; `removed` (B, N) 1.0 where one is gone.

    Rows of a padded batch may keep fewer than K: `kept_padding` (B, K) is True behind theirs (None: all keep K).
    """

    kept: Tensor
    order: Tensor
    removed: Tensor
    kept_padding: Tensor | None = None


def seeded_noise(seeds: Tensor, n: int) -> Tensor:
    """Draw each record's noise from its own seed, on the CPU: (B,) int64 -> (B, n) float32 on the seeds' device."""
    rows = [torch.rand(n, generator=torch.Generator().manual_seed(seed)) for seed in seeds.tolist()]
    return torch.stack(rows).to(seeds.device)


def mask_patches(
    frames: Tensor, mask_ratio: float, noise: Tensor | None = None, padding: Tensor | None = None
) -> MaskedPatches:
    """Keep ``int(n * (1 - mask_ratio))`` random frames of each row's n frames, in the shuffled order.

    Parameters
    ----------
    frames : Tensor, shape (B, N, D)
    mask_ratio : float
        Share of frames to remove, 0 <= ratio < 1.
    noise : Tensor, shape (B, N), optional
        The frames with the smallest noise are kept; drawn uniformly when not given.
    padding : Tensor, shape (B, N), bool, optional
        True at frames that are padding: neither kept nor removed.

    Raises
    ------
    ValueError
        When nothing would be kept.
    """
    batch, n, width = frames.shape
    if noise is None:
        noise = torch.rand(batch, n, device=frames.device)
    if padding is None:
        kept = torch.full((batch,), int(n * (1 - mask_ratio)), device=frames.device)
        most = fewest = int(n * (1 - mask_ratio))
    else:
        noise = noise.masked_fill(padding, torch.inf)
        kept = ((~padding).sum(1).double() * (1 - mask_ratio)).long()
        most, fewest = int(kept.max()), int(kept.min())
    if fewest < 1:
        found = n if padding is None else int((~padding).sum(1).min())
        raise ValueError(
            f"mask ratio {mask_ratio} keeps none of {found} frames: expected a smaller ratio or a longer ECG"
        )
    order = noise.argsort(dim=1)
    removed = order.argsort(dim=1) >= kept[:, None]
    if padding is not None:
        removed = removed & ~padding
    kept_padding = None if most == fewest else torch.arange(most, device=frames.device) >= kept[:, None]
    shown = frames.gather(1, order[:, :most, None].expand(-1, -1, width))
    return MaskedPatches(shown, order, removed.float(), kept_padding)


def patch_targets(
    ecg: Tensor, samples_per_patch: int, normalize: str = "lead", padding_mask: Tensor | None = None
) -> Tensor:
    """Cut an ECG into the patches that MEM predicts.

    Parameters
    ----------
    ecg : Tensor, shape (B, 12, T), millivolt
        Trimmed to a whole number N of patches.
    samples_per_patch : int
        P, the stem's stride.
    normalize : str
        To zero mean and unit (unbiased) variance: ``lead``, each lead of each record over its length, as the release
        does; ``patch``, each lead of each patch, nearer to MAE's; ``none``.
    padding_mask : Tensor, shape (B, T), bool, optional
        True at padding, which the records' mean and variance leave out, as they do samples behind the last whole patch.

    Returns
    -------
    Tensor, shape (B, N, 12 * P), lead-major inside a patch
    """
    if normalize not in NORMALIZATIONS:
        raise ValueError(f"mem_normalize={normalize!r}: expected one of {', '.join(NORMALIZATIONS)}")
    n = ecg.shape[-1] // samples_per_patch
    ecg = ecg[..., : n * samples_per_patch].float()
    if normalize == "lead" and padding_mask is None:
        ecg = _standardised(ecg)
    elif normalize == "lead":
        ecg = _standardised_where_real(ecg, (~padding_mask).sum(1) // samples_per_patch * samples_per_patch)
    patches = ecg.unflatten(-1, (n, samples_per_patch))
    if normalize == "patch":
        patches = _standardised(patches)
    return patches.transpose(1, 2).flatten(2)


def _standardised(x: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True)
    return (x - mean) / (variance + 1e-6).sqrt()


def _standardised_where_real(ecg: Tensor, lengths: Tensor) -> Tensor:
    count = lengths[:, None, None]
    real = torch.arange(ecg.shape[-1], device=ecg.device) < count
    mean = (ecg * real).sum(-1, keepdim=True) / count
    variance = ((ecg - mean).square() * real).sum(-1, keepdim=True) / (count - 1)
    return (ecg - mean) / (variance + 1e-6).sqrt()
