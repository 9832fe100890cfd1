"""The metric of the PhysioNet/CinC Challenge 2021 (Reyna et al. 2021) in an evaluation, with an interval over patients.

It judges decisions, so it needs a threshold a class: that of the highest F1 on the validation split; of a classifier,
whose scores are probabilities, also 0.5. Its weights are the Challenge's own file, which is not shipped.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecgtext_plugins.atomic_files import file_sha256
from ecgtext_plugins.criterions.classification_metrics import ChallengeWeights, load_challenge_weights
from ecgtext_plugins.evaluation.benchmark import Benchmark
from ecgtext_plugins.evaluation.intervals import bootstrap_ratios
from ecgtext_plugins.evaluation.results import Scores, or_none, pair
from ecgtext_plugins.evaluation.thresholds import Thresholds
from ecgtext_plugins.evaluation.validate_benchmark import Finding

CHALLENGE = "challenge2021"  # the vocabulary of its classes
FIGURE = "challenge_metric"
AT_HALF = "at_0.5"  # in results.json: decisions of a classifier at a probability of 0.5
OPTION = "--weights-file"
WEIGHTS = "the Challenge's weights.csv (https://github.com/physionetchallenges/evaluation-2021), which is not shipped"
THRESHOLDS = "of each class that of the highest F1 on the validation split"


@dataclass(frozen=True)
class ChallengeMetric:
    """Weights for a benchmark's classes, and the SHA-256 of their file."""

    weights: ChallengeWeights
    sha256: str


def has_challenge_metric(benchmark: Benchmark) -> bool:
    """Whether a benchmark's classes are those of the Challenge."""
    ours = benchmark.metric == "cinc_score" or benchmark.vocabulary == CHALLENGE
    return benchmark.task == "classification" and ours


def load_challenge_metric(benchmark: Benchmark, weights_file: str | Path | None) -> ChallengeMetric | None:
    """Read the weights for a benchmark: `weights_file`, or else that of its recipe; None without either.

    Raises
    ------
    BadConfig
        See `load_challenge_weights`.
    """
    path = benchmark.weights_file if weights_file is None else weights_file
    if path is None or not has_challenge_metric(benchmark):
        return None
    key = OPTION if weights_file is not None else f"benchmark {benchmark.name}: weights_file"
    weights = load_challenge_weights(path, list(benchmark.classes), key)
    return ChallengeMetric(weights, file_sha256(Path(path)))


def challenge_figures(
    scores: Scores,
    thresholds: Thresholds,
    metric: ChallengeMetric,
    resamples: int,
    seed: int,
    chosen: str = THRESHOLDS,
) -> dict[str, Any]:
    """Measure decisions at thresholds, ready for JSON; `chosen` says how these were chosen.

    Returns
    -------
    dict
        ``value``; ``interval`` by resampling patients, None for one patient; ``thresholds``, how they were chosen;
        ``undecided``, the classes without one, which no record gets; ``weights_sha256``.
    """
    decisions, interval = thresholds.decide(scores.scores), (np.nan, np.nan)
    if len(np.unique(scores.patients)) > 1:
        parts, wholes = normalised_rewards(scores.labels, decisions, metric.weights)
        sums = parts[:, None], wholes[:, None]
        interval = bootstrap_ratios(*sums, scores.patients, resamples, seed, [FIGURE]).per_class[FIGURE]
    return {
        "value": or_none(metric.weights.score(scores.labels, decisions)),
        "interval": pair(interval),
        "thresholds": chosen,
        "undecided": thresholds.undefined,
        "weights_sha256": metric.sha256,
    }


def normalised_rewards(
    labels: np.ndarray, decisions: np.ndarray, weights: ChallengeWeights
) -> tuple[np.ndarray, np.ndarray]:
    """What each record adds to the metric's numerator and denominator; the metric is the ratio of their sums.

    Parameters
    ----------
    labels, decisions : ndarray (n, K) bool
        Of the benchmark's classes.

    Returns
    -------
    parts : ndarray (n,) float64
        Reward of the decisions minus that of "normal" everywhere.
    wholes : ndarray (n,) float64
        Reward of the labels as decisions minus that of "normal" everywhere.
    """
    labels, decisions = labels[:, weights.columns], decisions[:, weights.columns]
    inactive = np.zeros(labels.shape, dtype=bool)
    inactive[:, weights.normal] = True
    got, right, nothing = (_rewards(labels, each, weights.matrix) for each in (decisions, labels, inactive))
    return got - nothing, right - nothing


def _rewards(labels: np.ndarray, decisions: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    classes = np.maximum((labels | decisions).sum(axis=1), 1)
    return ((labels @ matrix) * decisions).sum(axis=1) / classes


def with_challenge_notes(entry: dict[str, Any], benchmark: Benchmark, metric: ChallengeMetric | None) -> dict[str, Any]:
    """Add to a benchmark's entry in the results why it lacks the Challenge metric, if it does."""
    told = entry["tasks"]
    lacking = [task for task, of_task in told.items() if "figures" in of_task and not _has_figure(of_task)]
    if not has_challenge_metric(benchmark) or not lacking:
        return entry
    tasks = " and ".join(task.replace("_", "-") for task in lacking)
    note = f"the Challenge metric was not computed for {tasks}: "
    if metric is None:
        note += f"it needs {WEIGHTS}; give it by {OPTION} weights.csv, or as weights_file in the benchmark's recipe"
    else:
        note += "its thresholds are chosen on a validation split that is not tested; build a store that has one"
    return entry | {"notes": [*entry["notes"], note]}


def _has_figure(of_task: dict[str, Any]) -> bool:
    return FIGURE in of_task["figures"] or FIGURE in of_task.get(AT_HALF, {})


def weights_findings(benchmark: Benchmark) -> list[Finding]:
    """Say before a run what the Challenge metric needs; empty where it does not apply or the weights are good.

    Raises
    ------
    BadConfig
        When the recipe's weights cannot be read or lack a class.
    """
    if not has_challenge_metric(benchmark) or load_challenge_metric(benchmark, None) is not None:
        return []
    message = f"the Challenge metric needs {WEIGHTS}; give it to `ecgtext eval run` by {OPTION}"
    return [Finding("metric", message, is_error=False)]
