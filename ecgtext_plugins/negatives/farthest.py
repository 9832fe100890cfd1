"""The least similar vectors of every vector: exact search, and how much of it an approximate one finds."""

import numpy as np
from tqdm import tqdm

from ecgtext_plugins.errors import BadNegatives
from ecgtext_plugins.negatives.indexes import Index, exact_index

BLOCK_QUERIES = 1024  # faiss takes as many threads as OMP_NUM_THREADS says, as torch does; they never run at once
RECALL_ROWS = 1000


def farthest_candidates(
    vectors: np.ndarray,
    candidates: np.ndarray,
    k: int,
    device: str = "cpu",
    index: Index | None = None,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Find for each row its `k` candidates of lowest inner product, never itself, least similar first.

    Equals the search for the nearest to the negated query (D-BETA, `datasets/n3s.py:faiss_read`) on unit vectors.

    Parameters
    ----------
    vectors : ndarray, shape (U, D), float32
        Rows of length 1.
    candidates : ndarray, shape (C,), int
        Ascending row numbers that may be chosen.
    k : int
        1 to C - 1.
    device : str
        Where to search: faiss on cpu, torch elsewhere.
    index : Index, optional
        Index of the candidates to ask in the place of the exact one.
    rows : ndarray, shape (R,), int, optional
        Search for these rows only.

    Returns
    -------
    ndarray, shape (U, k) or (R, k), int32
        Row numbers; equal similarities go by ascending row number.

    Raises
    ------
    BadNegatives
        When `k` is out of its range.
    """
    check_count(k, len(candidates))
    index = exact_index(vectors[candidates], device) if index is None else index
    rows = np.arange(len(vectors)) if rows is None else rows
    table = np.empty((len(rows), k), dtype=np.int32)
    with tqdm(total=len(rows), desc="farthest reports", unit="report", disable=None) as bar:
        for start in range(0, len(rows), BLOCK_QUERIES):
            block = rows[start : start + BLOCK_QUERIES]
            table[start : start + len(block)] = _search(index, vectors, candidates, block, k)
            bar.update(len(block))
    return table


def recall(vectors: np.ndarray, candidates: np.ndarray, table: np.ndarray, device: str = "cpu", seed: int = 0) -> float:
    """Return which share of the true farthest candidates a table (U, k) holds, by exact search for 1,000 rows.

    A candidate exactly as far as the last of the exact search counts as one of them.
    """
    rows = np.random.default_rng(seed).permutation(len(vectors))[:RECALL_ROWS]
    exact = farthest_candidates(vectors, candidates, table.shape[1], device, rows=rows)
    last = np.einsum("rd,rd->r", vectors[rows], vectors[exact[:, -1]])
    found = np.einsum("rd,rkd->rk", vectors[rows], vectors[table[rows]])
    return float((found <= last[:, None] + 1e-6).mean())


def check_count(k: int, n_candidates: int) -> None:
    """Raise BadNegatives unless each row can have `k` candidates other than itself."""
    if not 1 <= k < n_candidates:
        raise BadNegatives(
            f"cannot choose {k} farthest of {n_candidates} candidate reports: expected 1 to {n_candidates - 1}; "
            "give another k or a store with more unique reports"
        )


def _search(index: Index, vectors: np.ndarray, candidates: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    """Search for the rows' `k` farthest candidates: (len(rows), k).

    Which of several equal hits the index returns last is its own affair, so a row counts as settled when enough of its
    hits are strictly better than the last one; the others are searched again, twice as far.
    """
    chosen = np.empty((len(rows), k), dtype=np.int64)
    open_places, reach = np.arange(len(rows)), min(k + 2, len(candidates))
    while len(open_places):
        queries = np.ascontiguousarray(-vectors[rows[open_places]], dtype=np.float32)
        scores, found = index.search(queries, reach)  # of the negated query: larger is less similar
        found = candidates[found]
        other = found != rows[open_places, None]
        settled = ((scores > scores[:, -1:]) & other).sum(axis=1) >= k
        if reach == len(candidates):
            settled[:] = True
        order = np.lexsort((found, -scores, ~other), axis=1)[settled, :k]
        chosen[open_places[settled]] = np.take_along_axis(found[settled], order, axis=1)
        open_places, reach = open_places[~settled], min(2 * reach, len(candidates))
    return chosen
