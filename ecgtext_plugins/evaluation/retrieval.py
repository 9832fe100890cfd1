"""Retrieval between ECGs and their reports, block by block: no table of all pairs is kept."""

from dataclasses import dataclass

import numpy as np

RECALL_AT = (1, 5, 10)
SIMILARITIES = ("cosine", "dot")
BLOCK_VALUES = 8_000_000  # similarities at once: 32 MB of float32


@dataclass(frozen=True)
class Retrieved:
    """Retrieval in one direction.

    Attributes
    ----------
    ranks : ndarray, shape (n,), int64
        For each query, 1 + the items of other reports that are as similar as its most similar hit, or more.
    recall : dict of int to float
        Share of the queries with a hit among the first 1, 5 and 10.
    median_rank : float
    """

    ranks: np.ndarray
    recall: dict[int, float]
    median_rank: float


@dataclass(frozen=True)
class Retrieval:
    """Retrieval in both directions among n pairs of an ECG and a report, `n_reports` of the reports being different."""

    ecg_to_text: Retrieved
    text_to_ecg: Retrieved
    n: int
    n_reports: int


def retrieve(ecg: np.ndarray, text: np.ndarray, reports: np.ndarray, similarity: str = "cosine") -> Retrieval:
    """Rank all texts for each ECG, and all ECGs for each text.

    An item is a hit when it has the query's report, also of another record: equal reports cannot be told apart. Ties
    with other reports count against the query, so that embeddings that have collapsed to a point get no recall.

    Parameters
    ----------
    ecg, text : ndarray, shape (n, D), float
        Embeddings of the same records, row by row; a report that several records have is there several times.
    reports : ndarray, shape (n,)
        What is equal for equal reports: their number, or the text itself.
    similarity : str
        ``cosine``, or ``dot`` as D-BETA's.

    Raises
    ------
    ValueError
        When shapes differ, an embedding is not finite, or `similarity` is neither.
    """
    from sklearn.preprocessing import normalize

    if similarity not in SIMILARITIES:
        raise ValueError(f"similarity={similarity!r}: expected one of {', '.join(SIMILARITIES)}")
    ecg, text, reports = np.asarray(ecg, dtype=np.float32), np.asarray(text, dtype=np.float32), np.asarray(reports)
    if ecg.ndim != 2 or ecg.shape != text.shape or reports.shape != ecg.shape[:1] or not len(ecg):
        raise ValueError(
            f"ECG embeddings {ecg.shape}, text embeddings {text.shape} and reports {reports.shape}: expected (n, D), "
            "(n, D) and (n,), n > 0"
        )
    for name, values in (("ECG", ecg), ("text", text)):
        odd = ~np.isfinite(values).all(axis=1)
        if odd.any():
            raise ValueError(f"{name} embedding of row {np.argmax(odd)} is not finite: expected finite numbers")
    if similarity == "cosine":
        ecg, text = normalize(ecg), normalize(text)
    different, codes = np.unique(reports, return_inverse=True)
    return Retrieval(_retrieved(ecg, text, codes), _retrieved(text, ecg, codes), len(ecg), len(different))


def _retrieved(queries: np.ndarray, items: np.ndarray, codes: np.ndarray) -> Retrieved:
    rows = max(1, BLOCK_VALUES // len(items))
    blocks = [slice(first, first + rows) for first in range(0, len(queries), rows)]
    ranks = np.concatenate([_ranks(queries[block] @ items.T, codes[block, None] == codes) for block in blocks])
    recall = {k: float((ranks <= k).mean()) for k in RECALL_AT}
    return Retrieved(ranks, recall, float(np.median(ranks)))


def _ranks(similarities: np.ndarray, hits: np.ndarray) -> np.ndarray:
    best = np.where(hits, similarities, -np.inf).max(axis=1, keepdims=True)
    return 1 + ((similarities >= best) & ~hits).sum(axis=1)
