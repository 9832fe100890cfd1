"""REFERENCE.csv of CPSC 2018: one to three classes of each recording, by number."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora.csv_tables import read_columns, refuse_duplicates
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.errors import BadRawData

NAME = "REFERENCE.csv"
COLUMNS = ("First_label", "Second_label", "Third_label")
_NUMBER = r"^([1-9](\.0)?)?$"


def find_references(raw: RawFolder) -> list[tuple[RawFolder, str]]:
    """Return all files REFERENCE.csv in `raw` and its sub-folders."""
    return [(raw, name) for name in raw.names(".csv") if name.rpartition("/")[2].lower() == NAME.lower()]


def read_references(files: Sequence[tuple[RawFolder, str]], found: pa.Table) -> pa.Table:
    """Join the tables `files` to the recordings `found` (record_id, path).

    A recording without a row has empty classes; a row without a recording is kept, with the path that it should have,
    so that it becomes a failure of the build and is not left out silently.

    Raises
    ------
    BadRawData
        When a table is malformed, has a class other than 1 to 9, a row without class, or two rows that contradict each
        other.
    """
    if not files:
        empty = pa.array([""] * len(found), pa.string())
        return pa.table({**{name: found[name] for name in found.column_names}, **dict.fromkeys(COLUMNS, empty)})
    stacked = pa.concat_tables([_read(*file) for file in files])
    rows = stacked.group_by(["record_id", *COLUMNS]).aggregate([("path", "min")]).rename_columns({"path_min": "path"})
    refuse_duplicates(rows["record_id"], f"records with different classes in {NAME}")
    joined = found.join(rows.drop_columns("path"), "record_id", join_type="left outer")
    for column in COLUMNS:
        joined = joined.set_column(
            joined.column_names.index(column), column, pc.fill_null(joined[column], pa.scalar("", pa.string()))
        )
    absent = rows.filter(pc.invert(pc.is_in(rows["record_id"], value_set=found["record_id"].combine_chunks())))
    order = ["record_id", "path", *COLUMNS]
    return pa.concat_tables([joined.select(order), absent.select(order)]).combine_chunks()


def _read(folder: RawFolder, name: str) -> pa.Table:
    """Read one table: record_id, the three classes, and the path that the recording should have."""
    path = f"{folder}/{name}"
    table = read_columns(folder, name, ["Recording", *COLUMNS])
    columns = {"record_id": pc.utf8_trim_whitespace(table["Recording"])}
    for column in COLUMNS:
        cells = pc.utf8_trim_whitespace(table[column])
        right = pc.match_substring_regex(cells, _NUMBER)
        if column == COLUMNS[0]:
            right = pc.and_(right, pc.not_equal(cells, ""))
        wrong = pc.invert(right)
        if pc.any(wrong).as_py():
            raise BadRawData(
                f"{path} has {column} {cells.filter(wrong)[0].as_py()[:40]!r} for recording "
                f"{columns['record_id'].filter(wrong)[0]}: expected a class from 1 to 9; use the table as published"
            )
        columns[column] = pc.replace_substring_regex(cells, r"\.0$", "")
    beside = name.rpartition("/")[0]
    stem = pa.scalar(f"{beside}/" if beside else "", pa.string())
    columns["path"] = pc.binary_join_element_wise(stem, columns["record_id"], ".mat", "")
    return pa.table(columns)
