"""What a table of negatives holds: example rows, similarities, how few reports serve as negatives (hubness)."""

from typing import Any

import numpy as np

from ecgtext_plugins.errors import BadNegatives
from ecgtext_plugins.negatives.table import NegativesTable, vectors_path

SAMPLED_ROWS = 2000
SHOWN_NEGATIVES = 3
FEW_DISTINCT, TOP, LARGE_TOP_SHARE = 0.05, 100, 0.5  # what counts as hubness
LEAST_FOR_TOP = 10 * TOP  # candidates from which the top 100 say something: of 200 they would take half by chance


def kinds_of(table: NegativesTable) -> dict[str, np.ndarray]:
    """Return the tables that there are, (U, k) each: farthest, and band if built."""
    return {"farthest": table.table} | ({"band": table.band} if table.has_band else {})


def serving_counts(table: np.ndarray) -> np.ndarray:
    """Return for how many rows of a table (U, k) each report that occurs serves, (n,), descending."""
    counts = np.bincount(np.asarray(table).ravel())
    return np.sort(counts[counts > 0])[::-1]


def hubness(table: np.ndarray, n_candidates: int) -> dict[str, Any]:
    """Say how few reports serve as negatives when every row of a table (U, k) draws equally often.

    Returns
    -------
    dict
        ``distinct`` reports that occur, their ``share_of_candidates``, the shares of all draws that fall on the
        commonest 100 (``top_100_share``) and the commonest one (``top_1_share``), ``most_rows`` that one serves, and
        ``is_hubby``: distinct are less than 5 % of the candidates, or the top 100 of at least 1,000 candidates take
        more than half.
    """
    counts = serving_counts(table)
    share, top = len(counts) / n_candidates, float(counts[:TOP].sum() / counts.sum())
    return {
        "distinct": len(counts),
        "share_of_candidates": share,
        "top_100_share": top,
        "top_1_share": float(counts[0] / counts.sum()),
        "most_rows": int(counts[0]),
        "is_hubby": share < FEW_DISTINCT or (n_candidates >= LEAST_FOR_TOP and top > LARGE_TOP_SHARE),
    }


def open_vectors(table: NegativesTable) -> np.ndarray:
    """Return the vectors that a table was searched in, (U, D) float32, memory-mapped.

    Raises
    ------
    BadNegatives
        When they are not beside the table.
    """
    path = vectors_path(table.folder, table.meta.get("vectors_key", "KEY"))
    remedy = (
        f"build the table again with `ecgtext negatives build {table.folder.parent} --text-encoder "
        f"{table.meta['text_encoder']} --rebuild`"
    )
    if not path.is_file():
        raise BadNegatives(f"{path} is not there, and similarities need the reports' vectors: {remedy}")
    expected = (table.meta["n_reports"], table.meta["width"])
    try:
        vectors = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise BadNegatives(f"{path} cannot be read ({error}): {remedy}") from error
    if vectors.shape != expected:
        raise BadNegatives(f"{path} holds vectors {vectors.shape}, expected {expected}: {remedy}")
    return vectors


def pair_similarities(
    table: NegativesTable, vectors: np.ndarray, candidates: np.ndarray, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return cosine similarities of up to 2,000 reports to their negatives, and to random candidates for comparison.

    Returns
    -------
    dict of str to ndarray
        ``farthest``, ``band`` if built, ``random``: (n,) each; random pairs leave out a report with itself.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(vectors))[:SAMPLED_ROWS])
    chosen = {name: kind[rows] for name, kind in kinds_of(table).items()}
    chosen["random"] = rng.choice(candidates, (len(rows), table.meta["k"]))
    return {name: _similarities(vectors, rows, others)[others != rows[:, None]] for name, others in chosen.items()}


def examples(table: NegativesTable, vectors: np.ndarray, store: Any, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return random reports of a store, each with the negatives nearest to it: the hardest that it can draw.

    Returns
    -------
    list of dict
        ``report_id``, ``text``, and ``farthest`` (``band``): up to 3 of ``report_id``, ``similarity`` and ``text``, the
        most similar first.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(store.n_reports)[:count])
    found = [{"report_id": int(row), "text": store.report_text(int(row))} for row in rows]
    for name, kind in kinds_of(table).items():
        for example, row, values in zip(found, rows, _similarities(vectors, rows, kind[rows]), strict=True):
            others, first = np.unique(kind[row], return_index=True)  # a small band holds a report more than once
            nearest = np.argsort(-values[first], kind="stable")[:SHOWN_NEGATIVES]
            example[name] = [
                {
                    "report_id": int(others[at]),
                    "similarity": float(values[first[at]]),
                    "text": store.report_text(int(others[at])),
                }
                for at in nearest
            ]
    return found


def _similarities(vectors: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the inner products of rows (R,) with their others (R, k): (R, k), a row at a time."""
    found = [vectors[other] @ vectors[row] for row, other in zip(rows, others, strict=True)]
    return np.array(found, dtype=np.float64).reshape(others.shape)
