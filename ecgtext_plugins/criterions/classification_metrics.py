"""Metrics of multi-label classification from scores, decisions and labels: numpy and scikit-learn, no fairseq."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgtext_plugins.corpora.snomed import snomed_codes
from ecgtext_plugins.errors import BadConfig

NORMAL = "426783006"  # sinus rhythm
KINDS = ("auroc", "auprc")
UNDEFINED = ("zero", "leave_out")


@dataclass(frozen=True)
class Areas:
    """Areas under a curve.

    Attributes
    ----------
    per_class : ndarray, shape (K,), float64
        nan where a class has no positive record or, for AUROC, no negative one.
    macro : float
        Mean over the classes where it is defined; nan when there is none.
    micro : float
        Of all (record, class) pairs as if they were one class.
    n_undefined : int
        Classes that `macro` leaves out.
    """

    per_class: np.ndarray
    macro: float
    micro: float
    n_undefined: int


def areas(labels: np.ndarray, scores: np.ndarray, kind: str = "auroc", mask: np.ndarray | None = None) -> Areas:
    """Area under the ROC curve (ties count half) or under the precision-recall steps (average precision).

    Parameters
    ----------
    labels : ndarray, shape (n, K), bool
    scores : ndarray, shape (n, K), float
        Larger means likelier; only the order matters, and for `micro` the order across classes.
    kind : str
        ``auroc`` or ``auprc``.
    mask : ndarray, shape (n, K), bool, or None
        False where a label is not known: the pair is left out.

    Raises
    ------
    ValueError
        When shapes differ, a score is not finite, or `kind` is neither.
    """
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: expected one of {', '.join(KINDS)}")
    labels, scores, mask = _checked(labels, scores, mask)
    if not np.isfinite(scores[mask]).all():
        row, column = np.argwhere(~np.isfinite(scores) & mask)[0]
        raise ValueError(f"score of row {row} for class {column} is {scores[row, column]}: expected a finite number")
    per_class = np.array([area(labels[m, k], scores[m, k], kind) for k, m in enumerate(mask.T)], dtype=np.float64)
    defined = per_class[~np.isnan(per_class)]
    return Areas(
        per_class=per_class,
        macro=float(defined.mean()) if len(defined) else float("nan"),
        micro=area(labels[mask], scores[mask], kind),
        n_undefined=len(per_class) - len(defined),
    )


def area(labels: np.ndarray, scores: np.ndarray, kind: str = "auroc") -> float:
    """Area of one class, labels and scores (n,); nan where it is not defined, see `Areas`."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    if not labels.any() or (kind == "auroc" and labels.all()):
        return float("nan")
    return float((roc_auc_score if kind == "auroc" else average_precision_score)(labels, scores))


def _checked(labels, values, mask) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels, values = np.asarray(labels, dtype=bool), np.asarray(values)
    mask = np.ones(labels.shape, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    if labels.ndim != 2 or not labels.shape == values.shape == mask.shape:
        raise ValueError(
            f"labels {labels.shape}, scores or decisions {values.shape} and mask {mask.shape} must all be (n, K)"
        )
    return labels, values, mask


@dataclass(frozen=True)
class Counts:
    """Right and wrong decisions of each class; all ndarrays (K,), int64."""

    true_positives: np.ndarray
    false_positives: np.ndarray
    false_negatives: np.ndarray
    true_negatives: np.ndarray

    def accuracy(self) -> float:
        """Share of (record, class) pairs that are decided rightly."""
        right = self.true_positives.sum() + self.true_negatives.sum()
        return ratio(right, right + self.false_positives.sum() + self.false_negatives.sum())

    def precision(self) -> float:
        """Share of the positive decisions, of all classes, that are right (micro)."""
        return ratio(self.true_positives.sum(), self.true_positives.sum() + self.false_positives.sum())

    def recall(self) -> float:
        """Share of the positive labels, of all classes, that are found (micro)."""
        return ratio(self.true_positives.sum(), self.true_positives.sum() + self.false_negatives.sum())

    def micro_f1(self) -> float:
        """F1 of all (record, class) pairs as if they were one class."""
        wrong = self.false_positives.sum() + self.false_negatives.sum()
        return ratio(2 * self.true_positives.sum(), 2 * self.true_positives.sum() + wrong)

    def f1_per_class(self) -> np.ndarray:
        """F1 of each class, (K,); nan where it has neither a positive label nor a positive decision."""
        twice, wrong = 2.0 * self.true_positives, self.false_positives + self.false_negatives
        return np.divide(twice, twice + wrong, out=np.full(len(twice), np.nan), where=twice + wrong > 0)

    def macro_f1(self, undefined: str = "leave_out") -> float:
        """Mean of F1 over classes.

        Parameters
        ----------
        undefined : str
            What a class counts that has neither a positive label nor a positive decision, so that F1 is 0 / 0: nothing
            (``leave_out``, as the PhysioNet/CinC Challenge 2021) or 0 (``zero``). A class that is only decided, or only
            labelled, has F1 = 0 either way.
        """
        if undefined not in UNDEFINED:
            raise ValueError(f"undefined={undefined!r}: expected one of {', '.join(UNDEFINED)}")
        values = self.f1_per_class()
        values = np.nan_to_num(values, nan=0.0) if undefined == "zero" else values[~np.isnan(values)]
        return float(values.mean()) if len(values) else float("nan")


def ratio(part: float, whole: float) -> float:
    """Divide; nan where there is nothing to divide by."""
    return float(part) / float(whole) if whole else float("nan")


def confusion_counts(labels: np.ndarray, decisions: np.ndarray, mask: np.ndarray | None = None) -> Counts:
    """Count right and wrong decisions of each class; see `areas` for shapes."""
    labels, decisions, mask = _checked(labels, decisions, mask)
    decisions = decisions.astype(bool)
    return Counts(
        true_positives=(labels & decisions & mask).sum(axis=0),
        false_positives=(~labels & decisions & mask).sum(axis=0),
        false_negatives=(labels & ~decisions & mask).sum(axis=0),
        true_negatives=(~labels & ~decisions & mask).sum(axis=0),
    )


def exact_match(labels: np.ndarray, decisions: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Share of records all of whose known labels are decided rightly; those without a known label are left out.

    The Challenge calls it accuracy.
    """
    labels, decisions, mask = _checked(labels, decisions, mask)
    right = ((labels == decisions.astype(bool)) | ~mask).all(axis=1)
    judged = mask.any(axis=1)
    return ratio((right & judged).sum(), judged.sum())


def challenge_score(labels: np.ndarray, decisions: np.ndarray, weights: np.ndarray, normal: int) -> float:
    """Challenge metric of PhysioNet/CinC 2021 (Reyna et al. 2021): 1 for the labels, 0 for "normal" everywhere.

    Every pair of a label and a decision of a record earns its weight, divided by the number of the record's classes
    that are labelled or decided.

    Parameters
    ----------
    labels, decisions : ndarray, shape (n, K), bool
    weights : ndarray, shape (K, K), float64
        Reward of decision k for label j at [j, k].
    normal : int
        Column of sinus rhythm.

    Returns
    -------
    float
        0 when the labels themselves earn what "normal" everywhere does, as the Challenge has it.
    """
    labels, decisions, _ = _checked(labels, decisions, None)
    decisions, inactive = decisions.astype(bool), np.zeros(labels.shape, dtype=bool)
    inactive[:, normal] = True
    observed, right, nothing = (_reward(labels, each, weights) for each in (decisions, labels, inactive))
    return (observed - nothing) / (right - nothing) if right != nothing else 0.0


def _reward(labels: np.ndarray, decisions: np.ndarray, weights: np.ndarray) -> float:
    classes = np.maximum((labels | decisions).sum(axis=1), 1)
    pairs = (labels / classes[:, None]).T @ decisions.astype(np.float64)
    return float((weights * pairs).sum())


@dataclass(frozen=True)
class ChallengeWeights:
    """Weights of the Challenge metric for a model's labels.

    Attributes
    ----------
    columns : ndarray, shape (K,), int64
        Places of the scored classes among the model's labels.
    matrix : ndarray, shape (K, K), float64
    normal : int
        Place of sinus rhythm among the K.
    """

    columns: np.ndarray
    matrix: np.ndarray
    normal: int

    def score(self, labels: np.ndarray, decisions: np.ndarray) -> float:
        """Challenge metric of all the model's labels and decisions; those that are not scored count nothing."""
        return challenge_score(labels[:, self.columns], decisions[:, self.columns], self.matrix, self.normal)


def load_challenge_weights(
    path: str | Path, labels: list[str], key: str = "criterion.weights_file"
) -> ChallengeWeights:
    """Read the Challenge's weights.csv for a model's labels.

    Both may name a class by SNOMED CT code or by abbreviation, merged classes by one of theirs or by several joined by
    ``|`` in any order.

    Parameters
    ----------
    key : str
        Which option named the file, for errors.

    Raises
    ------
    BadConfig
        When the file is no square table of numbers, lacks sinus rhythm, or the labels lack a class or have one twice.
    """
    names, matrix = _weights_table(Path(path), key)
    classes, owned = [scored_class(name) for name in names], [scored_class(name) for name in labels]
    lacking = [name for name, scored in zip(names, classes, strict=True) if owned.count(scored) != 1]
    if lacking:
        raise BadConfig(
            f"{key}={path}: expected each of its classes once among the labels, but {lacking[0]} is "
            f"there {owned.count(scored_class(lacking[0]))} times; labels are {', '.join(labels)}"
        )
    if scored_class(NORMAL) not in classes:
        raise BadConfig(f"{key}={path}: expected sinus rhythm ({NORMAL}) among its classes")
    columns = np.array([owned.index(scored) for scored in classes], dtype=np.int64)
    return ChallengeWeights(columns, matrix, classes.index(scored_class(NORMAL)))


def scored_class(name: str) -> frozenset[str]:
    """Spell a class in one way: the abbreviations that the Challenge counts it as."""
    codes = snomed_codes()
    counted = {code.abbreviation: code.label for code in codes.values() if code.label}
    parts = [part.strip() for part in name.split("|")]
    return frozenset(codes[part].label or part if part in codes else counted.get(part, part) for part in parts)


def _weights_table(path: Path, key: str) -> tuple[list[str], np.ndarray]:
    try:
        with open(path, encoding="utf-8", newline="") as handle:
            header, *rows = csv.reader(handle)
        names, matrix = header[1:], np.array([row[1:] for row in rows], dtype=np.float64)
    except (OSError, ValueError) as error:
        raise BadConfig(
            f"{key}={path} cannot be read ({error}): expected the Challenge's weights.csv, a table of "
            "numbers with the classes in its first row and column"
        ) from error
    if matrix.shape != (len(names), len(names)) or names != [row[0] for row in rows] or not np.isfinite(matrix).all():
        raise BadConfig(
            f"{key}={path}: expected a finite number for each pair of the same classes in its first "
            f"row and column, found {len(names)} columns and {len(rows)} rows"
        )
    return names, matrix
