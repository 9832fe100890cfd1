"""CSV tables of a dataset as text columns (pyarrow: quotes, commas and line breaks in cells are kept)."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ecgtext_plugins.errors import BadRawData


def column_names(path: Path) -> list[str]:
    """Return the names in a table's first line.

    Raises
    ------
    BadRawData
        When there is no such table or it is empty.
    """
    try:
        with csv.open_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True)) as reader:
            return reader.schema.names
    except FileNotFoundError:
        raise BadRawData(f"there is no table {path}: expected it in the raw folder; download it again") from None
    except (pa.ArrowException, OSError) as error:
        raise BadRawData(f"{path} is not a readable CSV table ({error}): expected one; download it again") from None


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Read `columns` of the table at `path` as text; an empty cell is an empty text.

    Raises
    ------
    BadRawData
        When the table is missing, malformed, or lacks a column.
    """
    names = column_names(path)
    lacking = [name for name in columns if name not in names]
    if lacking:
        raise BadRawData(
            f"{path} has no column {', '.join(lacking)} (it has {', '.join(names[:30])}): expected "
            f"{', '.join(columns[:6])}; use the table as published"
        )
    options = csv.ConvertOptions(
        column_types={name: pa.string() for name in columns}, include_columns=list(columns), strings_can_be_null=False
    )
    try:
        return csv.read_csv(
            path, convert_options=options, parse_options=csv.ParseOptions(newlines_in_values=True)
        ).combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise BadRawData(f"{path} is not a readable CSV table ({error}): expected one; download it again") from None


def refuse_duplicates(values: pa.ChunkedArray, what: str) -> None:
    """Raise BadRawData naming up to ten values of `values` that occur more than once."""
    if pc.count_distinct(values).as_py() == len(values):
        return
    counted = pc.value_counts(values)
    twice = counted.field("values").filter(pc.greater(counted.field("counts"), 1))
    first = ", ".join(map(str, twice[:10].to_pylist()))
    raise BadRawData(
        f"{what} are there more than once ({len(twice)} of them: {first}): expected each once; remove the copies"
    )
