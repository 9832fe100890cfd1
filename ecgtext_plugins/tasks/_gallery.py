"""Identification's validation: a gallery and a probe in one dataset, and how many probes find their person."""

import numpy as np
import torch
from torch.utils.data import Dataset

from ecgtext_plugins.data.ecg_dataset import EcgDataset


class GalleryAndProbe(Dataset):
    """The gallery's ECGs, then the probe's.

    Parameters
    ----------
    gallery, probe : EcgDataset
    """

    def __init__(self, gallery: EcgDataset, probe: EcgDataset):
        self.gallery, self.probe = gallery, probe

    def __len__(self) -> int:
        return len(self.gallery) + len(self.probe)

    @property
    def manifest(self):
        """The gallery's manifest, which has the patients of both."""
        return self.gallery.manifest

    @property
    def sizes(self) -> np.ndarray:
        """Samples of each ECG, (G + P,) int64."""
        return np.concatenate([self.gallery.sizes, self.probe.sizes])

    def _of(self, index: int) -> tuple[EcgDataset, int]:
        inside = index < len(self.gallery)
        return (self.gallery, index) if inside else (self.probe, index - len(self.gallery))

    def __getitem__(self, index: int) -> dict:
        """Return ``index`` in the whole, and ``ecg``."""
        dataset, own = self._of(int(index))
        return {"index": int(index), "ecg": dataset.ecg(own)}

    def collater(self, samples: list[dict]) -> dict:
        """Merge samples into a batch as :meth:`EcgDataset.batch` does; ``target`` has ``identity``, ``is_probe`` (B,).

        ``id`` counts gallery and probe together.
        """
        if not samples:
            return {}
        indices = np.array([sample["index"] for sample in samples])
        batch = self.gallery.batch(np.zeros_like(indices), [sample["ecg"] for sample in samples], indices)
        identity = np.concatenate([self.gallery.manifest.identities, self.probe.manifest.identities])[indices]
        return {
            **batch,
            "id": torch.from_numpy(indices),
            "target": {
                "identity": torch.from_numpy(identity.astype(np.int64)),
                "is_probe": torch.from_numpy(indices >= len(self.gallery)),
            },
        }


def top1_accuracy(
    gallery: np.ndarray, gallery_identity: np.ndarray, probe: np.ndarray, probe_identity: np.ndarray
) -> float:
    """Return the share of probes whose nearest gallery feature, by cosine, is of the same identity.

    Parameters
    ----------
    gallery, probe : ndarray, shape (G, D), (P, D)
    gallery_identity, probe_identity : ndarray, shape (G,), (P,)
    """
    gallery, probe = _unit(gallery), _unit(probe)
    right = 0
    for start in range(0, len(probe), 1024):
        nearest = (probe[start : start + 1024] @ gallery.T).argmax(axis=1)
        right += int((gallery_identity[nearest] == probe_identity[start : start + 1024]).sum())
    return right / len(probe)


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)
