"""Subsets of the train split on which a probe learns: those that the store lists, or nested ones drawn by seed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgtext_plugins.errors import BadConfig, BadManifest
from ecgtext_plugins.store.manifest import Manifest, read_manifest, refuse_shared_patients
from ecgtext_plugins.store.subsets import nested_subset, subset_name

Rows = np.ndarray | Sequence[np.ndarray]  # (m,) for all seeds, or one such array a seed
PERCENTAGES, WHOLE = (1.0, 10.0, 100.0), 100.0
STORED, NESTED = METHODS = ("stored", "nested")


@dataclass(frozen=True)
class ProbeSubsets:
    """Subsets of a train split.

    Attributes
    ----------
    rows : dict of str to (ndarray or list of ndarrays)
        Places in the train manifest by subset, ascending: (m,) for all seeds, or one array a seed.
    sha256 : dict of str to list of str
        Of the records' ids and first samples, one a line; of each seed's where they differ.
    method : str
    """

    rows: dict[str, Rows]
    sha256: dict[str, list[str]]
    method: str


def probe_subsets(
    train: Manifest,
    valid: Manifest,
    test: Manifest,
    percentages: Sequence[float] = PERCENTAGES,
    seeds: Sequence[int] = (0,),
    method: str = STORED,
) -> ProbeSubsets:
    """Choose the subsets of `train` after a check that no patient is in two of the splits.

    Parameters
    ----------
    percentages : sequence of float
        Of the train split; 100 is all of it.
    seeds : sequence of int
        The nested subsets are drawn anew with each; a smaller one lies inside a larger one of the same seed.
    method : str
        ``stored``: the manifests train_1pct.tsv ... beside that of `train`, published or of the store's own seed, the
        same for all seeds; ``nested``: drawn here.

    Raises
    ------
    BadManifest
        When two splits are the same or share a patient, or a stored subset is missing or no part of `train`.
    BadConfig
        For another method or a percentage that is none.
    """
    if method not in METHODS:
        raise BadConfig(f"probe subsets by {method}: expected one of {', '.join(METHODS)}; use one of them")
    wrong = [share for share in percentages if not 0 < share <= WHOLE]
    if wrong or not percentages:
        raise BadConfig(f"probe on {wrong or 'no'} per cent: expected numbers above 0, up to 100; correct them")
    _check_splits([train, valid, test])
    entries, rows = _entries(train), {}
    for share in sorted(set(percentages)):
        if share == WHOLE:
            rows[subset_name(share)] = np.arange(len(train))
        elif method == STORED:
            rows[subset_name(share)] = _stored(train, train.path.with_name(f"{subset_name(share)}.tsv"))
        else:
            rows[subset_name(share)] = [_nested(train, share, seed) for seed in seeds]
    digests = {name: [_digest(entries, one) for one in _all(of)] for name, of in rows.items()}
    return ProbeSubsets(rows, digests, method)


def rows_of_seed(rows: Rows, place: int, n_seeds: int) -> np.ndarray:
    """Return a subset's rows for the seed at `place`.

    Raises
    ------
    BadConfig
        When there is neither one array nor one a seed.
    """
    arrays = _all(rows)
    if len(arrays) not in (1, n_seeds):
        raise BadConfig(f"a subset of {len(arrays)} draws for {n_seeds} seeds: expected one draw, or one a seed")
    return np.asarray(arrays[place if len(arrays) > 1 else 0], dtype=np.int64)


def rows_sha256(rows: np.ndarray) -> str:
    """Return the SHA-256 of row numbers, one a line, as hex digits."""
    return hashlib.sha256("\n".join(map(str, rows.tolist())).encode()).hexdigest()


def _all(rows: Rows) -> Sequence[np.ndarray]:
    return [rows] if isinstance(rows, np.ndarray) and rows.ndim == 1 else rows


def _check_splits(manifests: list[Manifest]) -> None:
    paths = [manifest.path for manifest in manifests]
    if len(set(paths)) < len(paths):
        raise BadManifest(
            f"a probe's splits are {', '.join(map(str, paths))}: expected three different ones; name them again"
        )
    refuse_shared_patients(manifests)


def _nested(train: Manifest, share: float, seed: int) -> np.ndarray:
    ids = train.record_ids
    records = list(dict.fromkeys(ids))  # windows of a record stay together
    chosen = {records[place] for place in nested_subset(records, share, seed)}
    return np.flatnonzero([record in chosen for record in ids])


def _stored(train: Manifest, path: Path) -> np.ndarray:
    if not path.is_file():
        raise BadManifest(
            f"the train split {train.path} has no subset {path.name} beside it: expected one built by a recipe with "
            f"subsets; draw one instead (subsets {NESTED})"
        )
    places = {entry: place for place, entry in enumerate(_entries(train))}
    subset = _entries(read_manifest(path))
    lacking = [entry for entry in subset if entry not in places]
    if lacking or not subset:
        found = f"record {lacking[0].split(chr(9))[0]}, which is not in {train.path}" if lacking else "no record"
        raise BadManifest(f"subset {path} has {found}: expected a part of it; build the store again with --rebuild")
    return np.sort([places[entry] for entry in subset])


def _entries(manifest: Manifest) -> list[str]:
    """Return a line for each record or window: its id and first sample."""
    return [f"{record}\t{start}" for record, start in zip(manifest.record_ids, manifest.starts.tolist(), strict=True)]


def _digest(entries: list[str], rows: np.ndarray) -> str:
    return hashlib.sha256("\n".join(entries[row] for row in rows).encode()).hexdigest()
