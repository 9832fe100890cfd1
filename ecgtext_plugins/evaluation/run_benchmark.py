"""Run a zero-shot benchmark on a store and tell the result in one dictionary."""

import importlib.metadata
import math
from pathlib import Path
from typing import Any

import numpy as np

import ecgtext_plugins
from ecgtext_plugins.errors import BadManifest, BadStore
from ecgtext_plugins.evaluation.benchmark import Benchmark, check_labels
from ecgtext_plugins.evaluation.embed import embed_manifest
from ecgtext_plugins.evaluation.metrics import auroc_by_class
from ecgtext_plugins.evaluation.zero_shot import build_zero_shot_classifier
from ecgtext_plugins.store.manifest import Manifest, read_manifest
from ecgtext_plugins.store.reader import RecordStore
from ecgtext_plugins.store.splits import SPLITS

ALL = "all"


def run_zero_shot(
    model: Any,
    benchmark: Benchmark,
    store_folder: str | Path,
    split: str | None = None,
    batch_size: int = 64,
    device: str = "cpu",
) -> dict[str, Any]:
    """Score every class of a benchmark on a store; areas under the ROC curve, null where they are undefined.

    Parameters
    ----------
    model : torch module
        From ``ecgtext_plugins.load``.
    split : str, optional
        `all`, or split names joined by commas; the benchmark's own when None.

    Returns
    -------
    dict
        Ready for JSON: `benchmark`, `split`, `n`, `auroc` {class}, `macro_auroc`, `undefined`, `positives` {class},
        `prompts`, `similarity`, `center_prompts`, `checkpoint_sha256`, `store_fingerprint`, `versions`.

    Raises
    ------
    BadStore, BadManifest, BadPrompts, BadCheckpoint
        See the functions called; also when the store was built by another recipe than the benchmark's.
    """
    store = RecordStore.open(store_folder)
    check_recipe(benchmark, store)
    check_labels(benchmark, store.label_names, store.folder)
    split = benchmark.split if split is None else split
    manifest = read_splits(store, split)
    classifier = build_zero_shot_classifier(model.to(device).eval(), benchmark.prompts, benchmark.center_prompts)
    scores = classifier.scores(embed_manifest(model, manifest, batch_size, device))
    result = auroc_by_class(store.label_matrix(manifest.rows, classifier.names), scores, classifier.names)
    return {
        "benchmark": {"name": benchmark.name, "version": benchmark.version},
        "split": split,
        "n": len(manifest.rows),
        "auroc": {name: _or_null(value) for name, value in result.per_class.items()},
        "macro_auroc": _or_null(result.macro),
        "undefined": result.undefined,
        "positives": result.n_positive,
        "prompts": benchmark.prompts,
        "similarity": classifier.similarity,
        "center_prompts": benchmark.center_prompts,
        "checkpoint_sha256": model.checkpoint_sha256,
        "store_fingerprint": store.fingerprint,
        "versions": _versions(),
    }


def check_recipe(benchmark: Benchmark, store: RecordStore) -> None:
    """Check that a store was built by the benchmark's corpus recipe.

    Raises
    ------
    BadStore
        When it was not.
    """
    found = store.corpus["recipe"]["name"]
    if found != benchmark.recipe:
        raise BadStore(
            f"store {store.folder} was built by recipe {found}, but benchmark {benchmark.name} is defined on "
            f"{benchmark.recipe}; build one with `ecgtext manifest build {benchmark.recipe} --raw RAW --dest DATA`"
        )


def read_splits(store: RecordStore, split: str) -> Manifest:
    """Read one manifest, several joined (`train,valid`), or `all` that the store has.

    Raises
    ------
    BadManifest
        When `split` names one that the store doesn't have, or the same twice.
    """
    folder = store.folder / "manifests"
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
    return Manifest(
        path=folder,
        store=store,
        rows=np.concatenate([manifest.rows for manifest in manifests]),
        n_samples=np.concatenate([manifest.n_samples for manifest in manifests]),
        starts=np.concatenate([manifest.starts for manifest in manifests]),
    )


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _versions() -> dict[str, str]:
    packages = ("torch", "transformers", "numpy", "scikit-learn")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {"ecgtext_plugins": ecgtext_plugins.__version__} | versions
