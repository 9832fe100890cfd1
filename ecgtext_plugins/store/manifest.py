"""Manifests: lists of a store's records as tab-separated text, with the store's place in the first line."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ecgtext_plugins import atomic_files
from ecgtext_plugins.errors import BadManifest
from ecgtext_plugins.store.fairseq_signals.manifests import is_fairseq_signals
from ecgtext_plugins.store.joined_stores import JoinedStores
from ecgtext_plugins.store.quantisation import restore
from ecgtext_plugins.store.reader import RecordStore

COLUMNS = ("record_id", "n_samples")
OPTIONAL = ("start", "identity", "store")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass
class Manifest:
    """Records, or windows of records, of one store or several, in the manifest's order.

    Attributes
    ----------
    path : Path
    store : RecordStore or JoinedStores or MatStore
    rows : ndarray (R,) int64
        Rows in the store.
    n_samples : ndarray (R,) int64
        Samples of each record or window.
    starts : ndarray (R,) int64
        Its first sample in the record; `windows` tells whether the manifest names it.
    identities : ndarray (R,) int64 or None
        Whose it is, in a manifest for identification.
    """

    path: Path
    store: RecordStore | JoinedStores
    rows: np.ndarray
    n_samples: np.ndarray
    starts: np.ndarray | None = None
    identities: np.ndarray | None = None
    windows: bool = field(init=False)

    def __post_init__(self):
        self.windows = self.starts is not None
        if self.starts is None:
            self.starts = np.zeros(len(self.rows), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def record_ids(self) -> list[str]:
        """The records' ids, made anew from the store's table: nothing is kept."""
        return self.store.text_column("record_id").take(self.rows).to_pylist()

    @property
    def holds_counts(self) -> bool:
        """Whether the store holds int16 counts, as record stores do; .mat files hold floating-point numbers."""
        return hasattr(self.store, "counts")

    def record_id(self, index: int) -> str:
        """Return the id of one record."""
        return self.store.column("record_id")[self.rows[index]]

    def counts(self, index: int) -> np.ndarray:
        """Return the stored counts of a record or window, int16 (12, T), a read-only view of the file."""
        start = int(self.starts[index])
        return self.store.counts(int(self.rows[index]))[:, start : start + int(self.n_samples[index])]

    def signal_mv(self, index: int) -> np.ndarray:
        """Return a record's or window's signal, float32 (12, T) millivolt, missing samples NaN."""
        row = int(self.rows[index])
        if not self.holds_counts:
            start = int(self.starts[index])
            return self.store.signal_mv(row)[:, start : start + int(self.n_samples[index])]
        return restore(self.counts(index), self.store.step_mv(row))


def refuse_shared_patients(manifests: "list[Manifest]") -> None:
    """Raise BadManifest when a patient of one manifest is in another one of the same store."""
    patients = [(manifest.path, _patients(manifest)) for manifest in manifests]
    for place, (path, ours) in enumerate(patients):
        for other, theirs in patients[:place]:
            for folder in ours.keys() & theirs.keys() if other != path else ():
                shared = ours[folder].filter(pc.is_in(ours[folder], value_set=theirs[folder]))
                if len(shared):
                    raise BadManifest(
                        f"{len(shared)} patients are in both {other} and {path} (one is {pc.min(shared)}): expected "
                        "splits by patient; build the store again with --rebuild, or mend the manifests"
                    )


def _patients(manifest: Manifest) -> dict[Path, pa.Array]:
    """Return the patients of a manifest by the folder of their store."""
    store, rows = manifest.store, manifest.rows
    parts = store.split_rows(rows) if isinstance(store, JoinedStores) else {store.folder: (store, rows)}
    return {folder: pc.unique(one.text_column("patient_id").take(own)) for folder, (one, own) in parts.items()}


def read_manifest(path: str | Path) -> Manifest:
    """Read a manifest, open its store and look its records up.

    Raises
    ------
    BadManifest
        When it is missing or malformed, lists a record or window twice, or names a record, length or window that the
        store does not have.
    BadStore
        When the store it points to cannot be opened.
    """
    path = Path(path)
    if is_fairseq_signals(path):
        from ecgtext_plugins.store.fairseq_signals.mat_manifest import read_mat_manifest

        return read_mat_manifest(path)
    root, columns, body = _parts(path)
    table = _parse(path, columns, body)
    store, rows = _look_up(path, path.parent / root, table)
    n_samples = table["n_samples"].to_numpy()
    starts = table["start"].to_numpy() if "start" in columns else None
    manifest = Manifest(path, store, rows, n_samples, starts)
    if "identity" in columns:
        manifest.identities = table["identity"].to_numpy()
    _check(manifest, whole=starts is None)
    return manifest


def write_manifest(
    path: str | Path,
    record_ids: Sequence[str] | pa.ChunkedArray,
    n_samples: Sequence[int],
    root: str = "..",
    starts: Sequence[int] | None = None,
    identities: Sequence[int] | None = None,
    stores: Sequence[str] | None = None,
) -> None:
    """Write a manifest atomically.

    Parameters
    ----------
    root : str
        The store's folder relative to the manifest's; with `stores`, the folder that they are relative to.
    starts, identities, stores : sequence or None
        Of windows their first samples; of identification the classes; of several stores each record's folder.
    """
    given = {"record_id": record_ids, "n_samples": n_samples, "start": starts, "identity": identities, "store": stores}
    columns = {name: values for name, values in given.items() if values is not None}
    texts = [pa.array(values).cast(pa.string()) if not _is_arrow(values) else values for values in columns.values()]
    lines = pc.binary_join_element_wise(*texts, "\t") if len(texts[0]) else pa.array([], pa.string())
    atomic_files.write_text(path, "\n".join([root, "\t".join(columns), *lines.to_pylist()]) + "\n")


def _is_arrow(values: object) -> bool:
    return isinstance(values, pa.Array | pa.ChunkedArray)


def _parts(path: Path) -> tuple[str, list[str], bytes]:
    """Return line 1, the names in line 2 and the rest."""
    try:
        content = path.read_bytes()
        head = b"\n".join(content.split(b"\n", 2)[:2]).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadManifest(
            f"manifest {path} cannot be read ({error}): expected one made by `ecgtext manifest build`; build it first"
        ) from None
    if b"\r\n" in content:
        content = content.replace(b"\r\n", b"\n")
    root, _, columns = head.replace("\r", "").partition("\n")
    names = columns.split("\t")
    if tuple(names[:2]) != COLUMNS or len(set(names)) != len(names) or set(names) - {*COLUMNS, *OPTIONAL}:
        raise BadManifest(
            f"{path} has the columns {columns[:80]!r}: expected the store's folder in line 1 and "
            f"record_id<TAB>n_samples in line 2, and after them {', '.join(OPTIONAL)} where needed; build it with "
            "`ecgtext manifest build`"
        )
    return root, names, content.split(b"\n", 2)[2] if content.count(b"\n") > 1 else b""


def _parse(path: Path, columns: list[str], body: bytes) -> pa.Table:
    types = {name: pa.string() if name in ("record_id", "store") else pa.int64() for name in columns}
    schema = pa.schema(list(types.items()))
    if not body:
        return schema.empty_table()
    try:
        table = csv.read_csv(
            io.BytesIO(body),
            read_options=csv.ReadOptions(column_names=columns),
            parse_options=csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(column_types=schema, null_values=[], strings_can_be_null=False),
        ).combine_chunks()
    except pa.ArrowInvalid as error:
        raise _bad_line(path, columns, body, str(error)) from None
    least = min((pc.min(table[name]).as_py() for name in columns if types[name] == pa.int64()), default=0)
    texts = [name for name in columns if types[name] == pa.string()]
    if least < 0 or any(pc.min(pc.binary_length(table[name])).as_py() == 0 for name in texts):
        raise _bad_line(path, columns, body, "a negative number or an empty cell")
    return table


def _bad_line(path: Path, columns: list[str], body: bytes, error: str) -> BadManifest:
    """Find the first line that is not as it should be."""
    for number, line in enumerate(body.decode("utf-8", "replace").removesuffix("\n").split("\n"), start=3):
        cells = line.split("\t")
        texts = [cell for cell, name in zip(cells, columns, strict=False) if name in ("record_id", "store")]
        numbers = [cell for cell, name in zip(cells, columns, strict=False) if name not in ("record_id", "store")]
        if len(cells) != len(columns) or not all(texts) or not all(map(_WHOLE_NUMBER.fullmatch, numbers)):
            return BadManifest(
                f"{path} line {number} is {line[:80]!r}: expected {'<TAB>'.join(columns)}; correct it or build the "
                "manifest again"
            )
    return BadManifest(f"{path} is malformed ({error}): expected {'<TAB>'.join(columns)} a line; build it again")


def _look_up(path: Path, root: Path, table: pa.Table) -> tuple[RecordStore | JoinedStores, np.ndarray]:
    """Open the store or stores; return also the rows of the manifest's records."""
    if "store" not in table.column_names:
        store = RecordStore.open(root)
        return store, store.rows_of(table["record_id"], source=str(path))
    names = pc.unique(table["store"]).to_pylist()
    store = JoinedStores(root.resolve(), {name: RecordStore.open(root / name) for name in names})
    return store, store.rows_in(table["store"], table["record_id"], source=str(path))


def _check(manifest: Manifest, whole: bool) -> None:
    path, rows, n_samples, starts = manifest.path, manifest.rows, manifest.n_samples, manifest.starts
    order = np.lexsort((starts, rows))
    same = (np.diff(rows[order]) == 0) & (np.diff(starts[order]) == 0)
    if same.any():
        twice = int(order[1:][same].min())
        raise BadManifest(
            f"{path} lists record {manifest.record_id(twice)} twice: expected each record or window once; remove one "
            "line"
        )
    lengths = manifest.store.column("n_samples")[rows]
    wrong = np.flatnonzero(lengths != n_samples if whole else (n_samples > lengths - starts) | (n_samples == 0))
    if len(wrong):
        first = int(wrong[0])
        found = f"{n_samples[first]} samples" + ("" if whole else f" from sample {starts[first]} on")
        raise BadManifest(
            f"{path} gives record {manifest.record_id(first)} {found}: expected {lengths[first]} as in store "
            f"{manifest.store.folder}; build the manifest again"
        )
