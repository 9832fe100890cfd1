"""Which records of a test split were ranked best and worst, by a rule that needs no probabilities."""

from dataclasses import dataclass

import numpy as np

RULE = (
    "Rule: within each class all records are ranked by its score, ties by their mean, and the rank is scaled to lie "
    "between 0 and 1. A record's loss is the mean of \u2212log(rank) over the classes that it has and the mean of "
    "\u2212log(1\u00a0\u2212\u00a0rank) over those that it does not have, half of each (all of one where the other is "
    "empty). Only classes with a positive and a negative record count. Equal losses stand in the order of the file."
)


@dataclass(frozen=True)
class Cases:
    """Records to show.

    Attributes
    ----------
    worst, best : ndarray (m,) int64
        Rows; the most extreme first. No row is in both.
    loss : ndarray (n,)
        Of every record, see RULE.
    ranks : ndarray (n, K)
        Rank of each score within its class, in 0 to 1, higher is likelier.
    """

    worst: np.ndarray
    best: np.ndarray
    loss: np.ndarray
    ranks: np.ndarray


def pick_cases(labels: np.ndarray, scores: np.ndarray, n_cases: int = 10) -> Cases | None:
    """Find the records that were ranked worst and best, see RULE.

    Parameters
    ----------
    labels : ndarray (n, K) bool
    scores : ndarray (n, K)
        Finite; higher means likelier.
    n_cases : int
        How many of each; at most half of the records.

    Returns
    -------
    Cases or None
        None when no class has both a positive and a negative record.
    """
    from scipy.stats import rankdata

    labels, n = np.asarray(labels, dtype=bool), len(labels)
    ranks = (rankdata(scores, axis=0) - 0.5) / max(n, 1)
    defined = labels.any(axis=0) & ~labels.all(axis=0)
    if not defined.any():
        return None
    loss = _loss(labels[:, defined], ranks[:, defined])
    n_cases = min(n_cases, n // 2)
    order = np.argsort(loss, kind="stable")
    worst = np.argsort(-loss, kind="stable")
    best = order[:n_cases]
    worst = worst[~np.isin(worst, best)][:n_cases]
    return Cases(worst=worst, best=best, loss=loss, ranks=ranks)


def _loss(labels: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    has, lacks = labels.sum(axis=1), (~labels).sum(axis=1)
    of_has = -(np.log(ranks) * labels).sum(axis=1) / np.maximum(has, 1)
    of_lacks = -(np.log1p(-ranks) * ~labels).sum(axis=1) / np.maximum(lacks, 1)
    return (of_has + of_lacks) / ((has > 0).astype(int) + (lacks > 0))
