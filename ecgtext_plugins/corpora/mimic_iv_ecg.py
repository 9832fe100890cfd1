"""MIMIC-IV-ECG v1.0 (https://physionet.org/content/mimic-iv-ecg/1.0/), and other corpora laid out like it.

`record_list.csv` lists the records with their time, `machine_measurements.csv` has the cart and the lines of its
report, `report_0` .. `report_17`. Sex and age are in the table patients of MIMIC-IV itself (its module hosp), which the
recipe's `options.patients` names. Files store aVF before aVL; leads go by name.
"""

import math
import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora.corpus import Reader
from ecgtext_plugins.corpora.csv_tables import column_names, read_columns, refuse_duplicates
from ecgtext_plugins.corpora.excluded import without_excluded
from ecgtext_plugins.corpora.label_table import LabelTable, sorted_rows
from ecgtext_plugins.corpora.mimic_patients import MimicPatients
from ecgtext_plugins.corpora.option_checks import check_table
from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables
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
        A resolved corpus recipe; `labels` as in :class:`LabelTable`, `options.patients` names MIMIC-IV's table.

    Raises
    ------
    BadRawData
        When the folder is not MIMIC-IV-ECG, its tables are malformed or list a record twice, or a table that the recipe
        names is missing or has none of the records.
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
        table = _read_known(raw, RECORDS, ["subject_id", "study_id", "path"], ["ecg_time"])
        if not len(table):
            raise BadRawData(f"{raw}/{RECORDS} lists no record: expected at least one; download it again")
        table = without_excluded(table, recipe)
        refuse_duplicates(table["study_id"], f"study_id values in {raw}/{RECORDS}")
        self._table = table.take(sorted_rows(table["study_id"]))
        self._separator = recipe["reports"]["separator"]
        self._read_reports()
        self._patients = self.labels = None
        if recipe["options"]["patients"] is not None:
            self._patients = MimicPatients(*tables.find(recipe["options"]["patients"]))
            self._patients.refuse_strangers(self._table["subject_id"])
            self.table_files += self._patients.files
        if recipe["labels"] is not None:
            self.labels = LabelTable(tables, recipe["labels"])
            self.labels.refuse_strangers(self._table["study_id"])
            self.table_files += self.labels.files
        self.label_names = self.labels.names if self.labels else []

    def _read_reports(self) -> None:
        path = f"{self.raw}/{REPORTS}"
        columns = [name for name in column_names(self.raw, REPORTS) if _REPORT_COLUMN.fullmatch(name)]
        if not columns:
            raise BadRawData(
                f"{path} has no column report_0: expected report_0 to report_17; use the table as published"
            )
        columns.sort(key=lambda name: int(_REPORT_COLUMN.fullmatch(name)[1]))
        table = _read_known(self.raw, REPORTS, ["study_id", *columns], ["cart_id"])
        refuse_duplicates(table["study_id"], f"study_id values in {path}")
        self._report_rows = pc.index_in(self._table["study_id"], value_set=table["study_id"]).combine_chunks()
        self._reports, self._carts = table.select(columns), table["cart_id"]

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
        reports = [
            join_report_lines(line, self._separator) if there else None
            for line, there in zip(lines, known, strict=True)
        ]
        columns = part.to_pydict()
        labels = self.labels.of(part["study_id"]) if self.labels else [()] * len(part)
        people = [(math.nan, "")] * len(part)
        if self._patients is not None:
            people = self._patients.of(part["subject_id"], columns["ecg_time"])
        carts = pc.fill_null(pc.take(self._carts, rows), "").to_pylist()
        return [
            RecordEntry(
                record_id=columns["study_id"][row],
                patient_id=columns["subject_id"][row],
                source_path=columns["path"][row],
                report=reports[row],
                labels=labels[row],
                age=people[row][0],
                sex=people[row][1],
                recorded_at=columns["ecg_time"][row],
                device=carts[row],
            )
            for row in range(len(part))
        ]


def _read_known(raw: RawFolder, name: str, columns: list[str], more: list[str]) -> pa.Table:
    """Read `columns`, and those of `more` that the table has; one that it lacks is empty."""
    there = set(column_names(raw, name))
    table = read_columns(raw, name, [*columns, *(column for column in more if column in there)])
    for column in more:
        if column not in there:
            table = table.append_column(column, pa.array([""] * len(table), pa.string()))
    return table


def read_entry(raw: RawFolder, entry: RecordEntry, recipe: dict[str, Any]) -> EcgRecord:
    """Read the recording of `entry`; raises BadRecord (see :func:`read_wfdb`)."""
    return read_wfdb(raw, entry).record(entry)


def _check(recipe: dict[str, Any], where: str) -> None:
    check_table(recipe["options"]["patients"], f"{where}: options.patients")


READER = Reader(
    MimicIvEcg, read_entry, options={"patients": ((str, type(None)), None)}, label_tables=True, check=_check
)
