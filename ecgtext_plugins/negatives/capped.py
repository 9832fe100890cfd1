"""The least similar vectors of every vector, with a cap on how many rows one vector may serve."""

import numpy as np
import torch
from tqdm import tqdm

from ecgtext_plugins.errors import BadNegatives
from ecgtext_plugins.negatives.farthest import check_count
from ecgtext_plugins.negatives.indexes import TorchIndex

BLOCK_ROWS = 256


def capped_candidates(
    vectors: np.ndarray, candidates: np.ndarray, k: int, cap: int, seed: int = 0, device: str = "cpu"
) -> np.ndarray:
    """Find for each row `k` candidates of low inner product, never itself, no candidate for more than `cap` rows.

    Rows are visited in a random order; each takes its farthest candidates among those that still have room. The last
    rows of a tight cap may find too few others with room: then an earlier row gives one of its candidates away and
    takes one that has room.

    Parameters
    ----------
    vectors : ndarray, shape (U, D), float32
        Rows of length 1.
    candidates : ndarray, shape (C,), int
        Ascending row numbers that may be chosen.
    k : int
        1 to C - 1.
    cap : int
        Rows a candidate may serve; at least k * U / C.
    seed : int
        Of the order in which rows are visited.
    device : str
        Where torch searches.

    Returns
    -------
    ndarray, shape (U, k), int32
        Row numbers, least similar first; equal similarities go by ascending row number.

    Raises
    ------
    BadNegatives
        When `k` or `cap` is out of its range.
    """
    check_cap(cap, k, len(vectors), len(candidates))
    choice = _Choice(vectors, candidates, k, cap, device)
    order = np.random.default_rng(seed).permutation(len(vectors))
    with tqdm(total=len(order), desc="farthest reports", unit="report", disable=None) as bar:
        for start in range(0, len(order), BLOCK_ROWS):
            rows = order[start : start + BLOCK_ROWS]
            choice.take(rows)
            bar.update(len(rows))
    for row in order[(choice.places[order] < 0).any(axis=1)]:
        choice.complete(row)
    return candidates[choice.places].astype(np.int32)


def check_cap(cap: int, k: int, n_rows: int, n_candidates: int) -> None:
    """Raise BadNegatives unless the candidates have room for `k` a row when each serves `cap` rows."""
    check_count(k, n_candidates)
    least = -(-k * n_rows // n_candidates)
    if cap < least:
        raise BadNegatives(
            f"a hub cap of {cap} leaves room for {cap * n_candidates:,} negatives among {n_candidates:,} candidate "
            f"reports, but {n_rows:,} reports need {k} each; give --hub-cap {least} or more, or a smaller --k"
        )


class _Choice:
    """What is chosen so far: `places` (U, k) among the candidates, -1 not yet; `room` (C,) rows still to serve."""

    def __init__(self, vectors: np.ndarray, candidates: np.ndarray, k: int, cap: int, device: str):
        self.vectors, self.k, self.cap = vectors, k, cap
        self.index = TorchIndex(vectors[candidates], device)
        self.places = np.full((len(vectors), k), -1, dtype=np.int64)
        self.room = np.full(len(candidates), cap, dtype=np.int64)
        self.own = np.full(len(vectors), -1, dtype=np.int64)  # the row's own place among the candidates, if it is one
        self.own[candidates] = np.arange(len(candidates))

    def take(self, rows: np.ndarray) -> None:
        """Let rows take, one after the other, their farthest candidates that have room."""
        similarity = self._similarity(rows, reuse=True)
        similarity[:, torch.from_numpy(np.flatnonzero(self.room == 0)).to(similarity.device)] = torch.inf
        full_soon = -(-self.k * len(rows) // self.cap)  # so many more may fill up meanwhile, about
        reach = min(self.k + 1 + full_soon, len(self.room))
        values, near = (found.cpu().numpy() for found in similarity.topk(reach, dim=1, largest=False))
        for at, row in enumerate(rows):
            surely = values[at] < (values[at, -1] if reach < len(self.room) else np.inf)  # not tied with one left out
            open_ = surely & (self.room[near[at]] > 0)
            if open_.sum() >= self.k:
                places = near[at][open_]
                taken = places[np.lexsort((places, values[at][open_]))[: self.k]]
            else:
                taken = self._farthest_with_room(similarity[at].cpu().numpy())
            self.places[row, : len(taken)] = taken
            self.room[taken] -= 1

    def complete(self, row: int) -> None:
        """Give a row what it lacks: candidates of earlier rows, which take others instead."""
        similarity = self._similarity([row])[0].cpu().numpy()
        while (self.places[row] < 0).any():
            taken = self._farthest_with_room(similarity, self.places[row])[:1]  # an exchange may have made room
            if not len(taken):
                taken = [self._freed_by_exchange(row, similarity)]
            self.places[row, np.flatnonzero(self.places[row] < 0)[0]] = taken[0]
            self.room[taken[0]] -= 1
        self._sort(row, similarity)

    def _freed_by_exchange(self, row: int, similarity: np.ndarray) -> int:
        """Free one room of the farthest full candidate of which another row can take one with room instead."""
        usable = np.setdiff1d(np.arange(len(self.room)), [*self.places[row], self.own[row]])
        with_room = np.flatnonzero(self.room)
        for wanted in usable[np.lexsort((usable, similarity[usable]))]:
            for giver in np.flatnonzero((self.places == wanted).any(axis=1)):
                instead = np.setdiff1d(with_room, [*self.places[giver], self.own[giver]])
                if len(instead):
                    self.places[giver, self.places[giver] == wanted] = instead[0]
                    self.room[instead[0]] -= 1
                    self.room[wanted] += 1
                    self._sort(giver, self._similarity([giver])[0].cpu().numpy())
                    return int(wanted)
        raise BadNegatives(
            f"a hub cap of {self.cap} leaves report {row} fewer than {self.k} other reports with room; give a larger "
            "--hub-cap"
        )

    def _similarity(self, rows, reuse: bool = False) -> torch.Tensor:
        """Return similarities to all candidates, (R, C), infinite to the row itself."""
        similarity = self.index.similarities(self.vectors[rows], reuse)
        own = self.own[rows]
        at = np.flatnonzero(own >= 0)
        similarity[torch.from_numpy(at), torch.from_numpy(own[at])] = torch.inf
        return similarity

    def _farthest_with_room(self, similarity: np.ndarray, taken: np.ndarray | None = None) -> np.ndarray:
        """Return the places of up to `k` farthest candidates that have room, by a pass over all of them."""
        values = np.where(self.room > 0, similarity, np.inf)
        if taken is not None:
            values[taken[taken >= 0]] = np.inf
        last = np.partition(values, self.k - 1)[self.k - 1]
        places = np.flatnonzero((values <= last) & np.isfinite(values))
        return places[np.lexsort((places, values[places]))[: self.k]]

    def _sort(self, row: int, similarity: np.ndarray) -> None:
        places = self.places[row]
        rank = np.where(places < 0, np.inf, similarity[places])  # what still lacks stays at the end
        self.places[row] = places[np.lexsort((places, rank))]
