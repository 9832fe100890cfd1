"""Run a zero-shot benchmark on a store and tell the result in one dictionary."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from ecgtext_plugins.errors import BadCheckpoint, BadManifest, BadRecipe, BadStore
from ecgtext_plugins.evaluation._benchmark_keys import Source
from ecgtext_plugins.evaluation.benchmark import Benchmark, check_labels
from ecgtext_plugins.evaluation.embed import embed_manifest
from ecgtext_plugins.evaluation.metrics import auroc_by_class
from ecgtext_plugins.evaluation.prompts import prompt_notes, prompts_sha256
from ecgtext_plugins.evaluation.results import versions
from ecgtext_plugins.evaluation.transfer import Groups, any_of
from ecgtext_plugins.evaluation.zero_shot import build_zero_shot_classifier
from ecgtext_plugins.store.manifest import Manifest, read_manifest
from ecgtext_plugins.store.reader import RecordStore
from ecgtext_plugins.store.splits import SPLITS

ALL = "all"
FIRST_SECONDS = 5.0  # 2,500 samples of 500 Hz


def run_zero_shot(
    model: Any,
    benchmark: Benchmark,
    store_folder: str | Path,
    split: str | None = None,
    batch_size: int = 64,
    device: str = "cpu",
) -> dict[str, Any]:
    """Score every class of a benchmark on a store; areas under the ROC curve, null where they are undefined.

    A benchmark of transfer is scored by its source's prompts, category by category (see `transfer`).

    Parameters
    ----------
    model : torch module
        From ``ecgtext_plugins.load``, with a text encoder.
    split : str, optional
        `all`, or split names joined by commas; the benchmark's own when None.

    Returns
    -------
    dict
        Ready for JSON: `benchmark`, `task`, `recipe`, `label_set`, `split`, `window`, `n`, `auroc` {class},
        `macro_auroc`, `undefined`, `positives` {class}, `classes` {class: codes}, `transfer`, `prompts`,
        `prompts_sha256`, `prompt_set`, `templates`, `similarity`, `center_prompts`, `checkpoint_sha256`,
        `store_fingerprint`, `versions`, `notes`.

    Raises
    ------
    BadRecipe
        When the benchmark is one of identification.
    BadStore, BadManifest, BadPrompts, BadCheckpoint
        See the functions called; also when the store was built by another recipe than the benchmark's, or the model
        has no text encoder.
    """
    if benchmark.task == "identification":
        raise BadRecipe(f"benchmark {benchmark.name} is one of identification: expected one with classes for zero-shot")
    if not hasattr(model, "encode_text"):
        raise BadCheckpoint("the checkpoint has no text encoder: expected one that can embed prompts; use another one")
    store = RecordStore.open(store_folder)
    source = check_recipe(benchmark, store)
    check_labels(benchmark, source, store.label_names, store.folder)
    split = benchmark.split if split is None else split
    manifest = cut_windows(read_splits(store, split, source.label_set), benchmark.window)
    classifier = build_zero_shot_classifier(model.to(device).eval(), benchmark.prompts, benchmark.center_prompts)
    scores = classifier.scores(embed_manifest(model, manifest, batch_size, device))
    names, transfer = list(benchmark.classes), benchmark.transfer
    of_class = transfer.classes if transfer else {name: (name,) for name in names}
    scores = any_of(scores, classifier.names, of_class)
    result = auroc_by_class(label_matrix(benchmark, source, manifest), scores, names)
    return {
        "benchmark": {"name": benchmark.name, "version": benchmark.version},
        "task": benchmark.task,
        "recipe": source.recipe,
        "label_set": source.label_set,
        "split": split,
        "window": benchmark.window,
        "n": len(manifest.rows),
        "auroc": {name: _or_null(value) for name, value in result.per_class.items()},
        "macro_auroc": _or_null(result.macro),
        "undefined": result.undefined,
        "positives": result.n_positive,
        "classes": _lists(benchmark.classes),
        "transfer": transfer and {"source": transfer.source, "classes": _lists(transfer.classes)},
        "prompts": benchmark.prompts,
        "prompts_sha256": prompts_sha256(benchmark.prompts),
        "prompt_set": benchmark.prompt_set,
        "templates": benchmark.templates,
        "similarity": classifier.similarity,
        "center_prompts": benchmark.center_prompts,
        "checkpoint_sha256": model.checkpoint_sha256,
        "store_fingerprint": store.fingerprint,
        "versions": versions(),
        "notes": [*benchmark.notes, *prompt_notes(benchmark.prompts, model)],
    }


def check_recipe(benchmark: Benchmark, store: RecordStore) -> Source:
    """Return the benchmark's source whose recipe built the store.

    Raises
    ------
    BadStore
        When there is none.
    """
    found = store.corpus["recipe"]["name"]
    for source in benchmark.sources:
        if source.recipe == found:
            return source
    raise BadStore(
        f"store {store.folder} was built by recipe {found}, but benchmark {benchmark.name} is defined on "
        f"{' or '.join(benchmark.recipes)}; build one with `ecgtext manifest build {benchmark.recipes[0]} --raw RAW "
        "--dest DATA`"
    )


def label_matrix(benchmark: Benchmark, source: Source, manifest: Manifest) -> np.ndarray:
    """Return which entries of a manifest carry which classes, (n, C) bool: any of a class's codes will do."""
    labels = list(dict.fromkeys(source.label(code) for codes in benchmark.classes.values() for code in codes))
    groups = {name: [source.label(code) for code in codes] for name, codes in benchmark.classes.items()}
    return any_of(manifest.store.label_matrix(manifest.rows, labels), labels, groups)


def read_splits(store: RecordStore, split: str, label_set: str | None = None) -> Manifest:
    """Read one manifest, several joined (`train,valid`), or `all` that the store has.

    Parameters
    ----------
    label_set : str or None
        Whose records are wanted: its manifests are in a folder of its name.

    Raises
    ------
    BadManifest
        When `split` names one that the store doesn't have, or the same twice.
    """
    folder = store.folder / "manifests" / (label_set or "")
    present = [name for name in SPLITS if (folder / f"{name}.tsv").is_file()]
    names = present if split == ALL else [name.strip() for name in split.split(",")]
    unknown = [name for name in names if name not in present]
    if unknown or not names or len(set(names)) < len(names):
        raise BadManifest(
            f"split '{split}' of store {store.folder}: expected {ALL} or different ones of "
            f"{', '.join(present) or 'none'}, joined by commas"
        )
    manifests = [read_manifest(folder / f"{name}.tsv") for name in names]
    if len(manifests) == 1:
        return manifests[0]
    if len({manifest.windows for manifest in manifests}) > 1:
        raise BadManifest(f"{folder}: some of {', '.join(names)} list windows and some records: expected one of both")
    return Manifest(
        path=folder,
        store=store,
        rows=np.concatenate([manifest.rows for manifest in manifests]),
        n_samples=np.concatenate([manifest.n_samples for manifest in manifests]),
        starts=np.concatenate([manifest.starts for manifest in manifests]) if manifests[0].windows else None,
    )


def cut_windows(manifest: Manifest, window: str) -> Manifest:
    """Apply a benchmark's window rule.

    Parameters
    ----------
    window : str
        ``whole``: as they are; ``first_2500``: records are cut to their first 5 s (2,500 samples of 500 Hz), shorter
        ones stay as they are; ``windows``: the windows that the manifest lists.

    Raises
    ------
    BadManifest
        When the manifest lists windows and the rule is of whole records, or the other way round.
    """
    if manifest.windows != (window == "windows"):
        found = "windows" if manifest.windows else "whole records"
        raise BadManifest(
            f"{manifest.path} lists {found}, but the benchmark's window rule is {window}: expected a store whose "
            f"recipe has segments {'in seconds' if window == 'windows' else 'null'}; build it with the shipped recipe"
        )
    if window != "first_2500":
        return manifest
    length = round(FIRST_SECONDS * manifest.store.sample_rate)
    return dataclasses.replace(
        manifest, n_samples=np.minimum(manifest.n_samples, length), starts=np.zeros_like(manifest.n_samples)
    )


def _lists(groups: Groups) -> dict[str, list[str]]:
    return {name: list(members) for name, members in groups.items()}


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value
