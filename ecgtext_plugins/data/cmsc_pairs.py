"""Pairs of ECGs for contrastive learning: adjacent windows of a recording (CMSC), or two views of one ECG (SimCLR)."""

import numpy as np
import torch
from torch.utils.data import Dataset

from ecgtext_plugins.data.ecg_dataset import EcgDataset
from ecgtext_plugins.data.windows import recordings
from ecgtext_plugins.errors import BadManifest
from ecgtext_plugins.store.fairseq_signals.mat_manifest import open_with_manifest
from ecgtext_plugins.store.manifest import Manifest


def adjacent_pairs(record: np.ndarray, starts: np.ndarray, n_samples: np.ndarray) -> np.ndarray:
    """Pair windows of which the second begins where the first ends, each window once, from each recording's beginning.

    Source: Kiyasseh et al. 2021 (CLOCS, contrastive multi-segment coding); pairing as fairseq-signals'
    convert_to_cmsc_manifest.py.

    Parameters
    ----------
    record, starts, n_samples : ndarray, shape (R,), int64
        Of each window: its recording, first sample and length.

    Returns
    -------
    ndarray, shape (P, 2), int64
        Places of the windows, by recording and start.
    """
    place = {window: at for at, window in enumerate(zip(record.tolist(), starts.tolist(), strict=True))}
    pairs, used = [], np.zeros(len(record), dtype=bool)
    for first in np.lexsort((starts, record)).tolist():
        second = place.get((int(record[first]), int(starts[first] + n_samples[first])))
        if second is not None and not used[first] and not used[second]:
            used[[first, second]] = True
            pairs.append((first, second))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def manifest_pairs(manifest: Manifest, min_samples: int | None = None) -> np.ndarray:
    """Return the pairs of a manifest, (P, 2) int64: those that fairseq-signals' CMSC manifests list, or adjacent ones.

    Raises
    ------
    BadManifest
        When there is none whose windows have `min_samples` samples.
    """
    if manifest.holds_counts:
        pairs = adjacent_pairs(manifest.rows, manifest.starts, manifest.n_samples)
    elif manifest.store.listed_kind == "cmsc" and not manifest.windows:
        pairs = open_with_manifest(manifest.path)[1].pairs
    else:
        segment, length = (manifest.store.column(name)[manifest.rows] for name in ("segment", "n_samples"))
        starts = np.maximum(segment, 0) * length + manifest.starts
        pairs = adjacent_pairs(recordings(manifest), starts, manifest.n_samples)
    pairs = pairs[(manifest.n_samples[pairs] >= (min_samples or 0)).all(axis=1)]
    if not len(pairs):
        raise BadManifest(
            f"{manifest.path} lists no two adjacent windows of one record"
            f"{f' of at least {min_samples} samples' if min_samples else ''}: expected windows for CMSC; set "
            "task.segment_samples, say to 2500, or segments in the recipe of the store"
        )
    return pairs


class EcgPairs(Dataset):
    """Pairs of a dataset's entries.

    Parameters
    ----------
    ecgs : EcgDataset
    pairs : ndarray, shape (P, 2), int64, or None
        Places of its entries; None for two views of each entry. The two are perturbed independently.
    """

    def __init__(self, ecgs: EcgDataset, pairs: np.ndarray | None = None):
        self.ecgs = ecgs
        self.pairs = np.repeat(np.arange(len(ecgs))[:, None], 2, axis=1) if pairs is None else pairs

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def manifest(self) -> Manifest:
        """The entries, which ``id`` of a batch counts."""
        return self.ecgs.manifest

    @property
    def sizes(self) -> np.ndarray:
        """Samples of both, (P,) int64."""
        return self.ecgs.sizes[self.pairs].sum(axis=1)

    @property
    def epoch(self) -> int:
        """Epoch that the random draws belong to."""
        return self.ecgs.epoch

    def set_epoch(self, epoch: int) -> None:
        """Draw anew for this epoch."""
        self.ecgs.set_epoch(epoch)

    def __getitem__(self, index: int) -> dict:
        """Return ``index`` of the pair and ``ecgs``, the two."""
        first, second = self.pairs[index].tolist()
        return {"index": int(index), "ecgs": (self.ecgs.ecg(first, 0), self.ecgs.ecg(second, 1))}

    def collater(self, samples: list[dict]) -> dict:
        """Merge pairs into a batch of 2 x pairs rows, as :meth:`EcgDataset.batch` does.

        Rows 0, 2, 4, ... are the pairs' first ECGs, rows 1, 3, 5, ... their second ones; ``target`` has ``segment``
        (B,) 0 and 1 besides.
        """
        if not samples:
            return {}
        chosen = np.array([sample["index"] for sample in samples])
        rows = self.pairs[chosen].reshape(-1)
        segment = np.tile([0, 1], len(chosen))
        ecgs = [ecg for sample in samples for ecg in sample["ecgs"]]
        batch = self.ecgs.batch(rows, ecgs, 2 * np.repeat(chosen, 2) + segment)
        batch["target"]["segment"] = torch.from_numpy(segment.astype(np.int64))
        return batch
