"""Measure one model on several benchmarks: everything is checked first, then each task runs on cached embeddings."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ecgtext_plugins.atomic_files import write_text
from ecgtext_plugins.data.lead_selection import PRESETS
from ecgtext_plugins.errors import BadConfig, TextEncoderUnavailable
from ecgtext_plugins.evaluation.benchmark import Benchmark, load_benchmark
from ecgtext_plugins.evaluation.embed import DEFAULT
from ecgtext_plugins.evaluation.embedding_cache import ALL_LEADS, EmbeddingCache
from ecgtext_plugins.evaluation.evaluation_tasks import (
    Encoder,
    Sampling,
    run_identification_task,
    run_retrieval_task,
    run_zero_shot_task,
    with_texts,
)
from ecgtext_plugins.evaluation.leakage import read_training_records, refuse_leaks
from ecgtext_plugins.evaluation.prepared_benchmark import Prepared, prepare
from ecgtext_plugins.evaluation.probe_task import HANDCRAFTED, ProbeOptions, run_probe_task
from ecgtext_plugins.evaluation.readers import Points, has_readers, reader_points
from ecgtext_plugins.evaluation.results import FORMAT, Scores, versions, write_results, write_scores
from ecgtext_plugins.evaluation.tables import markdown

log = logging.getLogger(__name__)

ZERO_SHOT, PROBE, RETRIEVAL, IDENTIFICATION = "zero_shot", "probe", "retrieval", "identification"
TASKS = (ZERO_SHOT, PROBE, RETRIEVAL)
CACHE, TABLES = "embeddings", "results.md"


@dataclass(frozen=True)
class EvaluationOptions:
    """What is measured, and how.

    Attributes
    ----------
    tasks : tuple of str
        Some of TASKS; a benchmark of identification has its own.
    prompts : str or None
        ``names``, ``expert`` or a JSON file; the benchmarks' own when None.
    templates : str or None
        Shipped frames around the prompts.
    probe : ProbeOptions
    resamples, seed : int
        Of the intervals.
    batch_size, device
        Of the embedding.
    pooling : str
        See `embed.pooled`.
    untrained_seed : int or None
        That the model was loaded with.
    allow_leaks : bool
        Flag records that the model was trained on, instead of refusing.
    leads : tuple of str
        Presets (`data.lead_selection.PRESETS`); each benchmark is measured with each, the other leads zero.
    readers : str or None
        Folder annotations of CODE-test, whose readers are shown beside the model.
    """

    tasks: tuple[str, ...] = (ZERO_SHOT, PROBE)
    prompts: str | None = None
    templates: str | None = None
    probe: ProbeOptions = ProbeOptions()
    resamples: int = 1000
    seed: int = 0
    batch_size: int = 64
    device: str = "cpu"
    pooling: str = DEFAULT
    untrained_seed: int | None = None
    allow_leaks: bool = False
    leads: tuple[str, ...] = (ALL_LEADS,)
    readers: str | None = None


def run_evaluation(
    model: Any,
    checkpoint: str | Path,
    names: Sequence[str],
    folders: Sequence[str | Path],
    out: str | Path,
    options: EvaluationOptions | None = None,
    load_untrained: Callable[[int], Any] | None = None,
    cache: str | Path | None = None,
) -> dict[str, Any]:
    """Measure a model on benchmarks; write results.json, results.md and the scores of each task; return the results.

    Nothing is embedded before every benchmark has been checked. Embeddings are kept in `cache`, so that the same
    command continues a stopped run, and a second one embeds nothing.

    Parameters
    ----------
    model : LoadedModel
    checkpoint : path-like
        Where it was loaded from; training_records.txt is looked for beside it.
    names : sequence of str
        Benchmarks by name or file.
    folders : sequence of path-like
        Record stores.
    out : path-like
        Folder, made if needed.
    load_untrained : callable, optional
        From a seed to the same architecture with random weights, for the row ``random_encoder``.
    cache : path-like, optional
        Folder of embeddings; ``out/embeddings`` when None.

    Raises
    ------
    BadConfig
        When an option is unknown, a benchmark is named twice, or no task can run; of readers, see `reader_points`.
    BadRawData
        See `reader_points`.
    BadStore, BadManifest
        See `prepare`.
    BadCheckpoint
        When the model was trained on a record that is tested, unless leaks are allowed.
    """
    options = options or EvaluationOptions()
    out, began = Path(out), time.monotonic()
    benchmarks = [load_benchmark(name) for name in names]
    _check(benchmarks, options)
    training = read_training_records(checkpoint)
    prepared = [
        prepare(with_texts(benchmark, options.prompts, options.templates), folders, training)
        for benchmark in benchmarks
    ]
    for each in prepared:
        if not options.allow_leaks:
            refuse_leaks(checkpoint, each.leaked, each.test, each.benchmark.name)
    readers = _readers(prepared, options)
    origin = {
        "checkpoint_sha256": model.checkpoint_sha256,
        "untrained_seed": options.untrained_seed,
        "pooling": options.pooling,
    }
    kept = EmbeddingCache(Path(cache) if cache is not None else out / CACHE)
    encoder = Encoder(model, origin, kept, options.batch_size, options.device)
    told = {}
    for each in prepared:
        for leads in options.leads:
            name = entry_name(each.benchmark.name, leads)
            told[name] = _run(name, each, encoder.seeing(leads), options, load_untrained, out)
            if each.benchmark.name in readers:
                told[name]["readers"] = readers[each.benchmark.name]
    if not any(entry["tasks"] for entry in told.values()):
        reasons = [f"{name}: {why}" for name, entry in told.items() for why in entry["skipped"].values()]
        raise BadConfig(f"no task could run ({'; '.join(reasons)}): expected at least one; ask for other tasks")
    results = {
        "format": FORMAT,
        "checkpoint": {
            "path": str(checkpoint),
            "sha256": model.checkpoint_sha256,
            "family": model.family,
            "untrained_seed": options.untrained_seed,
            "training_records_sha256": training and training.sha256,
        },
        "config": asdict(options),
        "versions": versions(),
        "benchmarks": told,
        "seconds": round(time.monotonic() - began, 3),
    }
    write_results(out, results)
    write_text(out / TABLES, markdown(results))
    return results


def entry_name(name: str, leads: str) -> str:
    """Return what a benchmark is called in results.json, where it is measured with a preset of leads."""
    return name if leads == ALL_LEADS else f"{name}_{leads}_lead{'' if leads == '1' else 's'}"


def _run(
    name: str,
    prepared: Prepared,
    encoder: Encoder,
    options: EvaluationOptions,
    load_untrained: Callable[[int], Any] | None,
    out: Path,
) -> dict[str, Any]:
    """Run the tasks of one benchmark; return its entry in results.json."""
    began = time.monotonic()
    sampling = Sampling(options.resamples, options.seed)
    tasks: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    scored: dict[str, Scores] = {}
    identifies = prepared.benchmark.task == IDENTIFICATION
    for task in (IDENTIFICATION,) if identifies else options.tasks:
        log.info("%s: %s on %d ECGs", name, task, len(prepared.test))
        reason = _unfit(task, prepared, encoder)
        if reason:
            skipped[task] = reason
            continue
        try:
            if task == ZERO_SHOT:
                tasks[task], scored[task] = run_zero_shot_task(encoder, prepared, sampling)
            elif task == PROBE:
                settings = (sampling, _probe_options(options.probe, encoder.leads), load_untrained)
                tasks[task], scored[task] = run_probe_task(encoder, prepared, *settings)
            elif task == RETRIEVAL:
                tasks[task] = run_retrieval_task(encoder, prepared, sampling)
            else:
                tasks[task] = run_identification_task(encoder, prepared, sampling)
        except TextEncoderUnavailable as error:
            skipped[task] = str(error)
    for task, path in scores_paths(name, list(scored)).items():
        write_scores(out / path, scored[task])
        tasks[task]["scores"] = path
    described = prepared.describe(encoder.leads)
    return described | {
        "notes": described["notes"] + _lead_notes(encoder.leads, options),
        "embeddings": str(encoder.place(prepared.test)),
        "tasks": tasks,
        "skipped": skipped,
        "seconds": round(time.monotonic() - began, 3),
    }


def scores_paths(name: str, tasks: Sequence[str]) -> dict[str, str]:
    """Return where the scores of each task go below the run's folder: those of the first in NAME/scores.npz."""
    return {
        task: f"{name}/scores.npz" if place == 0 else f"{name}/scores_{task}.npz" for place, task in enumerate(tasks)
    }


def _probe_options(probe: ProbeOptions, leads: str) -> ProbeOptions:
    """Leave handcrafted features out, which are measured on all leads, where the model sees fewer."""
    if leads == ALL_LEADS:
        return probe
    return replace(probe, baselines=tuple(name for name in probe.baselines if name != HANDCRAFTED))


def _lead_notes(leads: str, options: EvaluationOptions) -> list[str]:
    if leads == ALL_LEADS:
        return []
    notes = [f"the model sees {', '.join(PRESETS[leads])} alone: its other leads are zero"]
    if PROBE in options.tasks and HANDCRAFTED in options.probe.baselines:
        notes.append("there is no row of handcrafted features, which are measured on all leads")
    if options.readers is not None:
        notes.append("readers saw all leads")
    return notes


def _readers(prepared: Sequence[Prepared], options: EvaluationOptions) -> dict[str, Points]:
    """Find the readers' operating points of each benchmark that has some."""
    if options.readers is None:
        return {}
    read = [each for each in prepared if has_readers(each)]
    if not read:
        names = ", ".join(each.benchmark.name for each in prepared)
        raise BadConfig(f"readers {options.readers}: expected code_test among the benchmarks, not {names}; omit them")
    settings = (options.readers, options.resamples, options.seed)
    return {each.benchmark.name: reader_points(each, *settings) for each in read}


def _unfit(task: str, prepared: Prepared, encoder: Encoder) -> str:
    """Say why a task cannot run on a benchmark; empty when it can."""
    if task in (ZERO_SHOT, RETRIEVAL) and not encoder.reads_text:
        return f"the model is a {encoder.model.family} without text encoder"
    if task == RETRIEVAL and not (prepared.store.column("report_id")[prepared.test.rows] >= 0).any():
        return f"no record of split {prepared.benchmark.split} has a report"
    if task != PROBE:
        return ""
    if prepared.benchmark.task == "transfer":
        return "a transfer is scored by its source's prompts; a probe would need its source's train split"
    lacking = [name for name in ("train", "valid") if not len(prepared.part(name) or ())]
    if lacking:
        return f"store {prepared.store.folder} has no {' or '.join(lacking)} split"
    if "train" in prepared.benchmark.split.split(",") or prepared.benchmark.split == "all":
        return f"the benchmark's split is {prepared.benchmark.split}: no records are left to train on"
    return ""


def _check(benchmarks: Sequence[Benchmark], options: EvaluationOptions) -> None:
    unknown = [task for task in options.tasks if task not in TASKS]
    if unknown or not options.tasks or len(set(options.tasks)) < len(options.tasks):
        raise BadConfig(f"tasks {','.join(options.tasks)}: expected different ones of {', '.join(TASKS)}; use these")
    unknown = [leads for leads in options.leads if leads not in PRESETS]
    if unknown or not options.leads or len(set(options.leads)) < len(options.leads):
        raise BadConfig(f"leads {','.join(options.leads)}: expected different ones of {', '.join(PRESETS)}; use these")
    names = [entry_name(benchmark.name, leads) for benchmark in benchmarks for leads in options.leads]
    twice = [name for name in names if names.count(name) > 1]
    if twice or not names:
        raise BadConfig(f"benchmarks {', '.join(names) or '(none)'}: expected at least one, each once")
