"""Metrics of multi-label classification."""

from dataclasses import dataclass

import numpy as np

from ecgtext_plugins.criterions.classification_metrics import area


@dataclass(frozen=True)
class AurocResult:
    """Areas under the ROC curve, by class.

    Attributes
    ----------
    per_class : dict of str to float
        nan where a class has no positive or no negative record.
    macro : float
        Mean over the classes where it is defined; nan when there is none.
    undefined : list of str
        Classes that are left out of `macro`.
    n_positive : dict of str to int
    """

    per_class: dict[str, float]
    macro: float
    undefined: list[str]
    n_positive: dict[str, int]


def auroc_by_class(labels: np.ndarray, scores: np.ndarray, names: list[str]) -> AurocResult:
    """Area under the ROC curve of each class over records (ties count half), and its mean.

    Parameters
    ----------
    labels : ndarray, shape (n, K), bool
    scores : ndarray, shape (n, K), float
        Larger means likelier; only the order matters.
    names : list of str, length K

    Raises
    ------
    ValueError
        When shapes differ or a score is not a number.
    """
    labels, scores = np.asarray(labels, dtype=bool), np.asarray(scores)
    if labels.shape != scores.shape or labels.shape[1:] != (len(names),):
        raise ValueError(f"labels {labels.shape} and scores {scores.shape} must both be (n, {len(names)})")
    if np.isnan(scores).any():
        row, column = np.argwhere(np.isnan(scores))[0]
        raise ValueError(f"score of row {row} for class {names[column]} is not a number")
    per_class = {name: area(labels[:, i], scores[:, i]) for i, name in enumerate(names)}
    defined = [value for value in per_class.values() if not np.isnan(value)]
    return AurocResult(
        per_class=per_class,
        macro=float(np.mean(defined)) if defined else float("nan"),
        undefined=[name for name, value in per_class.items() if np.isnan(value)],
        n_positive={name: int(labels[:, i].sum()) for i, name in enumerate(names)},
    )
