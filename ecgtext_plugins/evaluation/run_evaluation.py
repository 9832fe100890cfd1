"""Measure one model on several benchmarks: everything is checked first, then each task runs on cached embeddings."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ecgtext_plugins.atomic_files import write_text
from ecgtext_plugins.data.lead_selection import PRESETS
from ecgtext_plugins.errors import BadConfig, TextEncoderUnavailable
from ecgtext_plugins.evaluation.benchmark import Benchmark, load_benchmark
from ecgtext_plugins.evaluation.challenge_metric import load_challenge_metric, with_challenge_notes
from ecgtext_plugins.evaluation.classifier_task import has_heads, heads_for, run_classifier_task
from ecgtext_plugins.evaluation.code_identity import code_sha256
from ecgtext_plugins.evaluation.embedding_cache import ALL_LEADS, EmbeddingCache
from ecgtext_plugins.evaluation.evaluation_options import (
    CLASSIFIER,
    IDENTIFICATION,
    PROBE,
    RETRIEVAL,
    ZERO_SHOT,
    EvaluationOptions,
    check_options,
    entry_name,
    presets,
)
from ecgtext_plugins.evaluation.evaluation_tasks import (
    Encoder,
    Sampling,
    run_identification_task,
    run_retrieval_task,
    run_zero_shot_task,
    with_texts,
)
from ecgtext_plugins.evaluation.leakage import TrainingRecords, read_training_records, refuse_leaks
from ecgtext_plugins.evaluation.output_folder import TABLES, claim
from ecgtext_plugins.evaluation.prepared_benchmark import Prepared, prepare
from ecgtext_plugins.evaluation.probe_task import HANDCRAFTED, ProbeOptions, run_probe_task
from ecgtext_plugins.evaluation.readers import Points, has_readers, reader_points
from ecgtext_plugins.evaluation.results import FORMAT, Scores, environment, versions, write_results, write_scores
from ecgtext_plugins.evaluation.tables import markdown
from ecgtext_plugins.evaluation.transfer_probe import with_source

log = logging.getLogger(__name__)

CACHE = "embeddings"


def run_evaluation(
    model: Any,
    checkpoint: str | Path,
    names: Sequence[str],
    folders: Sequence[str | Path],
    out: str | Path,
    options: EvaluationOptions | None = None,
    load_untrained: Callable[[int], Any] | None = None,
    cache: str | Path | None = None,
    overwrite: bool = False,
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
    overwrite : bool
        Replace the results of another command in `out`, see `output_folder.claim`.

    Raises
    ------
    BadConfig
        When `out` has results of another command, and they are not to be overwritten; when no task can run; when the
        classifier is asked for and a class has no head, see `heads_for`; of options, see `check_options`; of readers,
        see `reader_points`; of the Challenge's weights, see `load_challenge_weights`.
    BadRawData
        See `reader_points`.
    BadStore, BadManifest
        See `prepare`, and of the probe of a transfer `with_source`.
    BadCheckpoint
        When the model was trained on a record that is tested, unless leaks are allowed.
    """
    options = options or EvaluationOptions()
    out, began = Path(out), time.monotonic()
    benchmarks = requested(names, options)
    config = asdict(options) | {"tasks": options.wanted, "labels": getattr(model, "labels", None)}
    described = {
        "path": str(checkpoint),
        "sha256": model.checkpoint_sha256,
        "family": model.family,
        "untrained_seed": options.untrained_seed,
    }
    claim(out, described, config, [benchmark.name for benchmark in benchmarks], overwrite)
    training = read_training_records(checkpoint)
    _check_heads(model, benchmarks, options)
    prepared = [_prepared(benchmark, folders, training, options) for benchmark in benchmarks]
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
        for leads in presets(each.benchmark, options):
            name = entry_name(each.benchmark.name, leads)
            told[name] = _run(name, each, encoder.seeing(leads), options, load_untrained, out)
            if each.benchmark.name in readers:
                told[name]["readers"] = readers[each.benchmark.name]
    if not any(entry["tasks"] for entry in told.values()):
        reasons = [f"{name}: {why}" for name, entry in told.items() for why in entry["skipped"].values()]
        raise BadConfig(f"no task could run ({'; '.join(reasons)}): expected at least one; ask for other tasks")
    results = {
        "format": FORMAT,
        "checkpoint": described | {"training_records_sha256": training and training.sha256},
        "config": config,
        "versions": versions(),
        "code_sha256": code_sha256(),
        "environment": environment(),
        "benchmarks": told,
        "seconds": round(time.monotonic() - began, 3),
    }
    write_results(out, results)
    write_text(out / TABLES, markdown(results))
    return results


def requested(names: Sequence[str], options: EvaluationOptions) -> list[Benchmark]:
    """Return benchmarks with the prompts that were asked for; check all that needs neither a model nor a store.

    Raises
    ------
    BadConfig, BadRecipe, BadPrompts
        Of options, benchmarks and prompts.
    """
    benchmarks = [load_benchmark(name) for name in names]
    check_options(benchmarks, options)
    return [with_texts(benchmark, options.prompts, options.templates) for benchmark in benchmarks]


def _check_heads(model: Any, benchmarks: Sequence[Benchmark], options: EvaluationOptions) -> None:
    """Refuse a classifier that was asked for by name and lacks a head; by default it is told and left out."""
    if options.tasks is not None and CLASSIFIER in options.tasks and has_heads(model):
        for benchmark in benchmarks:
            if benchmark.task != IDENTIFICATION:
                heads_for(benchmark, model.labels)


def _prepared(
    benchmark: Benchmark, folders: Sequence[str | Path], training: TrainingRecords | None, options: EvaluationOptions
) -> Prepared:
    """Check a benchmark with all that its tasks need."""
    challenge = load_challenge_metric(benchmark, options.weights_file)
    found = replace(prepare(benchmark, folders, training), challenge=challenge)
    return with_source(found, folders, options.allow_leaks) if PROBE in options.wanted else found


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
    for task in (IDENTIFICATION,) if identifies else options.wanted:
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
            elif task == CLASSIFIER:
                tasks[task], scored[task] = run_classifier_task(encoder, prepared, sampling)
            elif task == RETRIEVAL:
                tasks[task] = run_retrieval_task(encoder, prepared, sampling)
            else:
                tasks[task] = run_identification_task(encoder, prepared, sampling)
        except TextEncoderUnavailable as error:
            skipped[task] = str(error)
    for task, path in scores_paths(name, list(scored)).items():
        write_scores(out / path, scored[task])
        tasks[task]["scores"] = path
    described, place = prepared.describe(encoder.leads), encoder.place(prepared.test)
    entry = described | {
        "notes": described["notes"] + _lead_notes(encoder.leads, options),
        "embeddings": str(place) if place.is_dir() else None,  # a classifier's heads need none
        "tasks": tasks,
        "skipped": skipped,
        "seconds": round(time.monotonic() - began, 3),
    }
    return with_challenge_notes(entry, prepared.benchmark, prepared.challenge)


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
    if PROBE in options.wanted and HANDCRAFTED in options.probe.baselines:
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
    if task == CLASSIFIER:
        return _no_heads(prepared, encoder)
    if task != PROBE:
        return ""
    if prepared.benchmark.task == "transfer":
        return prepared.no_probe
    lacking = [name for name in ("train", "valid") if not len(prepared.part(name) or ())]
    if lacking:
        return f"store {prepared.store.folder} has no {' or '.join(lacking)} split"
    if "train" in prepared.benchmark.split.split(",") or prepared.benchmark.split == "all":
        return f"the benchmark's split is {prepared.benchmark.split}: no records are left to train on"
    return ""


def _no_heads(prepared: Prepared, encoder: Encoder) -> str:
    """Say why a model's heads cannot be measured; empty when they can."""
    if not has_heads(encoder.model):
        return f"the model is a {encoder.model.family} without labels of its own"
    try:
        heads_for(prepared.benchmark, encoder.model.labels)
    except BadConfig as error:
        return str(error)
    return ""
