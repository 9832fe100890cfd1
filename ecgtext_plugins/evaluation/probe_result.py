"""What a probe gives: scores of every subset and seed, and figures in which no class is averaged over silently."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ecgtext_plugins.criterions.classification_metrics import areas


@dataclass(frozen=True)
class ProbeFigures:
    """Areas under a curve on the test split.

    Attributes
    ----------
    per_class : ndarray (S, R, K) float64
        nan where it is not defined on the test split, or where the subset doesn't teach the class.
    macro : ndarray (S, R) float64
        Mean over the classes that are defined and that the subset teaches for every seed, so that all seeds are judged
        by the same classes; nan when there is none.
    not_taught : dict of str to dict of str to list of int
        By subset the classes that it doesn't teach for some seed, with the positives that it has for each seed.
    undefined : list of str
        Classes without positive (or, for AUROC, negative) records in the test split.
    """

    metric: str
    names: list[str]
    subsets: list[str]
    seeds: list[int]
    per_class: np.ndarray
    macro: np.ndarray
    not_taught: dict[str, dict[str, list[int]]]
    undefined: list[str]

    @property
    def mean(self) -> np.ndarray:
        """Mean of `macro` over seeds, (S,)."""
        return self.macro.mean(axis=1)

    @property
    def sd(self) -> np.ndarray:
        """Standard deviation of `macro` over seeds (n - 1), (S,); nan for one seed."""
        many = len(self.seeds) > 1
        return self.macro.std(axis=1, ddof=1) if many else np.full(len(self.subsets), np.nan)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by subset, ready for JSON: nan is null."""
        return {name: self._of(place) for place, name in enumerate(self.subsets)}

    def _of(self, place: int) -> dict[str, Any]:
        per_class, macro = self.per_class[place], self.macro[place]
        taken = int((~np.isnan(per_class)).all(axis=0).sum())
        columns = zip(self.names, per_class.T, strict=True)
        return {
            "metric": self.metric,
            "mean": _or_null(self.mean[place]),
            "sd": _or_null(self.sd[place]),
            "by_seed": {str(seed): _or_null(value) for seed, value in zip(self.seeds, macro, strict=True)},
            "per_class": {name: _or_null(_mean(values)) for name, values in columns},
            "classes_in_macro": taken,
            "not_taught": self.not_taught[self.subsets[place]],
            "undefined": self.undefined,
        }


@dataclass(frozen=True)
class ProbeResult:
    """Scores of S subsets and R seeds, and how they were made.

    Attributes
    ----------
    kind : str
        ``linear_probe`` or ``logistic_probe``.
    names : list of str, length K
    subsets, seeds : lists, lengths S and R
    scores, valid_scores : ndarray (S, R, m, K), (S, R, v, K)
        Logits on the test and the validation split. A class that the subset doesn't teach has them too.
    valid_macro : ndarray (S, R) float64
        Macro AUROC on validation of what was chosen, over the classes that are taught and defined there.
    curve : ndarray (S, R, choices) float64
        It for each epoch or each C.
    chosen : ndarray (S, R)
        The epoch, from 1, or C.
    n_positive : ndarray (S, R, K) int64
        Positives of each class in the subset.
    n_train : ndarray (S, R) int64
    recipe : dict
    rows_sha256 : dict of str to list of str
        Of each subset's row numbers, one a seed.
    valid_undefined : list of str
        Classes that take no part in the choice, as the validation split has one kind of record of them only.
    warnings : list of str
        What the user should know, such as a fit that has not converged.
    """

    kind: str
    names: list[str]
    subsets: list[str]
    seeds: list[int]
    scores: np.ndarray
    valid_scores: np.ndarray
    valid_macro: np.ndarray
    curve: np.ndarray
    chosen: np.ndarray
    n_positive: np.ndarray
    n_train: np.ndarray
    recipe: dict[str, Any]
    rows_sha256: dict[str, list[str]]
    valid_undefined: list[str]
    warnings: list[str] = field(default_factory=list)

    @property
    def taught(self) -> np.ndarray:
        """Which classes have both positive and negative records in the subset, (S, R, K) bool."""
        return (self.n_positive > 0) & (self.n_positive < self.n_train[..., None])

    @property
    def probabilities(self) -> np.ndarray:
        """Logistic function of `scores`, (S, R, m, K) float64."""
        from scipy.special import expit

        return expit(np.float64(self.scores))

    def figures(self, test_labels: np.ndarray, metric: str = "auroc") -> ProbeFigures:
        """Compare with the labels of the test split, (m, K) bool; `metric` is ``auroc`` or ``auprc``."""
        labels = np.asarray(test_labels, dtype=bool)
        per_class = np.array([[areas(labels, own, metric).per_class for own in of] for of in self.scores])
        undefined = np.isnan(per_class[0, 0])
        per_class[~self.taught] = np.nan
        return ProbeFigures(
            metric=metric,
            names=self.names,
            subsets=self.subsets,
            seeds=self.seeds,
            per_class=per_class,
            macro=np.stack([_macro(of) for of in per_class]),
            not_taught=self._not_taught(),
            undefined=[name for name, lacking in zip(self.names, undefined, strict=True) if lacking],
        )

    def description(self) -> dict[str, Any]:
        """Return all that is needed to repeat the probe, ready for JSON; the test split's figures are not in it."""
        return {
            "kind": self.kind,
            "recipe": self.recipe,
            "seeds": self.seeds,
            "subsets": {
                name: {
                    "n": self.n_train[place].tolist(),
                    "rows_sha256": self.rows_sha256[name],
                    "chosen": self.chosen[place].tolist(),
                    "valid_macro_auroc": self.valid_macro[place].tolist(),
                }
                for place, name in enumerate(self.subsets)
            },
            "valid_undefined": self.valid_undefined,
            "warnings": self.warnings,
        }

    def _not_taught(self) -> dict[str, dict[str, list[int]]]:
        return {
            subset: {self.names[k]: counts[:, k].tolist() for k in np.flatnonzero(~taught.all(axis=0))}
            for subset, counts, taught in zip(self.subsets, self.n_positive, self.taught, strict=True)
        }


def _macro(per_class: np.ndarray) -> np.ndarray:
    """Mean over those classes of (R, K) that no seed lacks, (R,); nan without one."""
    everywhere = per_class[:, ~np.isnan(per_class).any(axis=0)]
    return everywhere.mean(axis=1) if everywhere.size else np.full(len(per_class), np.nan)


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
