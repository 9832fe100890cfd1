"""The least similar vectors of every vector, by exact search."""

import numpy as np
from tqdm import tqdm

from ecgtext_plugins.errors import BadNegatives

BLOCK_QUERIES = 1024  # faiss takes as many threads as OMP_NUM_THREADS says, as torch does; they never run at once


def farthest_candidates(vectors: np.ndarray, candidates: np.ndarray, k: int) -> np.ndarray:
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

    Returns
    -------
    ndarray, shape (U, k), int32
        Row numbers; equal similarities go by ascending row number.

    Raises
    ------
    BadNegatives
        When `k` is out of its range.
    """
    if not 1 <= k < len(candidates):
        raise BadNegatives(
            f"cannot choose {k} farthest of {len(candidates)} candidate reports: expected 1 to {len(candidates) - 1}; "
            "give another k or a store with more unique reports"
        )
    import faiss  # here, not above: drawing from a finished table needs no faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors[candidates], dtype=np.float32))
    table = np.empty((len(vectors), k), dtype=np.int32)
    with tqdm(total=len(vectors), desc="farthest reports", unit="report", disable=None) as bar:
        for start in range(0, len(vectors), BLOCK_QUERIES):
            rows = np.arange(start, min(start + BLOCK_QUERIES, len(vectors)))
            table[rows] = _search(index, vectors, candidates, rows, k)
            bar.update(len(rows))
    return table


def _search(index, vectors: np.ndarray, candidates: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
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
