"""Regularised logistic regression on embeddings, one class against the rest; its C chosen on validation."""

import dataclasses
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_limits

from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.evaluation.probe import ProbeData, probe_data, standardized
from ecgtext_plugins.evaluation.probe_result import ProbeResult
from ecgtext_plugins.evaluation.probe_subsets import Rows
from ecgtext_plugins.evaluation.probe_training import rank_areas

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LogisticRecipe:
    """How the logistic regressions are fitted (scikit-learn's LogisticRegression, lbfgs, L2)."""

    strengths: tuple[float, ...] = field(
        default=(1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
        metadata={"help": "values of C to choose among, one for all classes; of equal ones the smallest"},
    )
    max_iter: int = field(default=1000, metadata={"help": "iterations of lbfgs; more are needed for a warning"})
    standardize: bool = field(
        default=True,
        metadata={"help": "shift and scale by mean and deviation of all train embeddings, whatever the subset"},
    )


@dataclass(frozen=True)
class _Fit:
    """Logits (v, K) and (m, K) of the best C, and the macro AUROC of every C."""

    valid: np.ndarray
    test: np.ndarray
    curve: np.ndarray
    strength: float


def logistic_probe(
    train: np.ndarray,
    train_labels: np.ndarray,
    valid: np.ndarray,
    valid_labels: np.ndarray,
    test: np.ndarray,
    *,
    subsets: Mapping[str, Rows],
    recipe: LogisticRecipe | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    names: Sequence[str] | None = None,
) -> ProbeResult:
    """Fit a logistic regression for each subset and class and score the test split.

    Nothing is random: a subset that is the same for all seeds is fitted once. A class that a subset doesn't teach has
    the logit 0.

    Parameters
    ----------
    train, train_labels, valid, valid_labels, test, subsets, seeds, names
        As in `linear_probe`.

    Raises
    ------
    BadConfig, BadManifest, ValueError
        As `linear_probe`.
    """
    recipe = LogisticRecipe() if recipe is None else recipe
    if not recipe.strengths or min(recipe.strengths) <= 0 or recipe.max_iter < 1:
        raise BadConfig(f"{recipe}: expected values of C above 0, at least one, and iterations; correct them")
    data = probe_data(train, train_labels, valid, valid_labels, test, subsets, seeds, names)
    told: list[str] = []
    with threadpool_limits(1, user_api="blas"):  # on a busy machine lbfgs waits for threads longer than it computes
        fits = _fit_all(data, recipe, told)
    for message in told:
        log.warning("%s", message)
    curve = np.array([[fit.curve for fit in of] for of in fits])
    return ProbeResult(
        kind="logistic_probe",
        names=data.names,
        subsets=list(data.subsets),
        seeds=data.seeds,
        scores=np.array([[fit.test for fit in of] for of in fits]),
        valid_scores=np.array([[fit.valid for fit in of] for of in fits]),
        valid_macro=curve.max(axis=2),
        curve=curve,
        chosen=np.array([[fit.strength for fit in of] for of in fits]),
        n_positive=data.n_positive(),
        n_train=data.n_train(),
        recipe=dataclasses.asdict(recipe),
        rows_sha256=data.digests(),
        valid_undefined=data.valid_undefined(),
        warnings=told,
    )


def _fit_all(data: ProbeData, recipe: LogisticRecipe, told: list[str]) -> list[list[_Fit]]:
    """Fit each different draw of each subset once."""
    parts = (data.train, data.valid, data.test)
    parts = standardized(*parts) if recipe.standardize else [np.float64(part) for part in parts]
    judged, digests, made = data.judged(), data.digests(), {}
    for s, name in enumerate(data.subsets):
        for r, digest in enumerate(digests[name]):
            if (name, digest) not in made:
                made[name, digest] = _fit(data, parts, data.rows(name, r), judged[s, r], recipe, name, told)
    return [[made[name, digest] for digest in digests[name]] for name in data.subsets]


def _fit(
    data: ProbeData,
    parts: list[np.ndarray],
    rows: np.ndarray,
    judged: np.ndarray,
    recipe: LogisticRecipe,
    name: str,
    told: list[str],
) -> _Fit:
    strengths = sorted(set(recipe.strengths))
    parts = [parts[0][rows], *parts[1:]]
    logits = [_logits(data, parts, rows, strength, recipe.max_iter, name, told) for strength in strengths]
    labels = data.valid_labels[:, judged]
    curve = np.array([rank_areas(valid.T[None, judged], labels).mean() for valid, _ in logits])
    best = int(curve.argmax())
    if len(strengths) > 1 and best in (0, len(strengths) - 1):
        told.append(
            f"logistic probe on {name}: the best C is {strengths[best]:g}, at the end of {strengths[0]:g} .. "
            f"{strengths[-1]:g}; a wider range may be better"
        )
    return _Fit(*logits[best], curve, strengths[best])


def _logits(
    data: ProbeData,
    parts: list[np.ndarray],
    rows: np.ndarray,
    strength: float,
    max_iter: int,
    name: str,
    told: list[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Fit every class with one C; return the logits on validation and test, 0 where the subset has one kind only."""
    from sklearn.linear_model import LogisticRegression

    subset, valid, test = parts
    scores = np.zeros((len(valid), len(data.names))), np.zeros((len(test), len(data.names)))
    for k, class_name in enumerate(data.names):
        labels = data.train_labels[rows, k]
        if labels.all() or not labels.any():
            continue
        model = LogisticRegression(C=strength, max_iter=max_iter)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(subset, labels)
        told += [f"logistic probe on {name}, class {class_name}, C={strength:g}: {_first(w)}" for w in caught]
        for out, inputs in zip(scores, (valid, test), strict=True):
            out[:, k] = model.decision_function(inputs)
    return scores


def _first(warning: warnings.WarningMessage) -> str:
    return str(warning.message).strip().splitlines()[0]
