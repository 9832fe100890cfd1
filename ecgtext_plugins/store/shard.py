"""One shard: read its entries, write its signals, rows and failures, then its marker."""

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecgtext_plugins import atomic_files
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.readers import READERS
from ecgtext_plugins.corpora.record import RecordEntry
from ecgtext_plugins.errors import BadRecord, BadStore
from ecgtext_plugins.store.conversion import convert
from ecgtext_plugins.store.tables import FAILURES, SHARD_ROWS, table_of, write_table


@dataclass(frozen=True, slots=True)
class ShardPaths:
    """Where the files of shard `number` of the store in `folder` lie."""

    folder: Path
    number: int

    @property
    def signals(self) -> Path:
        """Flat int16 vector."""
        return self.folder / "signals" / f"shard-{self.number:05d}.npy"

    @property
    def marker(self) -> Path:
        """Written last: the shard is done when it is there."""
        return self.folder / "signals" / f"shard-{self.number:05d}.done"

    def digest(self) -> str:
        """Return the SHA-256 of the signals' file, as the marker has it."""
        return json.loads(self.marker.read_text("utf-8"))["sha256"]

    @property
    def rows(self) -> Path:
        """Kept records; until the build has finished."""
        return self.folder / ".build" / f"shard-{self.number:05d}.rows.parquet"

    @property
    def failures(self) -> Path:
        """Rejected records; until the build has finished."""
        return self.folder / ".build" / f"shard-{self.number:05d}.failures.parquet"


@dataclass(frozen=True, slots=True)
class ShardTask:
    """What a worker needs to write one shard."""

    paths: ShardPaths
    raw: RawFolder
    entries: tuple[RecordEntry, ...]
    recipe: dict[str, Any]
    fingerprint: str  # of the recipe: goes into the marker


def write_shard(task: ShardTask) -> tuple[int, int]:
    """Write the shard of `task`; return how many records were kept and failed.

    Raises
    ------
    BadStore
        When its files cannot be written (a full disk, say).
    """
    kept, failed = read_entries(task)
    offset = 0
    for counts, row in kept:
        row.update(shard=task.paths.number, offset=offset)
        offset += counts.size
    try:
        sha256 = _write_signals(task.paths.signals, [counts for counts, _ in kept], offset)
        write_table(task.paths.rows, table_of((row for _, row in kept), SHARD_ROWS))
        write_table(task.paths.failures, table_of(failed, FAILURES))
        marker = {
            "counts": offset,
            "failed": len(failed),
            "kept": len(kept),
            "fingerprint": task.fingerprint,
            "sha256": sha256,
        }
        atomic_files.write_text(task.paths.marker, json.dumps(marker, sort_keys=True) + "\n")
    except OSError as error:
        raise BadStore(
            f"shard {task.paths.number} of {task.paths.folder} cannot be written ({error}): expected room and "
            "permission to write there; make some, then run the same command again"
        ) from None
    return len(kept), len(failed)


def read_entries(task: ShardTask) -> tuple[list[tuple[np.ndarray, dict[str, Any]]], list[dict[str, str]]]:
    """Read and convert the entries of `task`; return (counts, row) of those kept and the rows of those rejected."""
    read_entry = READERS[task.recipe["reader"]].read_entry
    kept, failed = [], []
    for entry in task.entries:
        try:
            _check_id(entry)
            kept.append(convert(read_entry(task.raw, entry, task.recipe), task.recipe))
        except BadRecord as error:
            failed.append(
                {
                    "record_id": entry.record_id,
                    "patient_id": entry.patient_id,
                    "source_path": entry.source_path,
                    "reason": error.reason,
                    "message": error.message.replace(str(task.raw), "RAW"),
                }
            )
    return kept, failed


def _check_id(entry: RecordEntry) -> None:
    for name, value in (("record", entry.record_id), ("patient", entry.patient_id)):
        if not value.strip() or not value.isprintable():
            raise BadRecord(
                "identifier",
                f"record {entry.record_id!r} has the {name} id {value!r}: expected printable text, as manifests are "
                "tab-separated; correct it in the source",
            )


def _write_signals(path: Path, signals: list[np.ndarray], total: int) -> str:
    """Write all counts end to end as one .npy vector of little-endian int16; return the file's SHA-256."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i2", "fortran_order": False, "shape": (total,)})
    digest = hashlib.sha256(header.getvalue())
    with atomic_files.replacing(path) as temporary, open(temporary, "wb") as handle:
        handle.write(header.getvalue())
        for counts in signals:
            data = np.ascontiguousarray(counts, dtype="<i2").data
            digest.update(data)
            handle.write(data)
    return digest.hexdigest()


def finished_shard(paths: ShardPaths, fingerprint: str) -> tuple[int, int] | None:
    """Return kept and failed of a shard that the recipe of `fingerprint` finished with whole files; else None."""
    try:
        marker = json.loads(paths.marker.read_text("utf-8"))
        signals = np.load(paths.signals, mmap_mode="r", allow_pickle=False) if marker["counts"] else None
        whole = signals is None or signals.shape == (marker["counts"],)
        there = paths.signals.is_file() and paths.rows.is_file() and paths.failures.is_file()
        done = whole and there and marker["fingerprint"] == fingerprint
        return (int(marker["kept"]), int(marker["failed"])) if done else None
    except (OSError, ValueError, KeyError, TypeError):  # no marker, or not one of ours: build the shard
        return None
