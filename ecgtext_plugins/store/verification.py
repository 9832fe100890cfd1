"""Whether a store is what its build wrote, fits together, and still agrees with its raw data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ecgtext_plugins.corpora.corpus import Corpus
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.readers import READERS, open_corpus
from ecgtext_plugins.corpora.record import RecordEntry
from ecgtext_plugins.errors import BadManifest, BadRecord, BadStore
from ecgtext_plugins.store.checksums import changed_files
from ecgtext_plugins.store.expected import differences
from ecgtext_plugins.store.listing import IDENTIFICATION
from ecgtext_plugins.store.manifest import Manifest, read_manifest, refuse_shared_patients
from ecgtext_plugins.store.reader import RecordStore
from ecgtext_plugins.store.splits import SPLITS

BLOCK = 500  # entries asked of a corpus at a time: each call may search whole tables
NAMED = 10  # of a kind of finding, at most
SUMS = "SHA256SUMS.txt"  # PhysioNet's list of a download's files
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be; a note is no error: nothing is wrong with the store itself."""

    kind: str
    message: str
    is_error: bool = True


def verify_store(store: RecordStore, progress: Progress = lambda size: None) -> Iterator[Finding]:
    """Check a finished store by itself: files, counts, ids, duplicate signals, manifests, expected figures."""
    changed = list(changed_files(store.folder, progress))
    for name, found in changed[:NAMED]:
        yield Finding("file", f"{store.folder / name} {found}: expected the file of the build; build with --rebuild")
    if len(changed) > NAMED:
        yield Finding("file", f"{len(changed) - NAMED} further files differ from what the build wrote")
    try:
        yield from _counts(store)
        yield from _duplicates(store)
        yield from _manifests(store)
    except (BadStore, pa.ArrowException, OSError) as error:
        yield Finding("table", str(error))
    for row in differences(store.corpus, store.corpus["recipe"]["expected"]):
        what = ".".join(row["what"])
        yield Finding("expected", f"{what} is {row['found']:,}: the recipe expects {row['expected']:,}", is_error=False)


def _counts(store: RecordStore) -> Iterator[Finding]:
    counts = store.corpus["counts"]
    rows = {name: pq.read_metadata(store.folder / f"{name}.parquet").num_rows for name in ("records", "failures")}
    if counts["kept"] + counts["failed"] != counts["found"]:
        yield Finding("counts", f"corpus.json has {counts}: expected kept + failed = found; build with --rebuild")
    for name, key in (("records", "kept"), ("failures", "failed")):
        if rows[name] != counts[key]:
            yield Finding(
                "counts",
                f"{name}.parquet has {rows[name]:,} rows: expected {counts[key]:,} as corpus.json says; build with "
                "--rebuild",
            )


def _duplicates(store: RecordStore) -> Iterator[Finding]:
    """Look for record ids and decoded signals that are there more than once."""
    columns = ("record_id", "patient_id", "split", "checksum")
    table = pa.table({name: store.text_column(name) for name in columns})
    twice = _repeated(table, "record_id", [])
    if len(twice):
        ids = ", ".join(twice["record_id"].slice(0, NAMED).to_pylist())
        yield Finding("duplicate_id", f"{len(twice)} record ids are there more than once ({ids}): expected each once")
    copies = _repeated(table, "checksum", [("split", "count_distinct"), ("patient_id", "count_distinct")])
    if not len(copies):
        return
    number, groups = pc.sum(copies["checksum_count"]).as_py(), len(copies)
    first = pc.is_in(table["checksum"], value_set=copies["checksum"].slice(0, 1).combine_chunks())
    ids = ", ".join(table.filter(first)["record_id"].slice(0, NAMED).to_pylist())
    across = pc.sum(pc.greater(copies["split_count_distinct"], 1)).as_py()
    patients = pc.sum(pc.greater(copies["patient_id_count_distinct"], 1)).as_py()
    yield Finding(
        "duplicate_signal",
        f"{number:,} records are {groups:,} signals ({across:,} of these in several splits, {patients:,} under several "
        f"patients; one is {ids}): expected each signal once; leave the copies out of the raw data, or accept them",
        is_error=across > 0,
    )


def _repeated(table: pa.Table, key: str, more: list[tuple[str, str]]) -> pa.Table:
    counted = table.group_by(key).aggregate([(key, "count"), *more])
    return counted.filter(pc.greater(counted[f"{key}_count"], 1)).sort_by(key)


def _manifests(store: RecordStore) -> Iterator[Finding]:
    """Read every manifest; those of one folder must share no patient, identification's galleries excepted."""
    folder = store.folder / "manifests"
    for place in [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]:
        read: list[Manifest] = []
        for path in sorted(place.glob("*.tsv")):
            try:
                manifest = read_manifest(path)
            except (BadManifest, BadStore) as error:
                yield Finding("manifest", str(error))
                continue
            if path.stem in SPLITS and place.name != IDENTIFICATION:
                read.append(manifest)
        try:
            refuse_shared_patients(read)
        except BadManifest as error:
            yield Finding("patients", str(error))


def verify_download(raw: RawFolder, progress: Progress = lambda size: None) -> Iterator[Finding]:
    """Compare the files of a download with its SHA256SUMS.txt; progress is called with the bytes of each."""
    if not raw.is_file(SUMS):
        yield Finding("sums", f"{raw} has no {SUMS}: nothing to compare the download's files with", is_error=False)
        return
    wrong: dict[str, list[str]] = {"missing": [], "different": [], "unreadable": []}
    for number, line in enumerate(raw.read(SUMS).decode("utf-8", "replace").splitlines(), start=1):
        digest, _, name = line.strip().partition(" ")
        name = name.strip().removeprefix("*")
        if not name and not digest:
            continue
        if len(digest) != 64 or not name:
            yield Finding("sums", f"{raw}/{SUMS} line {number} is {line[:80]!r}: expected a SHA-256 and a file's name")
            continue
        try:
            if raw.sha256(name) != digest.lower():
                wrong["different"].append(name)
            progress(raw.size(name))
        except FileNotFoundError:
            wrong["missing"].append(name)
        except OSError:
            wrong["unreadable"].append(name)
    for what, names in wrong.items():
        if names:
            first = ", ".join(names[:NAMED])
            yield Finding(
                "download", f"{len(names)} files of {raw} are {what} by its {SUMS} ({first}): download them again"
            )


def _entries(corpus: Corpus, places: np.ndarray) -> Iterator[tuple[int, RecordEntry]]:
    """Yield the entries at `places`, ascending, asking the corpus for a block of them at a time."""
    for block in np.unique(places // BLOCK).tolist():
        start = block * BLOCK
        entries = corpus.entries(start, min(start + BLOCK, len(corpus.record_ids)))
        for place in places[(places >= start) & (places < start + BLOCK)].tolist():
            yield place, entries[place - start]


def verify_signals(
    store: RecordStore, raw: RawFolder, tables: str | Path | None, sample: int, progress: Progress = lambda size: None
) -> Iterator[Finding]:
    """Read a seeded sample of the records again (all with 0) and compare their decoded signals with the store's."""
    recipe = store.corpus["recipe"]
    corpus = open_corpus(recipe, raw, tables)
    listed = pc.index_in(corpus.record_ids, value_set=store.text_column("record_id"))
    places = np.flatnonzero(listed.is_valid().to_numpy())
    if sample and sample < len(places):
        places = np.sort(np.random.default_rng(0).choice(places, sample, replace=False))
    lost = len(store) - len(listed.drop_null())
    if lost:
        yield Finding("signal", f"{lost:,} records of the store are no longer in {raw}: expected all of them")
    checksums = store.text_column("checksum")
    for place, entry in _entries(corpus, places):
        try:
            checksum = READERS[recipe["reader"]].read_entry(raw, entry, recipe).checksum
        except BadRecord as error:
            yield Finding("signal", f"{error.message}; the store has it")
            continue
        finally:
            progress(1)
        if checksum != checksums[listed[place].as_py()].as_py():
            yield Finding(
                "signal",
                f"record {entry.record_id} in {raw} decodes to another signal than the store's: expected the same; "
                "download it again, or build with --rebuild",
            )
