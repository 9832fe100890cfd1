"""What a run of benchmarks leaves behind: results.json, a scores.npz for each task, and the figures in them."""

import contextlib
import importlib.metadata
import json
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import ecgtext_plugins
from ecgtext_plugins.atomic_files import replacing, write_json
from ecgtext_plugins.criterions.classification_metrics import KINDS
from ecgtext_plugins.errors import BadRawData
from ecgtext_plugins.evaluation.calibration import calibration_by_class
from ecgtext_plugins.evaluation.intervals import bootstrap
from ecgtext_plugins.evaluation.metrics import areas_by_class
from ecgtext_plugins.evaluation.thresholds import Thresholds, f1_at_thresholds, f1_intervals
from ecgtext_plugins.store.manifest import Manifest

FORMAT = 1
RESULTS = "results.json"
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pyarrow", "transformers", "matplotlib", "neurokit2")


@dataclass(frozen=True)
class Scores:
    """Scores of a benchmark's records, with what they are compared with.

    Attributes
    ----------
    record_ids : ndarray (n,) of str
    starts : ndarray (n,) int64
        First sample: a record may have several windows.
    patients : ndarray (n,) int64
        Codes: equal ones are one patient.
    labels : ndarray (n, K) bool
    label_names : list of K str
    scores : ndarray (n, K) float
        Larger means likelier; of a probe and a classifier probabilities.
    task : str
        ``zero_shot``, ``probe`` or ``classifier``.
    """

    record_ids: np.ndarray
    starts: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    label_names: list[str]
    scores: np.ndarray
    task: str

    @classmethod
    def of(cls, manifest: Manifest, labels: np.ndarray, names: Sequence[str], scores: np.ndarray, task: str):
        """Put a manifest's records beside their labels and scores, both (n, K)."""
        ids = np.array(manifest.record_ids, dtype=str)
        return cls(ids, manifest.starts, patient_codes(manifest), labels, list(names), np.asarray(scores), task)


def patient_codes(manifest: Manifest) -> np.ndarray:
    """Return a number for each entry's patient, (n,) int64."""
    patients = manifest.store.text_column("patient_id").take(pa.array(manifest.rows))
    return np.unique(patients.to_numpy(zero_copy_only=False).astype(str), return_inverse=True)[1].astype(np.int64)


def write_scores(path: str | Path, scores: Scores) -> None:
    """Write a scores.npz whole or not at all; the same scores give the same bytes."""
    arrays = {
        "record_id": scores.record_ids,
        "start": scores.starts,
        "patient": scores.patients,
        "labels": scores.labels,
        "label_names": np.array(scores.label_names, dtype=str),
        "scores": scores.scores,
        "task": np.array(scores.task),
    }
    with replacing(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, **arrays)


def read_scores(path: str | Path) -> Scores:
    """Read a scores.npz.

    Raises
    ------
    BadRawData
        When it cannot be read, or is another file.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            return Scores(
                *(found[name] for name in ("record_id", "start", "patient", "labels")),
                found["label_names"].tolist(),
                found["scores"],
                str(found["task"]),
            )
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise BadRawData(
            f"{path} cannot be read ({error}): expected the scores that `ecgtext eval run` wrote; run it again"
        ) from error


def write_results(folder: str | Path, results: dict[str, Any]) -> None:
    """Write results.json into the run's folder."""
    write_json(Path(folder) / RESULTS, results)


def read_results(folder: str | Path) -> dict[str, Any]:
    """Read results.json of a run's folder.

    Raises
    ------
    BadRawData
        When there is none, or another version wrote it.
    """
    path = Path(folder) / RESULTS
    try:
        results = json.loads(path.read_text("utf-8"))
        form = results["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRawData(
            f"{path} cannot be read ({error}): expected the results of `ecgtext eval run`; run it with --out {folder}"
        ) from error
    if form != FORMAT:
        raise BadRawData(f"{path} has format {form}: expected {FORMAT}; run it again with this version")
    return results


def figures(scores: Scores, resamples: int, seed: int = 0) -> dict[str, Any]:
    """Measure scores: areas under both curves with 95 % intervals by resampling patients, ready for JSON.

    Returns
    -------
    dict
        ``auroc`` and ``auprc``, each with ``macro`` over the defined classes, its ``interval``, ``micro``,
        ``per_class`` {class: {value, interval, positives}} and ``undefined``, the classes that are left out. What is
        not defined is None.
    """
    told = {}
    for kind in KINDS:
        found = areas_by_class(scores.labels, scores.scores, scores.label_names, kind, scores.record_ids)
        macro, per_class = _intervals(scores, resamples, seed, kind)
        told[kind] = {
            "macro": or_none(found.macro),
            "interval": pair(macro),
            "micro": or_none(found.micro),
            "per_class": {
                name: {
                    "value": or_none(value),
                    "interval": pair(per_class[name]),
                    "positives": found.n_positive[name],
                }
                for name, value in found.per_class.items()
            },
            "undefined": found.undefined,
        }
    return told


def f1_figures(scores: Scores, thresholds: Thresholds, resamples: int, seed: int = 0) -> dict[str, Any]:
    """Measure decisions at thresholds by F1 with 95 % intervals by resampling patients, ready for JSON.

    Returns
    -------
    dict
        ``macro``, ``macro_undefined_as_zero`` as the PhysioNet Challenge counts, ``micro``, ``interval`` of macro,
        ``per_class`` {class: {value, interval, threshold}} and ``undefined``.
    """
    names = scores.label_names
    found = f1_at_thresholds(scores.labels, scores.scores, names, thresholds)
    macro, per_class = (math.nan, math.nan), dict.fromkeys(names, (math.nan, math.nan))
    if len(np.unique(scores.patients)) > 1:
        settings = (thresholds, scores.patients, resamples, seed)
        intervals = f1_intervals(scores.labels, scores.scores, names, *settings)
        macro, per_class = intervals.macro, intervals.per_class
    return {
        "macro": or_none(found.macro),
        "macro_undefined_as_zero": or_none(found.macro_undefined_as_zero),
        "micro": or_none(found.micro),
        "interval": pair(macro),
        "per_class": {
            name: {
                "value": or_none(found.per_class[name]),
                "interval": pair(per_class[name]),
                "threshold": or_none(thresholds.per_class[name]),
            }
            for name in names
        },
        "undefined": found.undefined,
    }


def calibration_figures(scores: Scores) -> dict[str, Any]:
    """Tell the calibration of scores that are probabilities, ready for JSON; see `calibration_by_class`."""
    found = calibration_by_class(scores.labels, scores.scores, scores.label_names, records=scores.record_ids)
    return {
        "macro_ece": found.macro_ece,
        "binning": found.binning,
        "per_class": {
            name: {
                "ece": each.ece,
                "confidence": [or_none(value) for value in each.confidence],
                "frequency": [or_none(value) for value in each.frequency],
                "count": each.count.tolist(),
            }
            for name, each in found.per_class.items()
        },
    }


def _intervals(scores: Scores, resamples: int, seed: int, kind: str) -> tuple[Sequence[float], dict]:
    """Return the intervals of the macro mean and of the classes; nan for one patient, whose spread is not known."""
    if len(np.unique(scores.patients)) < 2:
        nothing = (math.nan, math.nan)
        return nothing, dict.fromkeys(scores.label_names, nothing)
    found = bootstrap(scores.labels, scores.scores, scores.patients, resamples, seed, kind, scores.label_names)
    return found.macro, found.per_class


def or_none(value: float) -> float | None:
    """Return a number for JSON: None for nan."""
    return None if math.isnan(value) else float(value)


def pair(values: Sequence[float]) -> list[float | None]:
    """Return two numbers for JSON."""
    return [or_none(value) for value in values]


def versions() -> dict[str, str]:
    """Return the versions of what the figures depend on, of packages that are installed."""
    found = {"ecgtext_plugins": ecgtext_plugins.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # some are extras
            found[name] = importlib.metadata.version(name)
    return found


def environment() -> dict[str, Any]:
    """Return on what the figures were computed: their last digits depend on it."""
    import torch

    return {"platform": platform.platform(), "machine": platform.machine(), "threads": torch.get_num_threads()}
