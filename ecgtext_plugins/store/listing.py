"""Every manifest of a finished build: splits, label sets, windows, subsets, gallery and probe."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.store.manifest import write_manifest
from ecgtext_plugins.store.splits import SPLITS
from ecgtext_plugins.store.subsets import nested_subset, published_of_set, published_subset, subset_name

IDENTIFICATION = "identification"


def label_sets(recipe: Mapping[str, Any]) -> list[str]:
    """Return the names of a recipe's label sets, whose labels are qualified: ``super/NORM``; none for a single one."""
    scheme = (recipe["labels"] or {}).get("scheme")
    return list(scheme) if isinstance(scheme, list) else []


def in_label_set(labels: pa.ChunkedArray | pa.Array, name: str) -> np.ndarray:
    """Tell which records' `labels` (lists of text) hold one of the set `name`, (R,) bool."""
    lists = labels.combine_chunks() if isinstance(labels, pa.ChunkedArray) else labels
    found = pc.starts_with(lists.flatten(), pattern=f"{name}/").to_numpy(zero_copy_only=False)
    inside = np.zeros(len(lists), dtype=bool)
    inside[pc.list_parent_indices(lists).to_numpy()[found]] = True
    return inside


def write_manifests(
    folder: Path, records: pa.Table, recipe: Mapping[str, Any], published: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, int]]:
    """Write all manifests below `folder`/manifests; return the records of each split by label set.

    Parameters
    ----------
    records : Table
        records.parquet, in its order.
    published : mapping
        Record ids of published subsets by name, as :class:`Corpus` has them.
    """
    top, of_sets = folder / "manifests", {}
    for label_set in [None, *label_sets(recipe)]:
        part = records if label_set is None else records.filter(pa.array(in_label_set(records["labels"], label_set)))
        place, root = (top, "..") if label_set is None else (top / label_set, "../..")
        counts = {}
        for split in SPLITS:
            of_split = part.filter(pc.equal(part["split"], split))
            counts[split] = len(of_split)
            if len(of_split) or _may_be_empty(recipe, split):
                _write(place / f"{split}.tsv", of_split, recipe, root)
        train = part.filter(pc.equal(part["split"], "train"))
        for name, rows in _subsets(train, recipe, published_of_set(published, label_set)).items():
            _write(place / f"{name}.tsv", train.take(rows), recipe, root)
        if label_set is not None:
            of_sets[label_set] = counts
    if recipe["identification"]:
        _write_identification(top / IDENTIFICATION, records, recipe)
    return of_sets


def _may_be_empty(recipe: Mapping[str, Any], split: str) -> bool:
    """Tell whether a split that the recipe names gets a manifest even without a record."""
    return split in (recipe["split"]["fractions"] or {})


def _subsets(
    train: pa.Table, recipe: Mapping[str, Any], published: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    rule = recipe["subsets"]
    if rule is None or not len(train):
        return {}
    if rule["method"] == "published":
        return {name: published_subset(train["record_id"], ids) for name, ids in published.items()}
    ids = train["record_id"].to_pylist()
    return {subset_name(share): nested_subset(ids, share, rule["seed"]) for share in rule["percentages"]}


def windows(n_samples: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut records of `n_samples` (R,) into windows of `length` side by side, the remainder dropped.

    Returns
    -------
    rows, starts : ndarray (W,) int64
        The record that each window is of, and its first sample.
    """
    numbers = n_samples // length
    rows = np.repeat(np.arange(len(n_samples)), numbers)
    starts = (np.arange(len(rows)) - np.repeat(np.cumsum(numbers) - numbers, numbers)) * length
    return rows, starts


def _listed(records: pa.Table, recipe: Mapping[str, Any]) -> tuple[pa.Table, np.ndarray, np.ndarray | None]:
    """Return the records, once for each of their windows, the samples of each, and the windows' first samples."""
    n_samples = records["n_samples"].to_numpy()
    if recipe["segments"] is None:
        return records, n_samples, None
    length = round(recipe["segments"]["seconds"] * recipe["sample_rate"])
    rows, starts = windows(n_samples, length)
    return records.take(rows), np.full(len(rows), length), starts


def _write(path: Path, records: pa.Table, recipe: Mapping[str, Any], root: str) -> None:
    listed, n_samples, starts = _listed(records, recipe)
    write_manifest(path, listed["record_id"].to_pylist(), n_samples, root=root, starts=starts)


def _write_identification(folder: Path, records: pa.Table, recipe: Mapping[str, Any]) -> None:
    """Write train.tsv of all patients, and for valid and test a gallery and a probe of those with several recordings.

    The first recording of such a patient by record id is the gallery's, the second one the probe's, each with its first
    window: two windows of one recording would make the task too easy. Identities are numbered in each file; gallery and
    probe share the numbers, and by design the patients.
    """
    for split in SPLITS:
        listed, n_samples, starts = _listed(records.filter(pc.equal(records["split"], split)), recipe)
        if not len(listed):
            continue
        patients = listed["patient_id"].combine_chunks().dictionary_encode().indices.to_numpy()
        if split == "train":
            files = {"train": np.arange(len(listed))}
        else:
            gallery, probe = first_two(patients, np.flatnonzero(starts == 0) if starts is not None else None)
            files = {f"{split}_gallery": gallery, f"{split}_probe": probe}
        for name, chosen in files.items():
            _, identities = np.unique(patients[chosen], return_inverse=True)
            write_manifest(
                folder / f"{name}.tsv",
                listed["record_id"].take(chosen).to_pylist(),
                n_samples[chosen],
                root="../..",
                starts=None if starts is None else starts[chosen],
                identities=identities,
            )


def first_two(patients: np.ndarray, among: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the first and of the second entry of every patient of `patients` (R,) who has two.

    Both are in the order of the first ones; `among` are the places to choose from, ascending, None for all.
    """
    among = np.arange(len(patients)) if among is None else among
    order = among[np.argsort(patients[among], kind="stable")]
    _, first, numbers = np.unique(patients[order], return_index=True, return_counts=True)
    gallery, probe = order[first[numbers >= 2]], order[first[numbers >= 2] + 1]
    in_order = np.argsort(gallery)
    return gallery[in_order], probe[in_order]
