"""A user's own data: a CSV table with a row a record, and a file a record, WFDB, npy, mat, csv or parquet.

The recipe's options say which column is what (:mod:`generic_options`); ``manifests/generic.yaml`` is a template.
Without a column of ids a record's id is its file's name without extension; without one of patients each record is of
another patient.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora import generic_cells
from ecgtext_plugins.corpora.corpus import Reader
from ecgtext_plugins.corpora.csv_tables import read_columns, refuse_duplicates
from ecgtext_plugins.corpora.excluded import without_excluded
from ecgtext_plugins.corpora.generic_arrays import read_array
from ecgtext_plugins.corpora.generic_labels import GenericLabels
from ecgtext_plugins.corpora.generic_options import FORMATS, OPTIONS, SCHEME, check, completed_columns
from ecgtext_plugins.corpora.label_table import sorted_rows
from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables
from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.corpora.report_text import join_report_lines
from ecgtext_plugins.corpora.wfdb_records import read_wfdb
from ecgtext_plugins.errors import BadRawData


@dataclass(frozen=True, slots=True)
class GenericEntry(RecordEntry):
    """An entry with the rate and unit that the table gives, as text; empty where the recipe gives them."""

    rate: str = ""
    unit: str = ""


class Generic:
    """The records that the recipe's table lists.

    Raises
    ------
    BadRawData
        When the table is missing or malformed, lacks a column, lists a record twice, or has a cell that cannot be read.
    """

    def __init__(self, raw: RawFolder, tables: Tables, recipe: dict[str, Any]):
        self.raw, options = raw, recipe["options"]
        self.published_subsets: dict[str, list[str]] = {}
        folder, name = tables.find(options["table"])
        self.table_files, path = [(folder, name)], f"{folder}/{name}"
        self._columns = completed_columns(options["columns"])
        self._separator = recipe["reports"]["separator"]
        mapped = (each if isinstance(each, list) else [each] for each in self._columns.values())
        table = read_columns(folder, name, list(dict.fromkeys(each for some in mapped for each in some if each)))
        listing = self._listing(table, recipe, path)
        self._ids, self._paths, self._table = listing["record_id"], listing["path"], table.take(listing["row"])
        for role in ("age", "sex", "split"):
            if self._columns[role] is not None:
                generic_cells.refuse_cells(table, self._columns[role], getattr(generic_cells, role), path)
        self._labels = GenericLabels(self._table, self._ids, self._columns["labels"], tables, recipe, path)
        self.label_names = self._labels.names
        self.table_files += self._labels.files

    def _listing(self, table: pa.Table, recipe: dict[str, Any], path: str) -> pa.Table:
        """Return record ids, ascending, with their paths (of WFDB records without extension) and rows of the table."""
        if not len(table):
            raise BadRawData(
                f"{path} lists no record: expected at least one row below the names of its columns; add it"
            )
        options = recipe["options"]
        paths = pc.binary_join_element_wise(table[self._columns["path"]], options["extension"] or "", "")
        endings = "|".join(ending.replace(".", r"\.") for ending in FORMATS[options["format"]])
        bare = pc.replace_substring_regex(paths, f"({endings})$", "")
        ids = pc.replace_substring_regex(bare, "(?s)^.*/", "")
        if self._columns["id"] is not None:
            ids = pc.utf8_trim_whitespace(table[self._columns["id"]])
        paths = bare if options["format"] == "wfdb" else paths
        listing = pa.table({"record_id": ids, "path": paths, "row": np.arange(len(table))})
        refuse_duplicates(listing["record_id"], f"record ids in {path}")
        listing = without_excluded(listing, recipe)
        return listing.take(sorted_rows(listing["record_id"]))

    @property
    def record_ids(self) -> pa.ChunkedArray:
        """All record ids, ascending as text."""
        return self._ids

    def entries(self, start: int, stop: int) -> list[RecordEntry]:
        """Return the entries at places `start` to `stop` of `record_ids`."""
        ids, paths = (column.slice(start, stop - start).to_pylist() for column in (self._ids, self._paths))
        part = self._table.slice(start, stop - start)
        said = {
            role: self._cells(part, role) for role in ("age", "sex", "recorded_at", "device", "split", "rate", "unit")
        }
        patients = ids if self._columns["patient"] is None else self._cells(part, "patient")
        labels, reports = self._labels.of(start, stop), self._reports(part)
        return [
            GenericEntry(
                record_id=ids[row],
                patient_id=patients[row],
                source_path=paths[row],
                report=reports[row],
                labels=labels[row],
                age=generic_cells.age(said["age"][row]),
                sex=generic_cells.sex(said["sex"][row]),
                recorded_at=said["recorded_at"][row],
                device=said["device"][row],
                split=generic_cells.split(said["split"][row]),
                rate=said["rate"][row],
                unit=said["unit"][row],
            )
            for row in range(len(ids))
        ]

    def _cells(self, part: pa.Table, role: str) -> list[str]:
        """Return the cells of the column mapped to `role`, stripped; empty texts without one."""
        if self._columns[role] is None:
            return [""] * len(part)
        return pc.utf8_trim_whitespace(part[self._columns[role]]).to_pylist()

    def _reports(self, part: pa.Table) -> list[str | None]:
        columns = self._columns["report"]
        if columns is None:
            return [None] * len(part)
        lines = zip(
            *(part[name].to_pylist() for name in ([columns] if isinstance(columns, str) else columns)), strict=True
        )
        return [join_report_lines(line, self._separator) for line in lines]


def read_entry(raw: RawFolder, entry: GenericEntry, recipe: dict[str, Any]) -> EcgRecord:
    """Read the recording of `entry`; raises BadRecord (see :func:`read_wfdb` and :func:`read_array`)."""
    if recipe["options"]["format"] == "wfdb":
        return read_wfdb(raw, entry).record(entry)
    return read_array(raw, entry, entry.rate, entry.unit, recipe["options"])


READER = Reader(
    Generic,
    read_entry,
    options=OPTIONS,
    label_schemes=(SCHEME,),
    label_tables=True,
    official_split=True,
    check=check,
)
