"""For every vector random ones of a band of similarity: harder than the farthest, and not the nearest."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from tqdm import tqdm

from ecgtext_plugins.errors import BadNegatives
from ecgtext_plugins.negatives.farthest import check_count
from ecgtext_plugins.negatives.indexes import TorchIndex

BLOCK_ROWS = 256


def band_candidates(
    vectors: np.ndarray,
    candidates: np.ndarray,
    k: int,
    low: float,
    high: float,
    seed: int = 0,
    device: str = "cpu",
) -> np.ndarray:
    """Choose for each row `k` random candidates whose inner product lies between two quantiles of the row's own.

    Quantiles are over the row's similarities to all candidates other than itself, both ends included: 0 is the least
    similar candidate, 1 the most similar. A band of fewer than `k` candidates is drawn from with replacement.

    Parameters
    ----------
    vectors : ndarray, shape (U, D), float32
        Rows of length 1.
    candidates : ndarray, shape (C,), int
        Ascending row numbers that may be chosen.
    k : int
        1 to C - 1.
    low, high : float
        ``0 <= low < high <= 1``.
    seed : int
        A row's choice depends on it and the row's number, not on other rows.
    device : str
        Where torch multiplies; quantiles and choices are numpy's.

    Returns
    -------
    ndarray, shape (U, k), int32

    Raises
    ------
    BadNegatives
        When `k` or the band is out of range, or the band holds no candidate.
    """
    check_count(k, len(candidates))
    check_band(low, high)
    index = TorchIndex(vectors[candidates], device)
    own = np.full(len(vectors), -1, dtype=np.int64)
    own[candidates] = np.arange(len(candidates))
    table = np.empty((len(vectors), k), dtype=np.int32)

    def choose(row: int, similarity: np.ndarray) -> None:
        inside = _inside(similarity, int(own[row]), low, high)
        if not len(inside):
            raise BadNegatives(
                f"band {low:g},{high:g} holds none of the {len(candidates) - (own[row] >= 0)} other candidates of "
                f"report {row}: expected at least 1; give a wider --band"
            )
        rng = np.random.default_rng([seed, row])
        table[row] = candidates[inside[rng.choice(len(inside), k, replace=len(inside) < k)]]

    rows = np.arange(len(vectors))
    with (
        ThreadPoolExecutor(torch.get_num_threads()) as threads,  # numpy's partition leaves the interpreter to others
        tqdm(total=len(vectors), desc="reports in the band", unit="report", disable=None) as bar,
    ):
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS]
            similarities = index.similarities(vectors[block], reuse=True).cpu().numpy()
            list(threads.map(choose, block, similarities))
            bar.update(len(block))
    return table


def check_band(low: float, high: float) -> None:
    """Raise BadNegatives unless ``0 <= low < high <= 1``."""
    if not 0 <= low < high <= 1:
        raise BadNegatives(
            f"band {low:g},{high:g} is no range of quantiles: expected 0 <= LOW < HIGH <= 1, 0 for the least similar "
            "report and 1 for the most similar; give for instance --band 0.5,0.9"
        )


def _inside(similarity: np.ndarray, own: int, low: float, high: float) -> np.ndarray:
    """Return the ascending places (n,) of the candidates from quantile `low` to `high` of `similarity` (C,)."""
    others = similarity if own < 0 else np.delete(similarity, own)
    last = len(others) - 1
    first, final = math.ceil(round(low * last, 6)), math.floor(round(high * last, 6))
    # a quantile between two ranks lies between their values: at or above it is at or above the upper rank's value
    ranked = np.partition(others, first)
    lower = ranked[first]
    upper = np.partition(ranked[first:], final - first)[final - first] if final >= first else ranked[:first].max()
    inside = (similarity >= lower) & (similarity <= upper)
    if own >= 0:
        inside[own] = False
    return np.flatnonzero(inside)
