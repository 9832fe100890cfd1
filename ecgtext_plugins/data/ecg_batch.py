"""Stored ECGs straight into one float32 tensor: counts to millivolt, missing samples to 0, crop, hidden leads."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ecgtext_plugins.store.manifest import Manifest
from ecgtext_plugins.store.quantisation import restore


class StoredEcg(NamedTuple):
    """An ECG as the store holds it, (12, T).

    Either int16 counts of `step_mv` millivolt (a read-only view of the file), or, with `step_mv` None, float32
    millivolt with NaN where missing.
    """

    values: np.ndarray
    step_mv: float | None

    def write_mv(self, start: int, out: np.ndarray) -> None:
        """Write the samples from `start` on, as many as `out` (12, T) float32 has; missing ones as 0."""
        values = self.values[:, start : start + out.shape[1]]
        if self.step_mv is not None:
            restore(values, self.step_mv, out=out, missing=0.0)
        else:
            np.copyto(out, values)
            np.copyto(out, 0.0, where=np.isnan(values))


def stored_ecg(manifest: Manifest, index: int) -> StoredEcg:
    """Return a record or window of a manifest as its store holds it."""
    if not manifest.holds_counts:
        return StoredEcg(manifest.signal_mv(index), None)
    return StoredEcg(manifest.counts(index), manifest.store.step_mv(int(manifest.rows[index])))


def batch_of(
    ecgs: Sequence[StoredEcg],
    length: int,
    starts: Sequence[int] | np.ndarray | None = None,
    hidden: np.ndarray | None = None,
    with_original: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Stack ECGs in millivolt, each sample written once.

    Parameters
    ----------
    length : int
        Samples of each ECG in the batch; those that have fewer from their start on end in zeros.
    starts : sequence of int or None
        First samples, (B,); None for the records' own.
    hidden : ndarray, shape (B, 12), bool, or None
        Leads to zero.
    with_original : bool
        Whether to return the ECGs with all leads too.

    Returns
    -------
    (input, original) : tuple of torch.Tensor, shape (B, 12, length), float32
        `original` is None unless asked for.
    """
    # numpy's memory, not torch's: numpy asks Linux for large pages, and many small ones cost as much as all the rest
    shape = (len(ecgs), 12, length)
    shown = np.empty(shape, dtype=np.float32)
    original = np.empty(shape, dtype=np.float32) if with_original else None
    for place, ecg in enumerate(ecgs):
        start, target = 0 if starts is None else int(starts[place]), shown[place]
        written = target if original is None else original[place]
        there = min(length, ecg.values.shape[1] - start)
        ecg.write_mv(start, written[:, :there])
        written[:, there:] = 0.0
        if original is not None:
            np.copyto(target, written)  # while the processor's cache still holds it
        if hidden is not None:
            target[hidden[place]] = 0.0
    return torch.from_numpy(shown), None if original is None else torch.from_numpy(original)
