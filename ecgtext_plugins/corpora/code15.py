"""CODE-15% (https://zenodo.org/records/4916206): 345,779 exams of 233,770 patients at 400 Hz in 18 HDF5 files.

``exams.csv`` names each exam's file in `trace_file`; the row in it follows from the file's own `exam_id`, as the table
is in another order. The last row of each file is a filler with exam_id 0. Exams of a file that is not there or not
whole are rejected one by one, as many a user has downloaded some parts only. Leads are in the order I, II, III, aVR,
aVL, aVF, V1..V6, which is checked (:func:`lead_order`); the unit is mV (see :mod:`code_test`). Exams of 7 s are filled
up with zeros at both ends to 4,096 samples. An exam without any of the six labels need not be normal: normal_ecg says
that.
"""

import logging
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora.corpus import Reader
from ecgtext_plugins.corpora.csv_tables import column_names, read_columns, refuse_duplicates
from ecgtext_plugins.corpora.hdf5_tracings import DAMAGE, forget_open_files, open_dataset
from ecgtext_plugins.corpora.header_comments import age_of
from ecgtext_plugins.corpora.label_sets import LabelSets
from ecgtext_plugins.corpora.label_table import flagged, flags, sorted_rows
from ecgtext_plugins.corpora.lead_order import lead_order
from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables, safe_name
from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.corpora.tracing_records import OPTIONS, TracingEntry, check_options, read_tracing_entry
from ecgtext_plugins.corpora.wfdb_records import LARGEST_RECORD
from ecgtext_plugins.errors import BadRawData, BadRecord
from ecgtext_plugins.signals.leads import LEADS

logger = logging.getLogger(__name__)

SCHEME, EXAMS, EXAM_ID = "code15", "exams.csv", "exam_id"
LABELS = ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")
NORMAL = "normal_ecg"  # a seventh label where the table has it
FILLER = 0  # exam_id of the row that ends each file


class Code15:
    """The corpus under `raw`: record id = exam_id; `exclude_sources` leaves out files, such as exams_part17.hdf5.

    Raises
    ------
    BadRawData
        When there is no exams.csv or no HDF5 file, they are malformed, or list an exam twice.
    """

    def __init__(self, raw: RawFolder, tables: Tables, recipe: dict[str, Any]):
        self.raw = raw
        self.published_subsets: dict[str, list[str]] = {}
        folder, name = tables.find(EXAMS)
        path, self.table_files = f"{folder}/{name}", [(folder, name)]
        there = column_names(folder, name)
        self._labels = (*LABELS, *([NORMAL] if NORMAL in there else []))
        more = [column for column in ("age", "is_male") if column in there]
        table = read_columns(folder, name, [EXAM_ID, "patient_id", "trace_file", *self._labels, *more])
        excluded = {name.removesuffix(".hdf5") + ".hdf5" for name in recipe["exclude_sources"]}
        table = table.filter(
            pc.invert(pc.is_in(table["trace_file"], value_set=pa.array(sorted(excluded), pa.string())))
        )
        if not len(table):
            raise BadRawData(f"{path} lists no exam to read: expected at least one; download it again")
        refuse_duplicates(table[EXAM_ID], f"values of {EXAM_ID} in {path}")
        table = table.take(sorted_rows(table[EXAM_ID]))
        self._flags = flags(table, self._labels, path)
        self._is_male = flags(table, ["is_male"], path)[:, 0] if "is_male" in more else None
        self._table = table.drop([*self._labels, *(["is_male"] if "is_male" in more else [])])
        self._label_sets = LabelSets(recipe)
        self.label_names = self._label_sets.names({SCHEME: self._labels})
        forget_open_files()
        self._parts = _parts(raw)
        self._positions = self._find_rows()
        self._leads = self._find_leads(recipe["options"]["leads"])

    def _find_rows(self) -> np.ndarray:
        """Return each exam's row in its file, (n,) int32; -1 where the file does not say."""
        positions = np.full(len(self._table), -1, dtype=np.int32)
        for trace_file in pc.unique(self._table["trace_file"]).to_pylist():
            if trace_file not in self._parts:
                logger.warning("%s is not in %s: its exams are rejected", trace_file, self.raw)
                continue
            try:
                listed = _exam_ids(self.raw, self._parts[trace_file], trace_file)
            except BadRecord as error:
                logger.warning("%s: its exams are rejected", error.message)
                continue
            here = np.flatnonzero(pc.equal(self._table["trace_file"], trace_file).to_numpy())
            rows = pc.index_in(self._table[EXAM_ID].take(pa.array(here)), value_set=listed)
            positions[here] = pc.fill_null(rows, -1).to_numpy()
        return positions

    def _find_leads(self, given: list[str] | None) -> tuple[str, ...]:
        for name in sorted(self._parts.values()):
            try:
                return lead_order(self.raw, name, given, name)
            except BadRecord:  # a file that is not whole: told above
                continue
        return LEADS

    @property
    def record_ids(self) -> pa.ChunkedArray:
        """All record ids, ascending as text."""
        return self._table[EXAM_ID]

    def entries(self, start: int, stop: int) -> list[RecordEntry]:
        """Return the entries at places `start` to `stop` of `record_ids`."""
        part = self._table.slice(start, stop - start)
        names = part.column_names
        ages = part["age"].to_pylist() if "age" in names else [""] * len(part)
        sexes = [""] * len(part) if self._is_male is None else np.where(self._is_male[start:stop], "M", "F").tolist()
        columns = (part[name].to_pylist() for name in (EXAM_ID, "patient_id", "trace_file"))
        found, rows = flagged(self._flags[start:stop], self._labels), self._positions[start:stop].tolist()
        return [
            TracingEntry(
                record_id=exam_id,
                patient_id=patient_id,
                source_path=self._parts.get(trace_file, trace_file),
                labels=self._label_sets.labels({SCHEME: labels}),
                age=age_of(age),
                sex=sex,
                position=row,
                leads=self._leads,
            )
            for exam_id, patient_id, trace_file, age, sex, labels, row in zip(
                *columns, ages, sexes, found, rows, strict=True
            )
        ]


def _parts(raw: RawFolder) -> dict[str, str]:
    """Return the HDF5 files below `raw` by file name."""
    paths = raw.names(".hdf5")
    if not paths:
        raise BadRawData(
            f"{raw} is not CODE-15%: no .hdf5 file in it or its sub-folders: expected exams_part0.hdf5 and so on; "
            "unpack exams_part*.zip there"
        )
    names = pa.chunked_array([[path.rpartition("/")[2] for path in paths]], pa.string())
    refuse_duplicates(names, f"names of HDF5 files under {raw}")
    return dict(zip(names.to_pylist(), paths, strict=True))


def _exam_ids(raw: RawFolder, name: str, source: str) -> pa.Array:
    """Return the exam ids of a file as text, in the order of its rows; the filler's is null."""
    found = open_dataset(raw, name, EXAM_ID, source)
    if found.ndim != 1 or found.dtype.kind not in "iu" or len(found) > LARGEST_RECORD:
        raise BadRecord(
            "shape",
            f"{source}: {EXAM_ID} is {found.dtype} {found.shape}: expected whole numbers (rows,); download it again",
        )
    try:
        ids = found[()].astype(np.int64)
    except DAMAGE as error:
        raise BadRecord(
            "truncated", f"{source}: {EXAM_ID} cannot be read ({error}): expected a whole file; download it again"
        ) from None
    refuse_duplicates(pa.chunked_array([ids[ids != FILLER]]), f"values of {EXAM_ID} in {raw}/{name}")
    return pc.if_else(pa.array(ids == FILLER), pa.scalar(None, pa.string()), pa.array(ids).cast(pa.string()))


def read_entry(raw: RawFolder, entry: TracingEntry, recipe: dict[str, Any]) -> EcgRecord:
    """Read the tracing of `entry`.

    Raises
    ------
    BadRecord
        ``unsafe_path``; ``missing_row`` for an exam that its file does not list; what :func:`read_tracing_entry`
        raises.
    """
    source = f"record {entry.record_id}"
    name = safe_name(entry.source_path, source)
    if entry.position < 0:
        _exam_ids(raw, name, source)
        raise BadRecord(
            "missing_row", f"{source}: {EXAM_ID} of {name} does not list it: expected it there; download both again"
        )
    return read_tracing_entry(raw, entry, recipe)


READER = Reader(Code15, read_entry, options=dict(OPTIONS), label_schemes=(SCHEME,), check=check_options)
