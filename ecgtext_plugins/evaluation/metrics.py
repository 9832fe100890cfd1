"""Figures of multi-label classification by class name; what is not defined is left out of the means and named."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecgtext_plugins.criterions.classification_metrics import areas, confusion_counts


@dataclass(frozen=True)
class AreasByClass:
    """Areas under the ROC or the precision-recall curve.

    Attributes
    ----------
    per_class : dict of str to float
        nan where a class has no positive record or, under the ROC curve, no negative one.
    macro : float
        Mean over the classes where it is defined; nan when there is none.
    micro : float
        Of all (record, class) pairs as if they were one class; asks for scores that compare across classes.
    undefined : list of str
        Classes that are left out of `macro`.
    n_positive : dict of str to int
    """

    per_class: dict[str, float]
    macro: float
    micro: float
    undefined: list[str]
    n_positive: dict[str, int]


def areas_by_class(
    labels: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    metric: str = "auroc",
    records: Sequence[str] | None = None,
) -> AreasByClass:
    """Area under the ROC curve (ties count half) or average precision of each class, and their means.

    Parameters
    ----------
    labels : ndarray, shape (n, K), bool or 0/1
    scores : ndarray, shape (n, K), float
        Larger means likelier; only the order matters.
    names : sequence of str, length K
    metric : str
        ``auroc`` or ``auprc``.
    records : sequence of str, length n, optional
        What an error calls the rows.

    Raises
    ------
    ValueError
        See `check_scores`; also for an unknown `metric`.
    """
    labels, scores = check_scores(labels, scores, names, records)
    found = areas(labels, scores, metric)
    per_class = dict(zip(names, found.per_class.tolist(), strict=True))
    return AreasByClass(
        per_class=per_class,
        macro=found.macro,
        micro=found.micro,
        undefined=[name for name, value in per_class.items() if np.isnan(value)],
        n_positive=dict(zip(names, labels.sum(axis=0).tolist(), strict=True)),
    )


def auroc_by_class(labels: np.ndarray, scores: np.ndarray, names: Sequence[str]) -> AreasByClass:
    """Area under the ROC curve of each class: `areas_by_class` with its default metric."""
    return areas_by_class(labels, scores, names)


@dataclass(frozen=True)
class F1ByClass:
    """F1 of decisions.

    Attributes
    ----------
    per_class : dict of str to float
        nan where a class has neither a positive label nor a positive decision (0 / 0), or was left out.
    macro : float
        Mean over the classes where it is defined; nan when there is none.
    macro_undefined_as_zero : float
        Mean in which a class with 0 / 0 counts as 0; what was left out stays out.
    micro : float
        Of all (record, class) pairs of the classes that were not left out.
    undefined : list of str
        Classes that `macro` leaves out.
    """

    per_class: dict[str, float]
    macro: float
    macro_undefined_as_zero: float
    micro: float
    undefined: list[str]


def f1_by_class(
    labels: np.ndarray, decisions: np.ndarray, names: Sequence[str], left_out: Sequence[str] = ()
) -> F1ByClass:
    """F1 of each class, and its means.

    Parameters
    ----------
    labels, decisions : ndarray, shape (n, K), bool or 0/1
    names : sequence of str, length K
    left_out : sequence of str
        Classes that were never decided, for example for want of a threshold.

    Raises
    ------
    ValueError
        When shapes differ or `labels` or `decisions` are other than 0 and 1.
    """
    labels, decisions = check_labels(labels, names), check_labels(decisions, names, "decisions")
    if len(labels) != len(decisions):
        raise ValueError(f"labels have {len(labels)} rows and decisions {len(decisions)}: expected the same records")
    decided = np.array([name not in left_out for name in names], dtype=bool)
    counts = confusion_counts(labels[:, decided], decisions[:, decided])
    values = np.full(len(names), np.nan)
    values[decided] = counts.f1_per_class()
    return F1ByClass(
        per_class=dict(zip(names, values.tolist(), strict=True)),
        macro=counts.macro_f1("leave_out"),
        macro_undefined_as_zero=counts.macro_f1("zero"),
        micro=counts.micro_f1(),
        undefined=[name for name, value in zip(names, values, strict=True) if np.isnan(value)],
    )


def check_labels(labels: np.ndarray, names: Sequence[str], what: str = "labels") -> np.ndarray:
    """Return labels or decisions (n, K) as bool.

    Raises
    ------
    ValueError
        When they are not (n, K) with n > 0, or other than 0 and 1, or a name is there twice.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.shape[1] != len(names) or not len(labels):
        raise ValueError(f"{what} have shape {labels.shape}: expected (n, {len(names)}), n > 0")
    if len(set(names)) < len(names):
        raise ValueError(f"class {next(n for n in names if list(names).count(n) > 1)} is named twice: expected once")
    if labels.dtype != bool:
        odd = np.argwhere((labels != 0) & (labels != 1))
        if len(odd):
            row, column = odd[0]
            raise ValueError(
                f"{what} of row {row} for class {names[column]} are {labels[row, column]}: expected 0 or 1"
            )
    return labels.astype(bool)


def check_scores(
    labels: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    records: Sequence[str] | None = None,
    what: str = "score",
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (n, K) as bool, and scores (n, K).

    Raises
    ------
    ValueError
        When they don't fit each other or the names, see `check_labels`, or a score is not finite; names its record and
        class.
    """
    scores = np.asarray(scores)
    if np.shape(labels) != scores.shape or scores.shape[1:] != (len(names),):
        raise ValueError(f"labels {np.shape(labels)} and {what}s {scores.shape} must both be (n, {len(names)})")
    labels = check_labels(labels, names)
    odd = ~np.isfinite(scores)
    if odd.any():
        row, column = np.argwhere(odd)[0]
        record = f"row {row}" if records is None else f"record {records[row]}"
        raise ValueError(
            f"{what} of {record} for class {names[column]} is {scores[row, column]}: expected a finite number"
        )
    return labels, scores
