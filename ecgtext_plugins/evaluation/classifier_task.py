"""The task of a fine-tuned classifier: the probabilities of its own heads, as `ecgtext predict` gives them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ecgtext_plugins.criterions.classification_metrics import scored_class
from ecgtext_plugins.data.labels import numbered
from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.evaluation.benchmark import Benchmark
from ecgtext_plugins.evaluation.challenge_metric import AT_HALF, CHALLENGE, FIGURE, ChallengeMetric, challenge_figures
from ecgtext_plugins.evaluation.code_identity import code_sha256
from ecgtext_plugins.evaluation.evaluation_tasks import Encoder, Sampling, measure, validation_part
from ecgtext_plugins.evaluation.predict import AUTO, predict_entries, takes_highest
from ecgtext_plugins.evaluation.prepared_benchmark import Prepared
from ecgtext_plugins.evaluation.results import Scores, calibration_figures, f1_figures
from ecgtext_plugins.evaluation.thresholds import Thresholds
from ecgtext_plugins.evaluation.transfer import Groups, any_of
from ecgtext_plugins.evaluation.transfer_probe import source_benchmark
from ecgtext_plugins.store.manifest import Manifest

HALF = 0.5
PREDICTING = ("evaluation/predict.py",)
FIXED = "of each class a probability above 0.5"


def run_classifier_task(encoder: Encoder, prepared: Prepared, sampling: Sampling) -> tuple[dict[str, Any], Scores]:
    """Measure the probabilities of a classifier's heads: areas, calibration, decisions at two kinds of thresholds.

    Returns
    -------
    dict
        For results.json: ``figures`` (see `measure`; thresholds chosen on the validation split), ``at_0.5`` (see
        `half_figures`), ``calibration``, ``heads`` {class: the model's labels whose largest probability it takes},
        ``aggregate`` (how windows of a record were joined), ``highest_of_windows`` (labels that take the highest) and
        ``transfer``.
    Scores
        Probabilities of the benchmark's classes.

    Raises
    ------
    BadConfig
        See `heads_for`.
    BadStore, BadCheckpoint
        See `predict_entries`.
    """
    benchmark, labels = prepared.benchmark, list(encoder.model.labels)
    heads = heads_for(benchmark, labels)

    def of_classes(manifest: Manifest) -> np.ndarray:
        return any_of(label_probabilities(encoder, manifest), labels, heads)

    valid, transfer = validation_part(prepared), benchmark.transfer
    scores = Scores.of(prepared.test, prepared.labels, list(heads), of_classes(prepared.test), "classifier")
    on_valid = None if valid is None else (prepared.labels_of(valid), of_classes(valid))
    return {
        "figures": measure(scores, on_valid, sampling, prepared.challenge),
        AT_HALF: half_figures(scores, sampling, prepared.challenge),
        "calibration": calibration_figures(scores),
        "heads": {name: list(own) for name, own in heads.items()},
        "aggregate": AUTO,
        "highest_of_windows": np.array(labels)[takes_highest(labels)].tolist(),
        "transfer": transfer
        and {"source": transfer.source, "classes": {name: list(each) for name, each in transfer.classes.items()}},
    }, scores


def half_figures(scores: Scores, sampling: Sampling, challenge: ChallengeMetric | None) -> dict[str, Any]:
    """Measure decisions at a probability above 0.5, as training does: ``f1``, and with weights ``challenge_metric``."""
    above = math.nextafter(HALF, 1.0)  # `Thresholds` has the least score that is decided
    names, settings = scores.label_names, (sampling.resamples, sampling.seed)
    thresholds = Thresholds(dict.fromkeys(names, above), dict.fromkeys(names, math.nan), [])
    f1 = f1_figures(scores, thresholds, *settings)
    told: dict[str, Any] = {"f1": f1}
    for each in f1["per_class"].values():
        each["threshold"] = HALF
    if challenge is not None:
        told[FIGURE] = challenge_figures(scores, thresholds, challenge, *settings, FIXED)
    return told


def label_probabilities(encoder: Encoder, manifest: Manifest) -> np.ndarray:
    """Return the probabilities of the model's labels for a manifest's entries, (n, L) float32, from the cache if there.

    They are kept apart from embeddings, by the labels, how windows are joined, and the code that does it.
    """
    model = encoder.model
    output = {"output": "probabilities", "labels": list(model.labels), "aggregate": AUTO}
    output["predict_sha256"] = code_sha256(PREDICTING)
    origin = {key: value for key, value in encoder.origin.items() if key != "pooling"} | output

    def predicted(part: Manifest) -> np.ndarray:
        return predict_entries(model, part, encoder.batch_size, encoder.device, encoder.leads)

    return encoder.cache.of_entries(manifest, origin, predicted)


def has_heads(model: Any) -> bool:
    """Whether a model is a classifier with labels."""
    return getattr(model, "labels", None) is not None


def heads_for(benchmark: Benchmark, labels: Sequence[str]) -> Groups:
    """Find a classifier's label, or labels, for each class of a benchmark by name.

    A class has the heads of all of its codes, or one of its own name. A head of a code is called as a store of the
    benchmark calls it (``super/NORM``), by the code alone, or among the Challenge's classes by SNOMED CT code. Of a
    transfer, a category has the heads of its source's classes.

    Returns
    -------
    dict of str to tuple of str
        The benchmark's classes, or a transfer's categories, to labels.

    Raises
    ------
    BadConfig
        When a class has no head, or a code has two; names them.
    """
    transfer = benchmark.transfer
    taught = benchmark if transfer is None else source_benchmark(benchmark)
    found = {name: _heads_of_class(taught, name, labels) for name in taught.classes}
    lacking = [name for name, own in found.items() if not own]
    if lacking:
        whose = "" if transfer is None else f" of its source {taught.name}"
        unnamed = list(labels) == numbered(len(labels))
        remedy = "name the outputs with --labels" if unnamed else "fine-tune on these classes, or leave the task out"
        raise BadConfig(
            f"benchmark {benchmark.name}: the classifier has no head for {len(lacking)} of {len(found)} classes{whose} "
            f"({', '.join(lacking)}): expected one for each, named as the class or its code; its labels are "
            f"{', '.join(labels)}; {remedy}"
        )
    if transfer is None:
        return found
    of_category = transfer.classes.items()
    return {name: tuple(dict.fromkeys(h for member in members for h in found[member])) for name, members in of_category}


def _heads_of_class(benchmark: Benchmark, name: str, labels: Sequence[str]) -> tuple[str, ...]:
    codes = benchmark.classes[name]
    heads = [_head_of_code(benchmark, code, labels) for code in codes]
    if all(heads):
        return tuple(dict.fromkeys(heads))
    own = _head_of_code(benchmark, name, labels) if name not in codes else ""
    return (own,) if own else ()


def _head_of_code(benchmark: Benchmark, code: str, labels: Sequence[str]) -> str:
    """Return the label that stands for a code; empty when there is none."""
    for spelled in (*(source.label(code) for source in benchmark.sources), code):
        if spelled in labels:
            return spelled
    if benchmark.vocabulary != CHALLENGE:
        return ""
    same = [label for label in labels if scored_class(label) == scored_class(code)]
    if len(same) > 1:
        raise BadConfig(
            f"benchmark {benchmark.name}: the classifier's labels {' and '.join(same)} both mean {code}: expected one; "
            f"call one of them {code} with --labels"
        )
    return same[0] if same else ""
