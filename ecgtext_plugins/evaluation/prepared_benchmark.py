"""A benchmark on its store, checked: records, labels and splits are what they should be, and nothing has leaked."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ecgtext_plugins.errors import BadManifest, BadStore
from ecgtext_plugins.evaluation._benchmark_keys import Source
from ecgtext_plugins.evaluation.benchmark import Benchmark
from ecgtext_plugins.evaluation.challenge_metric import ChallengeMetric
from ecgtext_plugins.evaluation.embedding_cache import ALL_LEADS
from ecgtext_plugins.evaluation.leakage import (
    TrainingRecords,
    leak_notes,
    leaked_records,
    refuse_changed_manifests,
    shared_signals,
)
from ecgtext_plugins.evaluation.results import patient_codes
from ecgtext_plugins.evaluation.run_benchmark import ALL, cut_windows, label_matrix, read_splits
from ecgtext_plugins.evaluation.validate_benchmark import validate
from ecgtext_plugins.store.listing import IDENTIFICATION
from ecgtext_plugins.store.manifest import Manifest, read_manifest
from ecgtext_plugins.store.reader import RecordStore
from ecgtext_plugins.store.splits import SPLITS


@dataclass(frozen=True)
class Prepared:
    """A benchmark and what it is run on.

    Attributes
    ----------
    benchmark : Benchmark
    store : RecordStore
    source : Source
        The benchmark's recipe that built the store.
    test : Manifest
        Records or windows that are scored, window rule applied; of identification the probe.
    labels : ndarray (n, K) bool
        Of `test`; of identification (n, 0).
    gallery : Manifest or None
        Of identification.
    leaked : list of str
        Records of `test` that the model was trained on.
    notes : list of str
        What to know.
    learns_on : Prepared or None
        Of a transfer the source's benchmark and store, on which its probe learns; see `transfer_probe`.
    no_probe : str
        Why the probe of a transfer has nothing to learn from; empty when it has.
    challenge : ChallengeMetric or None
        Weights of the Challenge metric, where they are given and the classes are the Challenge's.
    """

    benchmark: Benchmark
    store: RecordStore
    source: Source
    test: Manifest
    labels: np.ndarray
    gallery: Manifest | None = None
    leaked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    learns_on: "Prepared | None" = None
    no_probe: str = ""
    challenge: ChallengeMetric | None = None

    def part(self, name: str) -> Manifest | None:
        """Return a manifest of the label set by its name (``train``, ``train_1pct``), cut as `test`; None if absent."""
        path = _folder(self.store, self.source) / f"{name}.tsv"
        return cut_windows(read_manifest(path), self.benchmark.window) if path.is_file() else None

    def labels_of(self, manifest: Manifest) -> np.ndarray:
        """Return which entries carry which of the benchmark's classes, (n, K) bool."""
        return label_matrix(self.benchmark, self.source, manifest)

    def describe(self, leads: str = ALL_LEADS) -> dict[str, Any]:
        """Tell what is scored, ready for JSON; with fewer leads, published figures are those of the same preset."""
        benchmark, names = self.benchmark, list(self.benchmark.classes)
        return {
            "name": benchmark.name,
            "version": benchmark.version,
            "definition_sha256": _definition_sha256(benchmark),
            "description": benchmark.description,
            "task": benchmark.task,
            "metric": benchmark.metric,
            "recipe": self.source.recipe,
            "label_set": self.source.label_set,
            "split": benchmark.split,
            "window": benchmark.window,
            "store": str(self.store.folder),
            "store_fingerprint": self.store.fingerprint,
            "n": len(self.test),
            "n_patients": len(np.unique(patient_codes(self.test))),
            "classes": {name: list(codes) for name, codes in benchmark.classes.items()},
            "positives": dict(zip(names, self.labels.sum(axis=0).tolist(), strict=True)),
            "leaked": self.leaked,
            "notes": [*self.benchmark.notes, *self.notes],
            "published": {
                model: {kind: _by_text(value) for kind, value in of_model.items()}
                for model, of_model in benchmark.published.items()
            }
            if leads == ALL_LEADS
            else _published_on(benchmark, leads),
            "leads": leads,
        }


def prepare(benchmark: Benchmark, folders: Sequence[str | Path], training: TrainingRecords | None) -> Prepared:
    """Find the benchmark's store among `folders` and check everything that can be checked without a model.

    Raises
    ------
    BadStore
        When there is no store of its recipe, or it lacks a label set or a class.
    BadManifest
        When a split is not there or not the build's, or a patient is in two.
    """
    store, findings = validate(benchmark, folders)
    for finding in findings:
        if finding.is_error:
            remedy = f"; build it with `{finding.command}`" if finding.command else ""
            error = BadManifest if finding.kind == "splits" else BadStore
            others = [each.message for each in findings if not each.is_error]
            raise error("; ".join([f"benchmark {benchmark.name}: {finding.message}{remedy}", *others]))
    source = next(each for each in benchmark.sources if each.recipe == store.corpus["recipe"]["name"])
    notes, gallery = [finding.message for finding in findings], None
    if benchmark.task == "identification":
        gallery, test, paths = _gallery_and_probe(benchmark, store)
        labels = np.zeros((len(test), 0), dtype=bool)
    else:
        folder = _folder(store, source)
        paths = [path for path in (folder / f"{name}.tsv" for name in SPLITS) if path.is_file()]
        test = cut_windows(read_splits(store, benchmark.split, source.label_set), benchmark.window)
        labels = label_matrix(benchmark, source, test)
    refuse_other_store(store, paths)
    refuse_changed_manifests(store.folder, paths)
    if gallery is None and not (labels.any(axis=0) & ~labels.all(axis=0)).any():
        raise BadManifest(
            f"benchmark {benchmark.name}: no class has both records that carry it and records that lack it among "
            f"the {len(test)} of split {benchmark.split} of store {store.folder}: expected one at least, as no "
            "figure is defined otherwise; build the store from more records"
        )
    leaked = leaked_records(training, test) if training else []
    notes += leak_notes(training, leaked)
    prepared = Prepared(benchmark, store, source, test, labels, gallery, leaked, notes)
    train = None if benchmark.split == ALL or gallery is not None else prepared.part("train")
    twins = shared_signals(train, test) if train is not None and "train" not in benchmark.split.split(",") else []
    if twins:
        notes.append(f"{len(twins)} records have the same signal as one of train, under other names; one is {twins[0]}")
    return prepared


def refuse_other_store(store: RecordStore, paths: Sequence[Path]) -> None:
    """Raise BadManifest when a manifest in a store's folder points to another store."""
    for path in paths:
        found = read_manifest(path).store
        if Path(found.folder) != store.folder:
            raise BadManifest(
                f"{path} lists records of store {found.folder}: expected those of {store.folder}, in which it lies; "
                "build the store again with --rebuild, or mend the file's first line"
            )


def _folder(store: RecordStore, source: Source) -> Path:
    return store.folder / "manifests" / (source.label_set or "")


def _gallery_and_probe(benchmark: Benchmark, store: RecordStore) -> tuple[Manifest, Manifest, list[Path]]:
    """Return both of the benchmark's split, and their files."""
    if "," in benchmark.split or benchmark.split == ALL:
        raise BadManifest(
            f"benchmark {benchmark.name} has split: {benchmark.split}: expected one split for identification"
        )
    folder = store.folder / "manifests" / IDENTIFICATION
    paths = [folder / f"{benchmark.split}_{part}.tsv" for part in ("gallery", "probe")]
    gallery, probe = (cut_windows(read_manifest(path), benchmark.window) for path in paths)
    return gallery, probe, paths


def _definition_sha256(benchmark: Benchmark) -> str:
    """Return the SHA-256 of what a benchmark's recipe says, prompts included: a version number is only its claim."""
    content = json.dumps(asdict(benchmark), sort_keys=True, default=str)
    return hashlib.sha256(content.encode("utf-8")).hexdigest()


def _published_on(benchmark: Benchmark, leads: str) -> dict[str, Any]:
    """Return the papers' figures on a preset of leads: papers have them of fine-tuning alone."""
    told = {}
    for model, of_model in benchmark.published.items():
        tuned = of_model.get("fine_tuning")
        value = _by_text(tuned).get(leads) if isinstance(tuned, dict) else None
        if value is not None:
            told[model] = {"fine_tuning": {leads: value}}
    return told


def _by_text(figures: Any) -> Any:
    """Return figures with keys as JSON has them."""
    return {str(key): value for key, value in figures.items()} if isinstance(figures, dict) else figures
