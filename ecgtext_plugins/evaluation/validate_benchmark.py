"""What a benchmark needs that is not on this disk, and the command that makes it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgtext_plugins.corpora.merl_tables import MERL
from ecgtext_plugins.errors import BadManifest, BadRecipe, BadStore
from ecgtext_plugins.evaluation._benchmark_keys import Source
from ecgtext_plugins.evaluation.benchmark import Benchmark
from ecgtext_plugins.evaluation.run_benchmark import ALL, cut_windows, label_matrix, read_splits
from ecgtext_plugins.store.listing import IDENTIFICATION
from ecgtext_plugins.store.manifest import read_manifest, refuse_shared_patients
from ecgtext_plugins.store.reader import RecordStore
from ecgtext_plugins.store.recipe import differences, load_recipe
from ecgtext_plugins.store.splits import SPLITS


@dataclass(frozen=True)
class Finding:
    """Something that is missing, or with `is_error` False, something to know.

    `kind` is one of store, recipe, label set, classes, splits, probe, metric; `command` builds what is missing, ""
    where none does.
    """

    kind: str
    message: str
    command: str = ""
    is_error: bool = True


def validate(benchmark: Benchmark, folders: Sequence[str | Path]) -> tuple[RecordStore | None, list[Finding]]:
    """Look for what the benchmark needs in the stores in `folders`; return the store that it would run on.

    Of several stores that fit, the one of the recipe that the benchmark names first is taken.
    """
    stores, unreadable = [], []
    for folder in folders:
        try:
            stores.append(RecordStore.open(folder))
        except BadStore as error:
            unreadable.append(Finding("store", str(error), is_error=False))
    names = [store.corpus["recipe"]["name"] for store in stores]
    fitting = [source for source in benchmark.sources if source.recipe in names]
    if not fitting:
        return None, [*unreadable, _no_store(benchmark, stores)]
    store = stores[names.index(fitting[0].recipe)]
    return store, [*unreadable, *_of_store(benchmark, fitting[0], store)]


def build_command(recipe: str, dest: str | Path = "DATA", rebuild: bool = False) -> str:
    """Return the command that builds a store by a recipe; MERL and TABLES stand for folders of tables."""
    try:
        content = load_recipe(recipe)
    except BadRecipe:
        return ""
    scheme = (content["labels"] or {}).get("scheme", [])
    schemes = [scheme] if isinstance(scheme, str) else scheme
    tables = ""
    if any(name in MERL for name in schemes):
        tables = " --tables MERL/finetune/data_split"
    elif content["options"].get("ptbxl_table"):
        tables = " --tables PTBXL"
    return f"ecgtext manifest build {recipe} --raw RAW{tables} --dest {dest}{' --rebuild' if rebuild else ''}"


def _no_store(benchmark: Benchmark, stores: Sequence[RecordStore]) -> Finding:
    found = ", ".join(f"{store.folder} of recipe {store.corpus['recipe']['name']}" for store in stores) or "none"
    return Finding(
        "store",
        f"no store of recipe {' or '.join(benchmark.recipes)} among those given ({found})",
        build_command(benchmark.recipes[0]),
    )


def _of_store(benchmark: Benchmark, source: Source, store: RecordStore) -> Iterator[Finding]:
    rebuild = build_command(source.recipe, store.folder, rebuild=True)
    try:
        other = differences(store.corpus["recipe"], load_recipe(source.recipe))
    except BadRecipe:
        other = []
    if other:
        yield Finding(
            "recipe",
            f"store {store.folder} was built by a changed recipe {source.recipe}: figures may not compare with "
            f"others (store / shipped: {'; '.join(other)})",
            rebuild,
            is_error=False,
        )
    if source.label_set is not None:
        sets = list(dict.fromkeys(name.partition("/")[0] for name in store.label_names if "/" in name))
        if source.label_set not in sets:
            message = f"store {store.folder} lacks label set {source.label_set}: it has {', '.join(sets) or 'none'}"
            yield Finding("label set", message, rebuild)
            return
    wanted = [source.label(code) for codes in benchmark.classes.values() for code in codes]
    lacking = [name for name in dict.fromkeys(wanted) if name not in store.label_names]
    if lacking:
        yield Finding("classes", f"store {store.folder} has no label {', '.join(lacking)}", rebuild)
        return
    if benchmark.task == "identification":
        yield from _gallery_and_probe(benchmark, store, rebuild)
    else:
        yield from _splits(benchmark, source, store, rebuild)


def _splits(benchmark: Benchmark, source: Source, store: RecordStore, rebuild: str) -> Iterator[Finding]:
    try:
        manifest = cut_windows(read_splits(store, benchmark.split, source.label_set), benchmark.window)
    except (BadManifest, BadStore) as error:
        yield Finding("splits", str(error), rebuild)
        return
    if not len(manifest):
        yield Finding("splits", f"split {benchmark.split} of store {store.folder} lists no record", rebuild)
        return
    labels = label_matrix(benchmark, source, manifest)
    for what, count in (("carries", labels.sum(axis=0)), ("lacks", (~labels).sum(axis=0))):
        undefined = [name for name, number in zip(benchmark.classes, count, strict=True) if not number]
        if undefined:
            message = f"no record of split {benchmark.split} {what} {', '.join(undefined)}: figures are undefined there"
            yield Finding("classes", message, is_error=False)
    folder = store.folder / "manifests" / (source.label_set or "")
    try:
        files = [folder / f"{name}.tsv" for name in SPLITS]
        refuse_shared_patients([read_manifest(path) for path in files if path.is_file()])
    except (BadManifest, BadStore) as error:
        yield Finding("splits", str(error), rebuild)
    if benchmark.transfer is not None:
        return  # its probe learns on another benchmark, see transfer_probe
    used = SPLITS if benchmark.split == ALL else benchmark.split.split(",")
    absent = [name for name in ("train", "valid") if name not in used and not (folder / f"{name}.tsv").is_file()]
    if absent:
        message = f"store {store.folder} has no {' or '.join(absent)} split: zero-shot only, no probe"
        yield Finding("splits", message, is_error=False)


def _gallery_and_probe(benchmark: Benchmark, store: RecordStore, rebuild: str) -> Iterator[Finding]:
    for split in benchmark.split.split(","):
        files = [f"manifests/{IDENTIFICATION}/{split.strip()}_{part}.tsv" for part in ("gallery", "probe")]
        absent = [name for name in files if not (store.folder / name).is_file()]
        if absent:
            yield Finding("splits", f"store {store.folder} has no {' and no '.join(absent)}", rebuild)
            continue
        try:
            gallery, probe = (cut_windows(read_manifest(store.folder / name), benchmark.window) for name in files)
        except (BadManifest, BadStore) as error:
            yield Finding("splits", str(error), rebuild)
            continue
        if not len(gallery):
            yield Finding("splits", f"store {store.folder} has no patient of several records in split {split}", rebuild)
        elif not np.array_equal(np.sort(gallery.identities), np.sort(probe.identities)):
            yield Finding("splits", f"gallery and probe of split {split} are of different patients", rebuild)
