"""Manifests: lists of a store's records as tab-separated text, with the store's place in the first line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgtext_plugins import atomic_files
from ecgtext_plugins.errors import BadManifest
from ecgtext_plugins.store.reader import RecordStore

COLUMNS = ("record_id", "n_samples")
_BODY = re.compile(r"(?:[^\t\n]+\t[0-9]{1,18}\n)*")


@dataclass
class Manifest:
    """Records of one store, in the manifest's order; `rows` (R,) int64 are their rows in the store."""

    path: Path
    store: RecordStore
    record_ids: list[str]
    rows: np.ndarray
    n_samples: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def refuse_shared_patients(manifests: "list[Manifest]") -> None:
    """Raise BadManifest when a patient of one manifest is in another one of the same store."""
    for place, one in enumerate(manifests):
        ours = set(one.store.column("patient_id")[one.rows])
        for other in manifests[:place]:
            if other.store.folder != one.store.folder or other.path == one.path:
                continue
            shared = ours.intersection(other.store.column("patient_id")[other.rows])
            if shared:
                raise BadManifest(
                    f"{len(shared)} patients are in both {other.path} and {one.path} (one is {min(shared)}): expected "
                    "splits by patient; build the store again with --rebuild, or mend the manifests"
                )


def read_manifest(path: str | Path) -> Manifest:
    """Read a manifest, open its store and look its records up.

    Raises
    ------
    BadManifest
        When it is missing or malformed, lists a record twice, or names a record or length that the store does not have.
    BadStore
        When the store it points to cannot be opened.
    """
    path = Path(path)
    root, columns, body = _parts(path)
    if columns.split("\t") != list(COLUMNS):
        raise BadManifest(
            f"{path} has the columns {columns[:80]!r}: expected the store's folder in line 1 and "
            "record_id<TAB>n_samples in line 2; build it with `ecgtext manifest build`"
        )
    if not _BODY.fullmatch(body):
        _refuse_line(path, body)
    cells = body.replace("\n", "\t").split("\t")
    record_ids = cells[0:-1:2]
    n_samples = np.array(cells[1::2], dtype=np.int64) if record_ids else np.zeros(0, dtype=np.int64)
    store = RecordStore.open(path.parent / root)
    rows = store.rows_of(record_ids, source=str(path))
    _check(path, store, record_ids, rows, n_samples)
    return Manifest(path, store, record_ids, rows, n_samples)


def write_manifest(path: str | Path, record_ids: Sequence[str], n_samples: Sequence[int], root: str = "..") -> None:
    """Write a manifest atomically; `root` is the store's folder relative to the manifest's."""
    lines = [root, "\t".join(COLUMNS)]
    lines += [f"{record_id}\t{int(length)}" for record_id, length in zip(record_ids, n_samples, strict=True)]
    atomic_files.write_text(path, "\n".join(lines) + "\n")


def _parts(path: Path) -> tuple[str, str, str]:
    """Return line 1, line 2 and the rest, which ends with a newline unless it is empty."""
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadManifest(
            f"manifest {path} cannot be read ({error}): expected one made by `ecgtext manifest build`; build it first"
        ) from None
    text = text.replace("\r\n", "\n")
    root, _, rest = (text if text.endswith("\n") else text + "\n").partition("\n")
    columns, _, body = rest.partition("\n")
    return root, columns, body


def _refuse_line(path: Path, body: str) -> None:
    for number, line in enumerate(body.removesuffix("\n").split("\n"), start=3):
        if not _BODY.fullmatch(line + "\n"):
            raise BadManifest(
                f"{path} line {number} is {line[:80]!r}: expected record_id<TAB>n_samples; correct it or build the "
                "manifest again"
            )


def _check(path: Path, store: RecordStore, record_ids: list[str], rows: np.ndarray, n_samples: np.ndarray) -> None:
    unique, first = np.unique(rows, return_index=True)
    if len(unique) != len(rows):
        twice = int(np.setdiff1d(np.arange(len(rows)), first)[0])
        raise BadManifest(f"{path} lists record {record_ids[twice]} twice: expected each once; remove one line")
    wrong = np.flatnonzero(store.column("n_samples")[rows] != n_samples)
    if len(wrong):
        there = int(store.column("n_samples")[rows[wrong[0]]])
        raise BadManifest(
            f"{path} gives record {record_ids[wrong[0]]} {n_samples[wrong[0]]} samples: expected {there} as in store "
            f"{store.folder}; build the manifest again"
        )
