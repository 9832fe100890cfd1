"""MIMIC-IV-ECG v1.0 (https://physionet.org/content/mimic-iv-ecg/1.0/), and other corpora laid out like it.

`record_list.csv` lists the records, `machine_measurements.csv` has the lines of the machine's reports, `report_0` ..
`report_17`. Files store aVF before aVL; leads go by name.
"""

import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora.corpus import Reader
from ecgtext_plugins.corpora.csv_tables import column_names, read_columns, refuse_duplicates
from ecgtext_plugins.corpora.label_table import LabelTable, sorted_rows
from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables, is_under
from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.corpora.report_text import join_report_lines
from ecgtext_plugins.corpora.wfdb_records import read_wfdb
from ecgtext_plugins.errors import BadRawData

RECORDS, REPORTS = "record_list.csv", "machine_measurements.csv"
_REPORT_COLUMN = re.compile(r"report_(\d+)")


class MimicIvEcg:
    """The corpus under `raw`: record id = study_id, patient id = subject_id.

    Parameters
    ----------
    raw : RawFolder
        Folder with record_list.csv, machine_measurements.csv and files/.
    recipe : mapping
        A resolved corpus recipe; `labels` as in :class:`LabelTable`.

    Raises
    ------
    BadRawData
        When the folder is not MIMIC-IV-ECG, or its tables are malformed or list a record twice.
    """

    def __init__(self, raw: RawFolder, tables: Tables, recipe: dict[str, Any]):
        self.published_subsets: dict[str, list[str]] = {}
        lacking = [name for name in (RECORDS, REPORTS) if not raw.is_file(name)]
        if lacking:
            raise BadRawData(
                f"{raw} is not MIMIC-IV-ECG: {' and '.join(lacking)} not found: expected {RECORDS}, {REPORTS} and the "
                "folder files/; give the folder that holds them as --raw"
            )
        self.raw = raw
        self.table_files = [(raw, RECORDS), (raw, REPORTS)]
        table = read_columns(raw, RECORDS, ["subject_id", "study_id", "path"])
        excluded = {name.strip("/") for name in recipe.get("exclude_sources") or []}
        if excluded:
            table = table.filter(pa.array([not is_under(path, excluded) for path in table["path"].to_pylist()]))
        if not len(table):
            raise BadRawData(f"{raw}/{RECORDS} lists no record: expected at least one; download it again")
        refuse_duplicates(table["study_id"], f"study_id values in {raw}/{RECORDS}")
        self._table = table.take(sorted_rows(table["study_id"]))
        self._read_reports()
        self.labels = LabelTable(tables, recipe["labels"]) if recipe.get("labels") else None
        self.label_names = self.labels.names if self.labels else []
        self.table_files += self.labels.files if self.labels else []

    def _read_reports(self) -> None:
        path = f"{self.raw}/{REPORTS}"
        columns = [name for name in column_names(self.raw, REPORTS) if _REPORT_COLUMN.fullmatch(name)]
        if not columns:
            raise BadRawData(
                f"{path} has no column report_0: expected report_0 to report_17; use the table as published"
            )
        columns.sort(key=lambda name: int(_REPORT_COLUMN.fullmatch(name)[1]))
        table = read_columns(self.raw, REPORTS, ["study_id", *columns])
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


def read_entry(raw: RawFolder, entry: RecordEntry, recipe: dict[str, Any]) -> EcgRecord:
    """Read the recording of `entry`; raises BadRecord (see :func:`read_wfdb`)."""
    return read_wfdb(raw, entry).record(entry)


READER = Reader(MimicIvEcg, read_entry, label_tables=True)
