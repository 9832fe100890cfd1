"""Read results.json, scores and embeddings of a run: with `listings` all of the report that knows their keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ecgtext_plugins.errors import BadRawData
from ecgtext_plugins.evaluation.calibration import Reliability, reliability
from ecgtext_plugins.evaluation.challenge_metric import AT_HALF
from ecgtext_plugins.evaluation.results import RESULTS, Scores, read_results, read_scores
from ecgtext_plugins.evaluation.tables import NAMES
from ecgtext_plugins.evaluation.thresholds import OperatingPoint
from ecgtext_plugins.plotting.report.contents import METRICS, Evaluation, Figures, Line, Run, anchor
from ecgtext_plugins.plotting.report.listings import as_interval, probe_rows, task_listings

PROTOCOLS = {
    "zero_shot": "zero-shot",
    "probe": "linear probe",
    "classifier": "classifier",
    "linear_probe": "linear probe",
    "fine_tuning": "fine-tuning",
    "retrieval": "retrieval",
    "identification": "identification",
}
CACHE = "embeddings"  # where a run keeps them unless it was told otherwise
_OF_TRAIN = "\u00a0%\u00a0of\u00a0train"
_SHARES = {"linear_probe": f"{{}}{_OF_TRAIN}", "fine_tuning": "{}\u00a0leads"}
_BENCHMARK = (
    *("version", "definition_sha256", "recipe", "label_set", "split", "window", "metric", "store"),
    "store_fingerprint",
)
_RECIPE = ("kind", "recipe", "seeds")
_TASK = (
    *("prompts_sha256", "prompt_set", "templates", "similarity", "center_prompts", "transfer"),
    *("heads", "aggregate", "highest_of_windows"),
)


def read_evaluation(folder: str | Path) -> Evaluation:
    """Read the folder that ``ecgtext eval run`` wrote.

    Raises
    ------
    BadRawData
        When a file is missing, is another file, or lacks a key; see `read_results`, `read_scores`.
    """
    folder = Path(folder)
    results = read_results(folder)
    try:
        entries: dict[str, Any] = results["benchmarks"]
        runs = [
            _run(folder, name, entry, task, told) for name, entry in entries.items() for task, told in _tasks(entry)
        ]
        lines = [line for name, entry in entries.items() for line in _lines(name, entry)]
        title = f"{results['checkpoint']['family']} {Path(results['checkpoint']['path']).name}"
        return Evaluation(title, _subtitle(results), lines, runs, _provenance(results))
    except (KeyError, TypeError, AttributeError) as error:
        raise BadRawData(
            f"{folder / RESULTS} cannot be shown ({error!r}): expected the results of `ecgtext eval run`; run it again"
        ) from error


def _run(folder: Path, name: str, entry: dict[str, Any], task: str, told: dict[str, Any]) -> Run:
    scores = read_scores(folder / told["scores"]) if "scores" in told else None
    if scores is not None and len(scores.labels) != entry["n"]:
        raise BadRawData(
            f"{folder / told['scores']} has {len(scores.labels)} records, {RESULTS} says {entry['n']}: expected those "
            "of one run; run it again"
        )
    figures = _figures(told.get("figures", {}))
    return Run(
        benchmark=name,
        protocol=PROTOCOLS.get(task, task),
        names=scores.label_names if scores else [],
        figures=figures,
        undefined=list(told.get("figures", {}).get("auroc", {}).get("undefined", [])),
        positives=dict(entry["positives"]),
        n=entry["n"],
        n_patients=entry["n_patients"],
        record_ids=scores.record_ids if scores else np.empty(0, dtype=str),
        starts=scores.starts if scores else np.empty(0, dtype=np.int64),
        patients=scores.patients if scores else np.empty(0, dtype=np.int64),
        labels=scores.labels if scores else np.empty((0, 0), dtype=bool),
        scores=scores.scores if scores else np.empty((0, 0), dtype=np.float32),
        embeddings=_embeddings(folder, entry) if scores and task == _first_scored(entry) else None,
        store=Path(entry["store"]),
        store_fingerprint=entry["store_fingerprint"],
        description=entry["description"],
        listings=task_listings(task, told),
        warnings=_warnings(entry),
        notes=[*entry["notes"], *told.get("notes", []), *_undecided(told)],
        ece={each: own["ece"] for each, own in told.get("calibration", {}).get("per_class", {}).items()},
        reliability=_reliability(task, scores),
        readers=_readers(entry),
        provenance=[(key, entry[key]) for key in _BENCHMARK if entry.get(key) is not None]
        + [(key, told[key]) for key in _TASK if told.get(key) is not None]
        + _probe_recipes(told),
    )


def _tasks(entry: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return a benchmark's tasks in the order of PROTOCOLS: JSON has them by name."""
    order = list(PROTOCOLS)
    return sorted(entry["tasks"].items(), key=lambda pair: order.index(pair[0]) if pair[0] in order else len(order))


def _figures(told: Mapping[str, Any]) -> dict[str, Figures]:
    figures = {}
    for kind in (kind for kind in METRICS if kind in told):
        own = told[kind]
        classes = own.get("per_class", {})
        figures[kind] = Figures(
            macro=own["macro"] if "macro" in own else own["value"],
            interval=as_interval(own.get("interval")),
            values={name: each["value"] for name, each in classes.items()},
            intervals={name: as_interval(each.get("interval")) for name, each in classes.items()},
            thresholds={name: each["threshold"] for name, each in classes.items() if "threshold" in each},
        )
    return figures


def _lines(name: str, entry: dict[str, Any]) -> list[Line]:
    """Return the rows of the summary for one benchmark: ours, then those of papers."""
    lines = []
    for task, told in _tasks(entry):
        protocol = PROTOCOLS.get(task, task)
        common = {"n": entry["n"], "n_patients": entry["n_patients"], "section": anchor(name, protocol)}
        if "figures" in told and "rows" not in told:
            figures = _figures(told["figures"])
            values = {kind: (each.macro, each.interval) for kind, each in figures.items()}
            undefined = (len(told["figures"]["auroc"]["undefined"]), len(entry["classes"]))
            lines.append(Line(name, "this run", protocol, values, undefined=undefined, **common))
        if AT_HALF in told:
            values = {kind: (each.macro, each.interval) for kind, each in _figures(told[AT_HALF]).items()}
            lines.append(Line(name, "this run", f"{protocol} at 0.5", values, **common))
        for row, by_share in probe_rows(told):
            lines += [_probe_line(name, row, share, found, told, common) for share, found in by_share.items()]
        if "accuracy" in told:
            values = {"accuracy": (told["accuracy"], as_interval(told["interval"]))}
            lines.append(Line(name, "this run", protocol, values, **common))
    metric = "challenge_metric" if entry["metric"] == "cinc_score" else entry["metric"]
    for model, kinds in entry["published"].items():
        for kind, values in kinds.items():
            of_kind = metric if kind == "fine_tuning" else "auroc"  # benchmarks measure zero-shot and probes by it
            for share, value in values.items() if isinstance(values, dict) else [(None, values)]:
                protocol = PROTOCOLS[kind] + ("" if share is None else f", {_SHARES[kind].format(share)}")
                figure = {of_kind: (value / 100, None)}
                lines.append(Line(name, f"{model} (published)", protocol, figure, published=True))
    return lines


def _probe_line(name: str, row: str, share: str, found: dict[str, Any], told: dict[str, Any], common: Any) -> Line:
    """Return the mean over seeds; with it goes the interval of the first."""
    figures = _figures(told["figures"]) if (row, share) == ("model", "100") else {}
    values = {kind: (each.macro, each.interval) for kind, each in figures.items()}
    values["auroc"] = (found["mean"], as_interval(found["interval"]))
    n_classes = len(found["per_class"])
    undefined = n_classes - found["classes_in_macro"], n_classes
    source = "this run" if row.startswith("model") else f"control, {NAMES.get(row, row).removeprefix('probe, ')}"
    protocol = NAMES.get(row, row) if row.startswith("model") else NAMES["model"]
    return Line(name, source, f"{protocol}, {share}{_OF_TRAIN}", values, undefined=undefined, **common)


def _probe_recipes(told: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return how the heads were trained; which rows of train each had is in results.json."""
    return [
        (f"{name}: {key}", own[key]) for name, own in told.get("probes", {}).items() for key in _RECIPE if key in own
    ]


def _warnings(entry: dict[str, Any]) -> list[str]:
    leaked, warnings = entry["leaked"], []
    if leaked:
        named = ", ".join(leaked[:5]) + (" ..." if len(leaked) > 5 else "")
        warnings.append(f"The model was trained on {len(leaked)} of the records that are scored: {named}")
    return warnings + [f"{PROTOCOLS.get(task, task)} was skipped: {why}" for task, why in entry["skipped"].items()]


def _undecided(told: dict[str, Any]) -> list[str]:
    undecided = told.get("figures", {}).get("challenge_metric", {}).get("undecided", [])
    return [f"the Challenge metric gives no record {', '.join(undecided)}: no threshold could be chosen"] * bool(
        undecided
    )


def _reliability(task: str, scores: Scores | None) -> Reliability | None:
    """Bin all (record, class) pairs; None where scores are similarities or logits."""
    if scores is None or task == "zero_shot" or not scores.scores.size:
        return None
    if scores.scores.min() < 0 or scores.scores.max() > 1:
        return None
    return reliability(scores.labels.ravel(), scores.scores.ravel())


def _readers(entry: dict[str, Any]) -> dict[str, dict[str, OperatingPoint]]:
    return {
        reader: {name: OperatingPoint(**point) for name, point in points.items()}
        for reader, points in entry.get("readers", {}).items()
    }


def _first_scored(entry: dict[str, Any]) -> str:
    """Return the task whose section shows the map: one is enough."""
    return next(task for task, told in _tasks(entry) if "scores" in told)


def _embeddings(folder: Path, entry: dict[str, Any]) -> np.ndarray | None:
    """Read the embeddings that results.json names, (n, D); None when they have been deleted since."""
    if not entry.get("embeddings"):
        return None
    place = Path(entry["embeddings"])
    place = place if place.is_dir() else folder / CACHE / place.name  # the folder may have been moved
    parts = [np.load(path, allow_pickle=False) for path in sorted(place.glob("part-*.npy"))]
    return np.concatenate(parts) if parts and sum(len(part) for part in parts) == entry["n"] else None


def _subtitle(results: dict[str, Any]) -> str:
    names = list(results["benchmarks"])
    tasks = {PROTOCOLS.get(task, task): None for entry in results["benchmarks"].values() for task, _ in _tasks(entry)}
    return f"{', '.join(tasks)} on {', '.join(names)}; checkpoint {str(results['checkpoint']['sha256'])[:12]}"


def _provenance(results: dict[str, Any]) -> list[tuple[str, Any]]:
    checkpoint, config = results["checkpoint"], results.get("config", {})
    facts = [("command", results["command"])] if "command" in results else []
    facts += [(f"checkpoint {key}", value) for key, value in checkpoint.items() if value is not None]
    facts += [(key, value) for key, value in config.items() if value is not None]
    facts += [(f"version of {name}", version) for name, version in results["versions"].items()]
    known = {"format", "benchmarks", "checkpoint", "config", "versions", "command", "seconds"}
    return facts + [(key, value) for key, value in results.items() if key not in known]
