"""MIMIC-IV-ECG v1.0 (https://physionet.org/content/mimic-iv-ecg/1.0/), and other corpora laid out like it.

`record_list.csv` lists the records, `machine_measurements.csv` has the lines of the machine's reports, `report_0` ..
`report_17`. Files store aVF before aVL; leads go by name.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora.csv_tables import column_names, read_columns, refuse_duplicates
from ecgtext_plugins.corpora.label_table import LabelTable, sorted_rows
from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.corpora.report_text import join_report_lines
from ecgtext_plugins.corpora.wfdb_records import read_wfdb
from ecgtext_plugins.errors import BadRawData, BadRecord

RECORDS, REPORTS = "record_list.csv", "machine_measurements.csv"
_REPORT_COLUMN = re.compile(r"report_(\d+)")


class MimicIvEcg:
    """The corpus under `raw`: record id = study_id, patient id = subject_id.

    Parameters
    ----------
    raw : Path
        Folder with record_list.csv, machine_measurements.csv and files/.
    recipe : mapping
        A resolved corpus recipe; `labels` as in :class:`LabelTable`.

    Raises
    ------
    BadRawData
        When the folder is not MIMIC-IV-ECG, or its tables are malformed or list a record twice.
    """

    def __init__(self, raw: Path, recipe: dict[str, Any]):
        lacking = [name for name in (RECORDS, REPORTS) if not (raw / name).is_file()]
        if lacking:
            raise BadRawData(
                f"{raw} is not MIMIC-IV-ECG: {' and '.join(lacking)} not found: expected {RECORDS}, {REPORTS} and the "
                "folder files/; give the folder that holds them as --raw"
            )
        self.raw = raw
        self.table_files = [raw / RECORDS, raw / REPORTS]
        table = read_columns(raw / RECORDS, ["subject_id", "study_id", "path"])
        excluded = {name.strip("/") for name in recipe.get("exclude_sources") or []}
        if excluded:
            table = table.filter(pa.array([not is_under(path, excluded) for path in table["path"].to_pylist()]))
        if not len(table):
            raise BadRawData(f"{raw / RECORDS} lists no record: expected at least one; download it again")
        refuse_duplicates(table["study_id"], f"study_id values in {raw / RECORDS}")
        self._table = table.take(sorted_rows(table["study_id"]))
        self._read_reports()
        self.labels = LabelTable(raw, recipe["labels"]) if recipe.get("labels") else None
        self.label_names = self.labels.names if self.labels else []
        self.table_files += self.labels.files if self.labels else []

    def _read_reports(self) -> None:
        path = self.raw / REPORTS
        columns = [name for name in column_names(path) if _REPORT_COLUMN.fullmatch(name)]
        if not columns:
            raise BadRawData(
                f"{path} has no column report_0: expected report_0 to report_17; use the table as published"
            )
        columns.sort(key=lambda name: int(_REPORT_COLUMN.fullmatch(name)[1]))
        table = read_columns(path, ["study_id", *columns])
        refuse_duplicates(table["study_id"], f"study_id values in {path}")
        self._report_rows = pc.index_in(self._table["study_id"], value_set=table["study_id"]).combine_chunks()
        self._reports = table.select(columns)

    @property
    def record_ids(self) -> pa.ChunkedArray:
        """All record ids, ascending as text."""
        return self._table["study_id"]

    def entries(self, start: int, stop: int) -> list[RecordEntry]:
        """Return the entries at places `start` to `stop` of `record_ids`."""
        part = self._table.slice(start, stop - start)
        rows = self._report_rows.slice(start, stop - start)
        lines = zip(*self._reports.take(rows).to_pydict().values(), strict=True)
        known = rows.is_valid().to_pylist()
        reports = (join_report_lines(line) if there else None for line, there in zip(lines, known, strict=True))
        labels: Iterator | list = self.labels.of(part["study_id"]) if self.labels else [()] * len(part)
        columns = (part[name].to_pylist() for name in ("study_id", "subject_id", "path"))
        return [
            RecordEntry(record_id, patient_id, path, report, labels_of)
            for record_id, patient_id, path, report, labels_of in zip(*columns, reports, labels, strict=True)
        ]


def is_under(path: str, folders: set[str]) -> bool:
    """Tell whether one of `folders` is above `path` (``files/p1000``) or names a folder in it (``p1000``)."""
    parts = PurePosixPath(path).parts
    return any(part in folders for part in parts[:-1]) or any(path.startswith(f"{folder}/") for folder in folders)


def safe_source(entry: RecordEntry) -> PurePosixPath:
    """Return the entry's path, or raise BadRecord ``unsafe_path`` when it leads out of the raw folder."""
    path = PurePosixPath(entry.source_path)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in entry.source_path:
        raise BadRecord(
            "unsafe_path",
            f"record {entry.record_id}: its path is '{entry.source_path[:120]}': expected one inside the raw folder, "
            "such as files/p1000/p10000032/s40689238/40689238; correct it in the table",
        )
    return path


def read_entry(raw: Path, entry: RecordEntry) -> EcgRecord:
    """Read the recording of `entry`; raises BadRecord (see :func:`read_wfdb`)."""
    read = read_wfdb(raw / safe_source(entry), f"record {entry.record_id}")
    return EcgRecord(
        record_id=entry.record_id,
        patient_id=entry.patient_id,
        source_path=entry.source_path,
        signal=read.signal,
        native_rate=read.rate,
        step_uv=read.step_uv,
        missing_leads=read.missing_leads,
        report=entry.report,
        labels=entry.labels,
        age=entry.age,
        sex=entry.sex,
    )
