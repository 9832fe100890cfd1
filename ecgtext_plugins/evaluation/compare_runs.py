"""Runs of several models side by side: differences of macro figures, with paired intervals on the same resamples."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ecgtext_plugins.criterions.classification_metrics import KINDS, areas
from ecgtext_plugins.errors import BadConfig, BadRawData
from ecgtext_plugins.evaluation.intervals import paired_bootstrap
from ecgtext_plugins.evaluation.output_folder import OF_NO_MATTER
from ecgtext_plugins.evaluation.results import Scores, or_none, pair, read_results, read_scores
from ecgtext_plugins.evaluation.tables import in_columns, interval, markdown_table, percent

COLUMNS = ("benchmark", "task", "figure x 100", "run", "value", "minus the first", "95 % interval", "p")


def compare_runs(folders: Sequence[str | Path], resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Compare the scores of several runs with those of the first, on every benchmark and task that all of them have.

    Returns
    -------
    dict
        Ready for JSON: ``runs`` (folder, checkpoint and digest of each), ``comparisons`` (a dictionary for each
        benchmark, task and metric: ``values`` of each run, ``differences`` of the later runs to the first with
        ``interval``, ``p_value`` and ``per_class``), ``left_out`` (what not all of them have), ``not_scored`` (tasks
        without scores of records, which cannot be paired), ``notes`` (records that a model was trained on, and what
        differs between the runs besides the model), ``resamples``, ``seed``.

    Raises
    ------
    BadConfig
        For fewer than two runs, or nothing in common.
    BadRawData
        When a run cannot be read, or two runs are of other classes, records, labels or versions of a benchmark, naming
        the first.
    """
    folders = [Path(folder) for folder in folders]
    if len(folders) < 2:
        raise BadConfig(f"{len(folders)} runs to compare: expected at least two folders of `ecgtext eval run`")
    places = [folder.resolve() for folder in folders]
    twice = [folder for folder, place in zip(folders, places, strict=True) if places.count(place) > 1]
    if twice:
        raise BadConfig(f"run {twice[0]} is given twice: expected different runs; give each once")
    runs = [read_results(folder) for folder in folders]
    scored = [_scored(run) for run in runs]
    common = [key for key in scored[0] if all(key in other for other in scored)]
    left_out = sorted({key for one in scored for key in one} - set(common))
    if not common:
        raise BadConfig(
            f"the runs {', '.join(map(str, folders))} have no task of a benchmark in common: expected the same "
            "benchmarks; run them on those"
        )
    comparisons = []
    _refuse_other_versions(folders, runs, {name for name, _ in common})
    for name, task in common:
        first, *others = [read_scores(folder / one[name, task]) for folder, one in zip(folders, scored, strict=True)]
        where = f"{name}, {task}"
        aligned = [
            _aligned(first, other, f"{where}: {folders[0]} and {folder}")
            for other, folder in zip(others, folders[1:], strict=True)
        ]
        comparisons += [_comparison(name, task, kind, first, aligned, resamples, seed) for kind in KINDS]
    return {
        "runs": [
            {"folder": str(folder), "checkpoint": run["checkpoint"]["path"], "sha256": run["checkpoint"]["sha256"]}
            for folder, run in zip(folders, runs, strict=True)
        ],
        "comparisons": comparisons,
        "left_out": [f"{name}, {task}" for name, task in left_out],
        "not_scored": _not_scored(runs),
        "notes": _notes(folders, runs, sorted({name for name, _ in common})),
        "resamples": resamples,
        "seed": seed,
    }


def _refuse_other_versions(folders: Sequence[Path], runs: Sequence[dict[str, Any]], names: set[str]) -> None:
    for name in sorted(names):
        versions = [run["benchmarks"][name]["version"] for run in runs]
        odd = next((place for place, version in enumerate(versions) if version != versions[0]), None)
        if odd is not None:
            raise BadRawData(
                f"{name}: {folders[0]} has version {versions[0]} and {folders[odd]} version {versions[odd]} of the "
                "benchmark: expected the same; run one of them again"
            )


def _notes(folders: Sequence[Path], runs: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    """Say which figures are of records that the model had seen, and what is not the same in all runs."""
    told = [
        f"LEAK: the model of {folder} was trained on {len(leaked)} of the records of {name}"
        for folder, run in zip(folders, runs, strict=True)
        for name in names
        if (leaked := run["benchmarks"][name]["leaked"])
    ]
    settings = [_settings(run, names) for run in runs]
    for folder, other in zip(folders[1:], settings[1:], strict=True):
        told += [
            f"{what} is {settings[0].get(what)} in {folders[0]} and {other.get(what)} in {folder}"
            for what in sorted(settings[0] | other)
            if settings[0].get(what) != other.get(what)
        ]
    return told


def _settings(run: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return what figures depend on besides the model, by a name to tell it by."""
    found = {f"option {key}": value for key, value in run["config"].items() if key not in OF_NO_MATTER}
    found["code (SHA-256)"] = run["code_sha256"][:12]
    for name in names:
        entry = run["benchmarks"][name]
        found[f"the store (fingerprint) of {name}"] = entry["store_fingerprint"][:12]
        prompts = entry["tasks"].get("zero_shot", {}).get("prompts_sha256")
        found |= {f"the prompts (SHA-256) of {name}": prompts[:12]} if prompts else {}
    return found


def _scored(run: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Return the scores file of each benchmark and task."""
    return {
        (name, task): told["scores"]
        for name, entry in run["benchmarks"].items()
        for task, told in entry["tasks"].items()
        if "scores" in told
    }


def _not_scored(runs: Sequence[dict[str, Any]]) -> list[str]:
    found = {
        f"{name}, {task}"
        for run in runs
        for name, entry in run["benchmarks"].items()
        for task, told in entry["tasks"].items()
        if "scores" not in told
    }
    return sorted(found)


def _aligned(first: Scores, other: Scores, where: str) -> Scores:
    """Return `other` in the order of `first`; refuse other classes, records or labels."""
    if sorted(first.label_names) != sorted(other.label_names):
        odd = sorted(set(first.label_names) ^ set(other.label_names))[0]
        raise BadRawData(f"{where} have other classes, only one has {odd}: expected the same benchmark; run it again")
    keys = [list(zip(each.record_ids.tolist(), each.starts.tolist(), strict=True)) for each in (first, other)]
    places = {key: place for place, key in enumerate(keys[1])}
    odd = next((key for key in keys[0] if key not in places), None)
    odd = odd or next((key for key in keys[1] if key not in set(keys[0])), None)
    if odd is not None:
        raise BadRawData(
            f"{where} are of other records, only one has {odd[0]}: expected the same split of the same store; run one "
            "of them again"
        )
    order = np.array([places[key] for key in keys[0]])
    columns = [other.label_names.index(name) for name in first.label_names]
    labels = other.labels[order][:, columns]
    if not np.array_equal(first.labels, labels):
        row, column = np.argwhere(first.labels != labels)[0]
        raise BadRawData(
            f"{where} have other labels, the first is {first.label_names[column]} of record {keys[0][row][0]}: "
            "expected the same labels; run one of them again"
        )
    return replace(
        other,
        record_ids=first.record_ids,
        starts=first.starts,
        patients=first.patients,
        labels=labels,
        label_names=first.label_names,
        scores=other.scores[order][:, columns],
    )


def _comparison(
    name: str, task: str, kind: str, first: Scores, others: Sequence[Scores], resamples: int, seed: int
) -> dict[str, Any]:
    values = [or_none(areas(first.labels, one.scores, kind).macro) for one in (first, *others)]
    differences = []
    for other in others:
        found = paired_bootstrap(
            first.labels, other.scores, first.scores, first.patients, resamples, seed, kind, first.label_names
        )
        differences.append(
            {
                "difference": or_none(found.difference),
                "interval": pair((found.low, found.high)),
                "p_value": or_none(found.p_value),
                "per_class": {
                    label: {"difference": or_none(each.difference), "interval": pair((each.low, each.high))}
                    for label, each in found.per_class.items()
                },
            }
        )
    return {
        "benchmark": name,
        "task": task,
        "metric": kind,
        "n": len(first.labels),
        "values": values,
        "differences": differences,
    }


def comparison_rows(comparison: dict[str, Any]) -> list[list[str]]:
    """Return the rows of a table, its titles first."""
    rows = [list(COLUMNS)]
    for told in comparison["comparisons"]:
        what = [told["benchmark"], told["task"].replace("_", "-"), f"macro {told['metric'].upper()}"]
        for place, (run, value) in enumerate(zip(comparison["runs"], told["values"], strict=True)):
            row = [*(what if place == 0 else ("", "", "")), run["folder"], percent(value)]
            if place == 0:
                rows.append([*row, "", "", ""])
                continue
            found = told["differences"][place - 1]
            sign = "" if found["difference"] is None else f"{100 * found['difference']:+.2f}"
            p_value = "" if found["p_value"] is None else f"{found['p_value']:.3f}"
            rows.append([*row, sign, interval(found["interval"]), p_value])
    return rows


def comparison_text(comparison: dict[str, Any], as_markdown: bool = False) -> str:
    """Lay a comparison out for a terminal, or as Markdown."""
    rows = comparison_rows(comparison)
    table = markdown_table(rows) if as_markdown else "\n".join(in_columns(rows))
    notes = [
        f"Paired intervals from {comparison['resamples']} resamples of the patients, the same for all runs; p is "
        "two-sided, not corrected for the number of comparisons, and from so many resamples at least "
        f"{2 / (comparison['resamples'] + 1):.2g}."
    ]
    notes += [f"{note}." for note in comparison["notes"]]
    if comparison["left_out"]:
        notes.append(f"Not in all runs, so left out: {'; '.join(comparison['left_out'])}.")
    if comparison["not_scored"]:
        notes.append(f"Without scores of records, so not compared: {'; '.join(comparison['not_scored'])}.")
    return "\n\n".join([table, *notes]) if as_markdown else "\n".join([table, *notes])
