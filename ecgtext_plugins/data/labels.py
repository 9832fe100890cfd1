"""Labels of a manifest's entries: of a record store, of fairseq-signals' y.npy, or of the .mat files themselves."""

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgtext_plugins.errors import BadConfig, BadStore
from ecgtext_plugins.store.fairseq_signals.mat_labels import NAMES, own_labels
from ecgtext_plugins.store.joined_stores import JoinedStores
from ecgtext_plugins.store.manifest import Manifest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labels:
    """Labels of R entries.

    Attributes
    ----------
    names : list of str, length K
    values : ndarray, shape (R, K), float32
        0 to 1; 0 where unknown.
    known : ndarray, shape (R, K), bool, or None
        False where a label is unknown; None when all are known.
    """

    names: list[str]
    values: np.ndarray
    known: np.ndarray | None = None


def read_labels(manifest: Manifest, label_file: str | Path | None = None, label_set: str | None = None) -> Labels:
    """Find the labels of a manifest's entries.

    Parameters
    ----------
    label_file : path or None
        y.npy of fairseq-signals, (largest sample id + 1, K): an entry's row is its file's `idx`. label_def.csv beside
        it names the columns. NaN means unknown.
    label_set : str or None
        Of a store whose labels are called ``set/name``, the set to use; None for the set whose folder the manifest is
        in, or else for all.

    Raises
    ------
    BadConfig
        When the label set is unknown, or the data has no labels.
    BadStore
        When the file is no such array, or has no row for a sample.
    """
    if label_file is not None:
        return _from_file(manifest, Path(label_file))
    names = manifest.store.label_names
    if not names and not manifest.holds_counts:
        return _from_mat_files(manifest)
    chosen = _in_set(manifest, names, label_set)
    values = manifest.store.label_matrix(manifest.rows, chosen).astype(np.float32)
    return Labels(chosen, values, _known_to_stores(manifest, chosen))


def _in_set(manifest: Manifest, names: Sequence[str], label_set: str | None) -> list[str]:
    sets = list(dict.fromkeys(name.partition("/")[0] for name in names if "/" in name))
    if label_set is None and manifest.path.parent.name in sets:
        label_set = manifest.path.parent.name
    chosen = [name for name in names if label_set is None or name.startswith(f"{label_set}/")]
    if not chosen:
        what = "no labels" if not names else f"no labels of the set {label_set}"
        remedy = f"one of {', '.join(sets)}" if sets else "a store whose recipe has labels, or task.label_file"
        raise BadConfig(f"{manifest.store.folder} has {what}: expected {remedy}")
    return chosen


def _known_to_stores(manifest: Manifest, names: Sequence[str]) -> np.ndarray | None:
    """Return where labels are known, when stores of several datasets are joined: each knows its own ones only."""
    store = manifest.store
    if not isinstance(store, JoinedStores) or all(set(names) <= set(one.label_names) for one in store.stores):
        return None
    knows = np.array([[name in set(one.label_names) for name in names] for one in store.stores])
    return knows[np.searchsorted(store.first_rows, manifest.rows, side="right") - 1]


def _from_file(manifest: Manifest, path: Path) -> Labels:
    if manifest.holds_counts:
        raise BadConfig(
            f"task.label_file={path}: its rows are sample ids of fairseq-signals' .mat files, but {manifest.path} "
            "lists records of a store, which has labels itself; leave task.label_file null"
        )
    expected = "expected an array of numbers (samples, labels)"
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadStore(
            f"task.label_file={path} cannot be read ({error}): expected an array (samples, labels)"
        ) from None
    if table.ndim != 2 or table.dtype.kind not in "fiub":
        raise BadStore(f"task.label_file={path} is {table.dtype} {table.shape}: {expected}")
    idx = manifest.store.column("idx")[manifest.rows]
    wrong = np.flatnonzero((idx < 0) | (idx >= len(table)))
    if len(wrong):
        raise BadStore(
            f"record {manifest.record_id(int(wrong[0]))} of {manifest.path} has "
            f"{f'sample id {idx[wrong[0]]}' if idx[wrong[0]] >= 0 else 'no sample id (idx)'}: expected one from 0 to "
            f"{len(table) - 1}, a row of {path}; prepare both from the same meta.csv"
        )
    values = np.asarray(table[idx], dtype=np.float32)
    known = ~np.isnan(values)
    outside = np.argwhere(known & ((values < 0) | (values > 1)))
    if len(outside):
        row, column = outside[0]
        raise BadStore(
            f"{path} row {idx[row]} column {column} (record {manifest.record_id(int(row))}) is "
            f"{values[row, column]:g}: expected 0 to 1, or NaN where unknown"
        )
    names = _names(path, values.shape[1])
    return Labels(names, np.where(known, values, np.float32(0)), None if known.all() else known)


def _names(path: Path, count: int) -> list[str]:
    """Read the names in label_def.csv beside `path`; numbers where there is no such file."""
    definition = path.parent / NAMES
    if not definition.is_file():
        log.warning("no %s, so the labels are called label_0, ...: put the table beside %s", definition, path.name)
        return numbered(count)
    try:
        with open(definition, encoding="utf-8-sig", newline="") as handle:
            names = [row["name"] for row in csv.DictReader(handle)]
    except (OSError, UnicodeDecodeError, KeyError, csv.Error) as error:
        raise BadStore(f"{definition} cannot be read ({error!r}): expected a table with the column name") from None
    if len(names) != count:
        raise BadStore(f"{definition} names {len(names)} labels, {path} has {count} columns: expected as many")
    return names


def numbered(count: int) -> list[str]:
    """Return names for labels that have none: label_0, label_1, ..."""
    return [f"label_{place}" for place in range(count)]


def _from_mat_files(manifest: Manifest) -> Labels:
    store = manifest.store
    if store.first.label is None:
        raise BadConfig(
            f"{store.files[0].path} has no variable label, and there is no labels/y.npy: expected labels; give "
            "task.label_file"
        )
    count = len(store.first.label)
    values = own_labels(store.scan()["label"], manifest.rows, store.files, count)
    return Labels(numbered(count), values.astype(np.float32))
