"""Retrieval between ECGs and their reports, block by block: no table of all pairs is kept."""

from dataclasses import dataclass

import numpy as np

RECALL_AT = (1, 5, 10)
SIMILARITIES = ("cosine", "dot")
CHANCE, COMMONEST = "chance", "commonest_report"
BLOCK_VALUES = 8_000_000  # similarities at once: 32 MB of float32
SAME_TEXT = 1e-3  # embeddings of one text may differ by this much of the largest value, as batches do


@dataclass(frozen=True)
class Retrieved:
    """Retrieval in one direction.

    Attributes
    ----------
    ranks : ndarray, shape (n,), int64
        For each record, 1 + the items of other reports that are as similar as its most similar hit, or more.
    recall : dict of int to float
        Share of the records with a hit among the first 1, 5 and 10.
    median_rank : float
    controls : dict of str to dict of str to float
        What knows nothing of the query gets: ``r@1``, ``r@5``, ``r@10`` and ``median_rank`` of ``chance`` (expected of
        a random order) and of ``commonest_report`` (the same order for every query, the commonest report or an ECG
        with it first, then the next: the most that an encoder can get that gives all ECGs one embedding).
    """

    ranks: np.ndarray
    recall: dict[int, float]
    median_rank: float
    controls: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Retrieval:
    """Retrieval both ways among n records with an ECG and a report, `n_reports` of the reports being different."""

    ecg_to_text: Retrieved
    text_to_ecg: Retrieved
    n: int
    n_reports: int


def retrieve(ecg: np.ndarray, text: np.ndarray, reports: np.ndarray, similarity: str = "cosine") -> Retrieval:
    """Rank the different reports for each ECG, and all ECGs for the report of each record.

    A report that several records have is one item, so that its copies don't push others back. From an ECG the one hit
    is its report; from a report every ECG that has it is a hit, for equal reports cannot be told apart, and the most
    similar one counts. Every record is a query and counts alike, also where its report is another's too. Ties with
    items of other reports count against the query, so that embeddings that have collapsed to a point get no recall.

    Parameters
    ----------
    ecg, text : ndarray, shape (n, D), float
        Embeddings of the same records, row by row; the text's of a report that several records have is there several
        times.
    reports : ndarray, shape (n,)
        What is equal for equal reports: their number, or the text itself.
    similarity : str
        ``cosine``, or ``dot`` as D-BETA's.

    Raises
    ------
    ValueError
        When shapes differ, an embedding is not finite, equal reports have different text embeddings, or `similarity` is
        neither.
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
    different, first, codes, counts = np.unique(reports, return_index=True, return_inverse=True, return_counts=True)
    _check_copies(text, first[codes])
    texts = text[first]
    if similarity == "cosine":
        ecg, texts = normalize(ecg), normalize(texts)
    numbers, sizes, commonest = np.arange(len(different)), counts[codes], _commonest_first(counts)[codes]
    of_ecg = _ranks(ecg, texts, codes, numbers)
    of_text = _ranks(texts, ecg, numbers, codes)[codes]
    return Retrieval(
        _retrieved(of_ecg, np.ones_like(sizes), len(different), commonest),
        _retrieved(of_text, sizes, len(ecg), commonest),
        len(ecg),
        len(different),
    )


def _check_copies(text: np.ndarray, originals: np.ndarray) -> None:
    """Refuse rows whose embedding is not that of the row that has their report first."""
    tolerance = SAME_TEXT * max(text.max(), -text.min())
    for row in np.flatnonzero(originals != np.arange(len(text))):
        if np.abs(text[row] - text[originals[row]]).max() > tolerance:
            raise ValueError(
                f"text embedding of row {row} is not that of row {originals[row]}, which has the same report: expected "
                "one embedding for one report"
            )


def chance_ranks(n_hits: np.ndarray, n_items: int) -> dict[str, float]:
    """Expected recall and median rank of the first hit when items stand in random order.

    A query with m hits among N items has none of them among the first k with probability C(N - m, k) / C(N, k); the
    median rank is the first k that half of the queries' hits are expected to reach, and between two where it is met
    exactly.

    Parameters
    ----------
    n_hits : ndarray of int, shape (n,)
        m of each query, at least 1.
    n_items : int
        N.

    Returns
    -------
    dict of str to float
        ``r@1``, ``r@5``, ``r@10`` and ``median_rank``.
    """
    from scipy.special import gammaln

    sizes, weights = np.unique(n_hits, return_counts=True)
    weights = weights / weights.sum()

    def reached(k: int) -> float:
        """Return the share of queries that have a hit among the first k."""
        possible = sizes <= n_items - k  # otherwise one of the first k must be a hit
        left = n_items - sizes[possible]
        logs = gammaln(left + 1) - gammaln(left - k + 1) - gammaln(n_items + 1) + gammaln(n_items - k + 1)
        return 1.0 - float((weights[possible] * np.exp(logs)).sum())

    low, high = 0, n_items  # reached(low) < 0.5 <= reached(high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) >= 0.5 - 1e-9 else (middle, high)
    median = high + 0.5 if abs(reached(high) - 0.5) < 1e-9 else float(high)
    return {f"r@{k}": reached(min(k, n_items)) for k in RECALL_AT} | {"median_rank": median}


def _retrieved(ranks: np.ndarray, n_hits: np.ndarray, n_items: int, commonest: np.ndarray) -> Retrieved:
    controls = {CHANCE: chance_ranks(n_hits, n_items), COMMONEST: _figures(commonest)}
    found = _figures(ranks)
    return Retrieved(ranks, {k: found[f"r@{k}"] for k in RECALL_AT}, found["median_rank"], controls)


def _figures(ranks: np.ndarray) -> dict[str, float]:
    recall = {f"r@{k}": float((ranks <= k).mean()) for k in RECALL_AT}
    return recall | {"median_rank": float(np.median(ranks))}


def _commonest_first(counts: np.ndarray) -> np.ndarray:
    """Return the place of each report, from 1, when those that most records have come first."""
    places = np.empty(len(counts), dtype=np.int64)
    places[np.argsort(-counts, kind="stable")] = np.arange(1, len(counts) + 1)
    return places


def _ranks(queries: np.ndarray, items: np.ndarray, of_queries: np.ndarray, of_items: np.ndarray) -> np.ndarray:
    """Return the rank of each query's first hit; hits are items of the same report."""
    rows = max(1, BLOCK_VALUES // len(items))
    ranks = []
    for first in range(0, len(queries), rows):
        block = slice(first, first + rows)
        similarities, hits = queries[block] @ items.T, of_queries[block, None] == of_items
        best = np.where(hits, similarities, -np.inf).max(axis=1, keepdims=True)
        ranks.append(1 + ((similarities >= best) & ~hits).sum(axis=1))
    return np.concatenate(ranks)
