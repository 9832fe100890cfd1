"""The probe of a domain transfer: it learns the source's classes on the source's records, the target's records test it.

Train and validation split are those of the source benchmark with its own labels; a category's score is the largest of
its source classes', as with prompts. Source of the categories: D-BETA, table 11.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.errors import BadManifest, BadStore
from ecgtext_plugins.evaluation.benchmark import Benchmark, load_benchmark
from ecgtext_plugins.evaluation.leakage import shared_signals
from ecgtext_plugins.evaluation.prepared_benchmark import Prepared, prepare
from ecgtext_plugins.evaluation.probe_result import ProbeResult
from ecgtext_plugins.evaluation.probe_subsets import Rows, rows_of_seed
from ecgtext_plugins.evaluation.transfer import Groups, any_of
from ecgtext_plugins.evaluation.validate_benchmark import Finding, validate
from ecgtext_plugins.store.manifest import Manifest, refuse_shared_patients
from ecgtext_plugins.store.reader import RecordStore

LEARNT_FROM = ("train", "valid")
MANY_DATASETS = ("generic", "fairseq_signals")  # readers whose stores need not have one naming of patients


def source_benchmark(benchmark: Benchmark) -> Benchmark:
    """Return the source of a transfer with those of its classes that the transfer uses."""
    source, used = load_benchmark(benchmark.transfer.source), benchmark.transfer.used
    return dataclasses.replace(source, classes={name: source.classes[name] for name in used})


def probe_findings(benchmark: Benchmark, folders: Sequence[str | Path]) -> list[Finding]:
    """Tell what the probe of a transfer lacks among the stores in `folders`, as notes: zero-shot goes without.

    Returns
    -------
    list of Finding
        Of kind ``probe``; empty when nothing is missing, and for a benchmark that is no transfer.
    """
    if benchmark.transfer is None:
        return []
    source = source_benchmark(benchmark)
    found = [finding for finding in validate(source, folders)[1] if finding.is_error]
    found = found or [Finding("splits", message) for message in _obstacles(source, benchmark, folders)]
    what = f"no probe: it learns on benchmark {source.name}"
    return [Finding("probe", f"{what}: {each.message}", each.command, is_error=False) for each in found]


def _obstacles(source: Benchmark, benchmark: Benchmark, folders: Sequence[str | Path]) -> list[str]:
    """Say what keeps a probe from the source's store, which is there."""
    try:
        learner = prepare(source, folders, None)
        absent = _absent_splits(learner)
        if absent or any(finding.is_error for finding in validate(benchmark, folders)[1]):
            return absent
        return shared_records(learner, prepare(benchmark, folders, None).test)
    except (BadManifest, BadStore) as error:
        return [str(error)]


def with_source(prepared: Prepared, folders: Sequence[str | Path], allow_leaks: bool = False) -> Prepared:
    """Add to a prepared transfer what its probe learns on, or in `no_probe` what has to be built for it.

    A benchmark that is no transfer comes back as it is.

    Raises
    ------
    BadStore, BadManifest
        When the source's store is there but not as it should be, see `prepare`; when a patient or a signal that is
        tested is in the source's train or validation split, unless leaks are allowed: then it is a note of `learns_on`.
        A patient in two splits of one store is refused in any case.
    """
    benchmark = prepared.benchmark
    if benchmark.transfer is None:
        return prepared
    source = source_benchmark(benchmark)
    store, findings = validate(source, folders)
    if store is None:
        lacking = next(finding for finding in findings if finding.is_error)
        build = f"; build one with `{lacking.command}` and give both folders to --data" if lacking.command else ""
        reason = f"it learns on benchmark {source.name}, and there is {lacking.message}{build}"
        return dataclasses.replace(prepared, no_probe=reason)
    learner = prepare(source, folders, None)
    absent = _absent_splits(learner)
    if absent:
        return dataclasses.replace(prepared, no_probe=f"it learns on benchmark {source.name}: {absent[0]}")
    leaks = shared_records(learner, prepared.test)
    if leaks and not allow_leaks:
        raise BadManifest(
            f"benchmark {benchmark.name}: {leaks[0]}: expected none of them; leave the probe out (--tasks zero_shot), "
            "or give --allow-leaks to have it flagged"
        )
    notes = [f"LEAK: {leak}" for leak in leaks]
    notes += [finding.message for finding in findings if finding.kind == "recipe"]
    return dataclasses.replace(prepared, learns_on=dataclasses.replace(learner, notes=notes))


def shared_records(learner: Prepared, test: Manifest) -> list[str]:
    """Say in a sentence a split which patients and signals of `test` a probe would learn from; empty when none.

    Signals are compared by the checksum of what the dataset's files hold; patients by their id, where both stores are
    of one dataset, for in another one the same number means another person.

    Raises
    ------
    BadManifest
        When both are of one store and share a patient.
    """
    parts, told = [learner.part(name) for name in LEARNT_FROM], []
    refuse_shared_patients([*parts, test])
    for part in parts:
        if _one_dataset(part.store, test.store):
            ours, theirs = (pc.unique(_patients(manifest)) for manifest in (test, part))
            shared = ours.filter(pc.is_in(ours, value_set=theirs))
            if len(shared):
                told.append(
                    f"{len(shared)} patients of {test.path} are in {part.path} too, from which its probe learns (one "
                    f"is {pc.min(shared)})"
                )
        twins = shared_signals(part, test)
        if twins:
            told.append(
                f"{len(twins)} records of {test.path} have a signal of {part.path}, from which its probe learns (one "
                f"is {twins[0]})"
            )
    return told


def _one_dataset(first: RecordStore, second: RecordStore) -> bool:
    """Whether two stores name patients alike; those of one folder are compared elsewhere."""
    readers = [store.corpus["recipe"]["reader"] for store in (first, second)]
    return first.folder != second.folder and readers[0] == readers[1] and readers[0] not in MANY_DATASETS


def _patients(manifest: Manifest) -> pa.Array:
    return manifest.store.text_column("patient_id").take(pa.array(np.unique(manifest.rows)))


def _absent_splits(learner: Prepared) -> list[str]:
    absent = [name for name in LEARNT_FROM if not len(learner.part(name) or ())]
    return [f"store {learner.store.folder} has no {' or '.join(absent)} split"] if absent else []


def by_category(result: ProbeResult, groups: Groups, train_labels: np.ndarray, subsets: dict[str, Rows]) -> ProbeResult:
    """Turn the scores of source classes into those of categories.

    Parameters
    ----------
    result : ProbeResult
        Of the K source classes.
    groups : dict of str to tuple of str
        C categories and the source classes of each.
    train_labels : ndarray (n, K) bool
        Of the source's train split, in the order of the classes of `result`.
    subsets : dict of str to rows
        Of the train split.

    Returns
    -------
    ProbeResult
        Scores (S, R, m, C): the largest of those source classes that the subset teaches, for what a head says of a
        class that it never saw means nothing; where it teaches none, of all. Positives are records with any of them.
    """
    labels, seeds = any_of(train_labels, result.names, groups), len(result.seeds)
    drawn = [[rows_of_seed(subsets[name], place, seeds) for place in range(seeds)] for name in result.subsets]
    return dataclasses.replace(
        result,
        names=list(groups),
        scores=_largest(result, result.scores, groups),
        valid_scores=_largest(result, result.valid_scores, groups),
        n_positive=np.array([[labels[rows].sum(axis=0) for rows in of_subset] for of_subset in drawn]),
    )


def _largest(result: ProbeResult, scores: np.ndarray, groups: Groups) -> np.ndarray:
    taught = np.broadcast_to(result.taught[:, :, None], scores.shape)
    place = {name: column for column, name in enumerate(result.names)}
    columns = []
    for members in groups.values():
        own = [place[name] for name in members]
        known = np.where(taught[..., own], scores[..., own], -np.inf).max(axis=-1)
        columns.append(np.where(np.isneginf(known), scores[..., own].max(axis=-1), known))
    return np.stack(columns, axis=-1)


def partly_taught(result: ProbeResult, groups: Groups) -> list[str]:
    """Say which categories lack a source class in a subset that teaches others of them; `result` as `by_category`."""
    told, taught = [], result.taught.all(axis=1)
    for name, known in zip(result.subsets, taught, strict=True):
        known = dict(zip(result.names, known.tolist(), strict=True))
        for category, members in groups.items():
            unknown = [member for member in members if not known[member]]
            if unknown and len(unknown) < len(members):
                told.append(
                    f"probe on {name}: it does not teach {', '.join(unknown)}; {category} is scored by its other "
                    "source classes"
                )
    return told
