"""Percentile intervals by bootstrap over patients (Efron and Tibshirani 1993), for all resamples at once.

A resample draws as many patients as there are, with replacement, and takes all records of each as often as it was
drawn: records of one patient are not independent. So a resample is a vector of multiplicities, and a figure of it is
the weighted figure of the records. Resamples depend on the seed and the patients alone, not on the order of the
records, the classes or the scores: two models are compared on the same ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix

from ecgtext_plugins.criterions.classification_metrics import KINDS, areas
from ecgtext_plugins.evaluation.metrics import check_scores

RESAMPLES = 1000
LEVEL = 0.95
BLOCK = 128  # resamples weighted together: fills the vector units, and their multiplicities stay in the cache
BLOCK_VALUES = 8_000_000  # at most that many values in one array of a block, 64 MB


@dataclass(frozen=True)
class Intervals:
    """Percentile intervals of a figure.

    Attributes
    ----------
    per_class : dict of str to (float, float)
        Lowest and highest value of the interval; nan where no resample has the figure.
    macro : (float, float)
        Of the mean over the classes that are defined in a resample.
    samples : ndarray, shape (R, K + 1), float64
        The figure in each resample, by class, then the macro mean; nan where it is not defined.
    n_undefined : dict of str to int
        Resamples whose macro mean leaves the class out, for want of a positive or a negative record.
    n_patients : int
    level : float
        Share of the resamples that an interval holds.
    """

    per_class: dict[str, tuple[float, float]]
    macro: tuple[float, float]
    samples: np.ndarray
    n_undefined: dict[str, int]
    n_patients: int
    level: float


@dataclass(frozen=True)
class PairedDifference:
    """Figure of model a minus that of model b, on the same records.

    Attributes
    ----------
    difference : float
        On the records as they are; nan where it is not defined.
    low, high : float
        Percentile interval over resamples.
    p_value : float
        Two-sided: twice the smaller share of resamples whose difference is on one side of 0, or 0, counting the
        records as they are as one more resample on that side (so never 0), and at most 1; nan where no resample has
        the difference.
    per_class : dict of str to PairedDifference
        Of each class; not corrected for their number. Empty in a class's own.
    """

    difference: float
    low: float
    high: float
    p_value: float
    per_class: dict[str, "PairedDifference"] = field(default_factory=dict)


def bootstrap(
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    n_resamples: int = RESAMPLES,
    seed: int = 0,
    metric: str = "auroc",
    names: Sequence[str] | None = None,
    level: float = LEVEL,
) -> Intervals:
    """Intervals of the area under the ROC or the precision-recall curve.

    The micro average is that of one class: ``bootstrap(labels.reshape(-1, 1), scores.reshape(-1, 1),
    np.repeat(groups, K))``, on the same resamples.

    Parameters
    ----------
    labels : ndarray, shape (n, K), bool or 0/1
    scores : ndarray, shape (n, K), float
    groups : ndarray, shape (n,)
        Patient of each record: numbers or text.
    metric : str
        ``auroc`` or ``auprc``.
    names : sequence of str, length K
        Of the classes; their numbers when None.

    Raises
    ------
    ValueError
        For shapes that don't fit, scores that are not finite, an unknown `metric`, or fewer than two patients.
    """
    if metric not in KINDS:
        raise ValueError(f"metric={metric!r}: expected one of {', '.join(KINDS)}")
    names = _names(names, labels)
    labels, scores = check_scores(labels, scores, names)
    patients, n_patients = _patient_codes(groups, len(labels))
    classes = [_ClassCounts(labels[:, k], scores[:, k], patients, n_patients) for k in range(len(names))]
    rows = max([n_patients, *(counts.negatives.shape[0] for counts in classes)])
    blocks = [
        np.stack([counts.areas(weights, metric) for counts in classes], axis=1)
        for weights in resamples(n_patients, n_resamples, seed, rows)
    ]
    return _intervals(np.concatenate(blocks), names, n_patients, level)


def paired_bootstrap(
    labels: np.ndarray,
    scores_a: np.ndarray,
    scores_b: np.ndarray,
    groups: np.ndarray,
    n_resamples: int = RESAMPLES,
    seed: int = 0,
    metric: str = "auroc",
    names: Sequence[str] | None = None,
    level: float = LEVEL,
) -> PairedDifference:
    """Difference of the macro area of two models, on the same resamples of the patients; see `bootstrap`.

    Parameters
    ----------
    scores_a, scores_b : ndarray, shape (n, K), float
        Of the same records and classes in the same order.
    """
    names, samples, points = _names(names, labels), [], []
    for model, scores in (("a", scores_a), ("b", scores_b)):
        check_scores(labels, scores, names, what=f"model {model}'s score")
        samples.append(bootstrap(labels, scores, groups, n_resamples, seed, metric, names, level).samples)
        found = areas(np.asarray(labels, dtype=bool), np.asarray(scores), metric)
        points.append(np.append(found.per_class, found.macro))
    *per_class, macro = [
        _difference(point, values, level)
        for point, values in zip(points[0] - points[1], (samples[0] - samples[1]).T, strict=True)
    ]
    return PairedDifference(*macro, per_class={n: PairedDifference(*d) for n, d in zip(names, per_class, strict=True)})


def bootstrap_ratios(
    parts: np.ndarray,
    wholes: np.ndarray,
    groups: np.ndarray,
    n_resamples: int = RESAMPLES,
    seed: int = 0,
    names: Sequence[str] | None = None,
    level: float = LEVEL,
) -> Intervals:
    """Intervals of figures that are a sum over records divided by another, on the same resamples as `bootstrap`.

    Sensitivity is (right and positive) / positive, accuracy right / 1, F1 2 TP / (2 TP + FP + FN), recall at 5 of a
    retrieval (rank <= 5) / 1.

    Parameters
    ----------
    parts, wholes : ndarray, shape (n, K)
        What each record adds to the numerator and the denominator; a figure is undefined where the latter is 0.
    groups, n_resamples, seed, names, level
        See `bootstrap`.

    Raises
    ------
    ValueError
        For shapes that don't fit, values that are not finite, or fewer than two patients.
    """
    names = _names(names, parts)
    parts, wholes = np.asarray(parts, dtype=np.float64), np.asarray(wholes, dtype=np.float64)
    if parts.ndim != 2 or parts.shape != wholes.shape or not np.isfinite(parts).all() or not np.isfinite(wholes).all():
        raise ValueError(f"parts {parts.shape} and wholes {wholes.shape} must both be (n, {len(names)}) and finite")
    patients, n_patients = _patient_codes(groups, len(parts))
    member = _counts(patients, np.arange(len(parts)), (n_patients, len(parts)))
    sums = (member @ parts).T, (member @ wholes).T
    blocks = []
    for weights in resamples(n_patients, n_resamples, seed, n_patients):
        part, whole = (each @ weights.astype(np.float64) for each in sums)
        blocks.append(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0).T)
    return _intervals(np.concatenate(blocks), names, n_patients, level)


def resamples(n_patients: int, n_resamples: int, seed: int, rows: int = 1) -> Iterator[np.ndarray]:
    """Draw how often each patient is in each resample, in blocks (n_patients, block) int32 of resamples.

    Parameters
    ----------
    rows : int
        Rows of the largest array that a block is multiplied to; keeps the blocks small where there are many.
    """
    if n_resamples < 1:
        raise ValueError(f"n_resamples={n_resamples}: expected at least 1")
    random = np.random.default_rng(seed)
    block = int(np.clip(BLOCK_VALUES // max(rows, n_patients), 1, BLOCK))
    for first in range(0, n_resamples, block):
        drawn = [
            np.bincount(random.integers(0, n_patients, n_patients), minlength=n_patients).astype(np.int32)
            for _ in range(first, min(first + block, n_resamples))
        ]
        yield np.stack(drawn, axis=1)


class _ClassCounts:
    """Where a class's records stand among the distinct scores of its positives, by patient.

    G distinct scores cut the line into 2 G + 1 places: below the lowest, at it, between it and the next, at that, and
    so on. Only how many negatives are in each place matters, to both areas.
    """

    def __init__(self, labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, n_patients: int):
        levels, level = np.unique(scores[labels], return_inverse=True)
        place = np.searchsorted(levels, scores[~labels]) + np.searchsorted(levels, scores[~labels], side="right")
        self.positives = _counts(level, patients[labels], (len(levels), n_patients))
        self.negatives = _counts(place, patients[~labels], (2 * len(levels) + 1, n_patients))

    def areas(self, weights: np.ndarray, metric: str) -> np.ndarray:
        """Area in each resample, (R,) float64; nan where it is undefined. `weights` are (n_patients, R) int32."""
        positives = self.positives @ weights
        below = np.cumsum(self.negatives @ weights, axis=0, dtype=np.float64)
        n_positive, n_negative = positives.sum(axis=0, dtype=np.float64), below[-1]
        if metric == "auroc":  # pairs in the right order; a tie is half a pair
            part, whole = (positives * (below[:-1:2] + below[1::2])).sum(axis=0), 2 * n_positive * n_negative
        else:  # precision at each score that a positive has, by the share of positives that have it
            found = np.cumsum(positives[::-1], axis=0, dtype=np.float64)[::-1]
            chosen = found + n_negative - below[:-1:2]
            precision = np.divide(found, chosen, out=np.zeros_like(found), where=chosen > 0)
            part, whole = (positives * precision).sum(axis=0), n_positive
        return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _counts(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
    return coo_matrix((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=shape).tocsr()


def _names(names: Sequence[str] | None, values: np.ndarray) -> list[str]:
    return [str(k) for k in range(np.shape(values)[-1])] if names is None else list(names)


def _patient_codes(groups: np.ndarray, n: int) -> tuple[np.ndarray, int]:
    """Number the patients 0 .. P - 1 in their sorted order."""
    groups = np.asarray(groups)
    if groups.shape != (n,):
        raise ValueError(f"groups have shape {groups.shape}: expected ({n},), the patient of each record")
    if groups.dtype.kind == "f" and np.isnan(groups).any():
        raise ValueError(f"group of row {np.argmax(np.isnan(groups))} is not a number: expected the record's patient")
    patients, codes = np.unique(groups, return_inverse=True)
    if len(patients) < 2:
        raise ValueError(f"all {n} records are of one patient: expected at least two, whose spread is measured")
    return codes, len(patients)


def _intervals(samples: np.ndarray, names: list[str], n_patients: int, level: float) -> Intervals:
    """Add the macro mean to the samples (R, K), and take percentiles."""
    defined = ~np.isnan(samples)
    count = defined.sum(axis=1)
    total = np.where(defined, samples, 0.0).sum(axis=1)
    macro = np.divide(total, count, out=np.full(len(samples), np.nan), where=count > 0)
    bounds = [_bounds(values, level) for values in (*samples.T, macro)]
    return Intervals(
        per_class=dict(zip(names, bounds[:-1], strict=True)),
        macro=bounds[-1],
        samples=np.column_stack([samples, macro]),
        n_undefined=dict(zip(names, (~defined).sum(axis=0).tolist(), strict=True)),
        n_patients=n_patients,
        level=level,
    )


def _bounds(values: np.ndarray, level: float) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _difference(point: float, values: np.ndarray, level: float) -> tuple[float, float, float, float]:
    low, high = _bounds(values, level)
    values = values[~np.isnan(values)]
    if not len(values):
        return float(point), low, high, float("nan")
    side = min((values <= 0).sum(), (values >= 0).sum())
    return float(point), low, high, float(min(1.0, 2 * (side + 1) / (len(values) + 1)))
