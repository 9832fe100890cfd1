"""From scores to decisions: thresholds chosen on validation; and decisions of readers as points on the ROC."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecgtext_plugins.criterions.classification_metrics import confusion_counts, ratio
from ecgtext_plugins.evaluation.intervals import LEVEL, RESAMPLES, Intervals, bootstrap_ratios
from ecgtext_plugins.evaluation.metrics import F1ByClass, check_labels, check_scores, f1_by_class


@dataclass(frozen=True)
class Thresholds:
    """One threshold a class.

    Attributes
    ----------
    per_class : dict of str to float
        A record has the class when its score is the threshold or above; nan without a positive validation record.
    validation_f1 : dict of str to float
        Highest F1 on validation, which the threshold reaches; optimistic by the choice.
    undefined : list of str
        Classes without a threshold: nothing can be decided of them.
    """

    per_class: dict[str, float]
    validation_f1: dict[str, float]
    undefined: list[str]

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """Decide on scores (n, K) of the classes in their order: (n, K) bool; False throughout without a threshold."""
        return np.asarray(scores) >= np.array(list(self.per_class.values()))


def max_f1_thresholds(labels: np.ndarray, scores: np.ndarray, names: Sequence[str]) -> Thresholds:
    """Choose for each class the score with the highest F1; of several, the highest score.

    Parameters
    ----------
    labels : ndarray, shape (n, K), bool or 0/1
        Of the validation records, never of those that are tested.
    scores : ndarray, shape (n, K), float
    names : sequence of str, length K

    Raises
    ------
    ValueError
        See `check_scores`.
    """
    labels, scores = check_scores(labels, scores, names)
    best = [_max_f1(labels[:, k], scores[:, k]) for k in range(len(names))]
    return Thresholds(
        per_class={name: threshold for name, (threshold, _) in zip(names, best, strict=True)},
        validation_f1={name: f1 for name, (_, f1) in zip(names, best, strict=True)},
        undefined=[name for name, (threshold, _) in zip(names, best, strict=True) if np.isnan(threshold)],
    )


def _max_f1(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    if not labels.any():
        return float("nan"), float("nan")
    order = np.argsort(scores, kind="stable")[::-1]
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # of each distinct score
    f1 = 2.0 * np.cumsum(labels[order])[last] / (last + 1 + labels.sum())
    best = int(np.argmax(f1))
    return float(scores[order][last[best]]), float(f1[best])


def f1_at_thresholds(labels: np.ndarray, scores: np.ndarray, names: Sequence[str], thresholds: Thresholds) -> F1ByClass:
    """F1 of test records (n, K) at thresholds chosen on validation; classes without one are left out and named.

    Raises
    ------
    ValueError
        When the thresholds are of other classes, and see `check_scores`.
    """
    labels, scores = check_scores(labels, scores, names)
    _same_classes(names, thresholds)
    return f1_by_class(labels, thresholds.decide(scores), names, left_out=thresholds.undefined)


def f1_intervals(
    labels: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    thresholds: Thresholds,
    groups: np.ndarray,
    n_resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Intervals:
    """Intervals of F1 at given thresholds over resamples of the test patients; see `bootstrap`.

    A class without a threshold is undefined in every resample.
    """
    labels, scores = check_scores(labels, scores, names)
    _same_classes(names, thresholds)
    decisions = thresholds.decide(scores)
    decided = np.array([name not in thresholds.undefined for name in names])
    wholes = (labels.astype(np.float64) + decisions) * decided
    return bootstrap_ratios(2.0 * (labels & decisions), wholes, groups, n_resamples, seed, names, level)


def _same_classes(names: Sequence[str], thresholds: Thresholds) -> None:
    if list(names) != list(thresholds.per_class):
        raise ValueError(
            f"thresholds are of the classes {', '.join(thresholds.per_class)}: expected those of the scores in their "
            f"order, {', '.join(names)}"
        )


@dataclass(frozen=True)
class OperatingPoint:
    """Where the decisions of one reader on one class stand on the ROC: (1 - specificity, sensitivity).

    Attributes
    ----------
    sensitivity, specificity : float
        nan without a positive, or without a negative record.
    sensitivity_interval, specificity_interval : (float, float)
        Percentile intervals over resamples of the patients.
    n_positive, n_negative : int
        Records by label.
    """

    sensitivity: float
    specificity: float
    sensitivity_interval: tuple[float, float]
    specificity_interval: tuple[float, float]
    n_positive: int
    n_negative: int


def operating_points(
    labels: np.ndarray,
    decisions: np.ndarray,
    names: Sequence[str],
    groups: np.ndarray,
    n_resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, OperatingPoint]:
    """Sensitivity and specificity of each class from yes-or-no decisions, such as those of CODE-test's readers.

    The area under the ROC curve of such decisions is the mean of the two, of one threshold; it is no counterpart to the
    area of a score, which is of all thresholds, so none is given.

    Parameters
    ----------
    labels, decisions : ndarray, shape (n, K), bool or 0/1
    names : sequence of str, length K
    groups : ndarray, shape (n,)
        Patient of each record.

    Raises
    ------
    ValueError
        When shapes differ or a decision is other than 0 and 1, and see `bootstrap`.
    """
    labels, decisions = check_labels(labels, names), check_labels(decisions, names, "decisions")
    counts = confusion_counts(labels, decisions)
    settings = (groups, n_resamples, seed, names, level)
    sensitivity = bootstrap_ratios(labels & decisions, labels, *settings).per_class
    specificity = bootstrap_ratios(~labels & ~decisions, ~labels, *settings).per_class
    n_positive = counts.true_positives + counts.false_negatives
    n_negative = counts.true_negatives + counts.false_positives
    return {
        name: OperatingPoint(
            sensitivity=ratio(counts.true_positives[k], n_positive[k]),
            specificity=ratio(counts.true_negatives[k], n_negative[k]),
            sensitivity_interval=sensitivity[name],
            specificity_interval=specificity[name],
            n_positive=int(n_positive[k]),
            n_negative=int(n_negative[k]),
        )
        for k, name in enumerate(names)
    }
