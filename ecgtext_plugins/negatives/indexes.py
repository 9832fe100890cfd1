"""Indexes that a search asks: exact with faiss on the processor, exact with torch on a GPU, approximate (IVF)."""

from typing import Any, Protocol

import numpy as np
import torch

LARGEST_BLOCK = 1 << 28  # similarities held at once: 1 GiB of float32
IVF_SEED = 1234  # faiss's own of its k-means, named here because the table depends on it
PROBED = 16  # one in so many cells


class Index(Protocol):
    """What a search asks."""

    def search(self, queries: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the `reach` largest inner products of each query, (R, reach) float32, and their places, int64."""


class TorchIndex:
    """Inner products of candidates by matrix multiplication, on any device of torch.

    Parameters
    ----------
    candidates : ndarray, shape (C, D), float32
    device : str
    """

    def __init__(self, candidates: np.ndarray, device: str = "cpu"):
        self.device = torch.device(device)
        # a copy: memory-mapped vectors cannot be written to, of which torch would warn
        self.candidates = torch.from_numpy(np.array(candidates, dtype=np.float32)).to(self.device)
        self.block = max(1, min(1024, LARGEST_BLOCK // len(candidates)))
        self._memory = torch.empty(0, device=self.device)

    def similarities(self, queries: np.ndarray, reuse: bool = False) -> torch.Tensor:
        """Return the inner products with every candidate, (R, C) float32 on the device.

        With `reuse` they are overwritten by the next such call: fetching new memory for each block takes as long as
        the multiplication.
        """
        given = torch.from_numpy(np.array(queries, dtype=np.float32)).to(self.device)
        if not reuse:
            return given @ self.candidates.T
        size = len(given) * len(self.candidates)
        if self._memory.numel() < size:
            self._memory = torch.empty(size, device=self.device)
        return torch.mm(given, self.candidates.T, out=self._memory[:size].view(len(given), -1))

    def search(self, queries: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the `reach` largest inner products of each query, (R, reach) float32, and their places, int64."""
        parts = [
            self.similarities(queries[first : first + self.block], reuse=True).topk(reach, dim=1)
            for first in range(0, len(queries), self.block)
        ]
        scores, places = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
        return scores, places


class IvfIndex:
    """Inner products in the cells nearest to the query only: faiss's ``IndexFlatIVF``, a sixteenth of the cells.

    A query whose cells hold too few candidates is asked again in twice as many, until it has enough.

    Parameters
    ----------
    candidates : ndarray, shape (C, D), float32
        Rows of length 1.
    """

    def __init__(self, candidates: np.ndarray):
        import faiss  # here, not above: drawing from a finished table needs no faiss

        candidates = np.ascontiguousarray(candidates, dtype=np.float32)
        width = candidates.shape[1]
        self.n_cells = max(1, min(int(4 * np.sqrt(len(candidates))), len(candidates) // 39 or 1))
        self._index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, self.n_cells, faiss.METRIC_INNER_PRODUCT)
        self._index.cp.seed, self._index.cp.spherical = IVF_SEED, True
        self._index.train(candidates)
        self._index.add(candidates)

    def search(self, queries: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
        """Return large inner products of each query, (R, reach) float32, and their places, int64."""
        probes = max(1, self.n_cells // PROBED)
        scores, places = self._probe(queries, reach, probes)
        while probes < self.n_cells and (short := (places < 0).any(axis=1)).any():
            probes = min(2 * probes, self.n_cells)
            scores[short], places[short] = self._probe(queries[short], reach, probes)
        return scores, places

    def _probe(self, queries: np.ndarray, reach: int, probes: int) -> tuple[np.ndarray, np.ndarray]:
        self._index.nprobe = probes
        return self._index.search(np.ascontiguousarray(queries, dtype=np.float32), reach)


def exact_index(candidates: np.ndarray, device: str = "cpu") -> Any:
    """Make the exact index of candidates (C, D): faiss's ``IndexFlatIP`` on the processor, torch's elsewhere."""
    if torch.device(device).type != "cpu":
        return TorchIndex(candidates, device)
    import faiss

    index = faiss.IndexFlatIP(candidates.shape[1])
    index.add(np.ascontiguousarray(candidates, dtype=np.float32))
    return index
