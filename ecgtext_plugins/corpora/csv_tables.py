"""CSV tables of a dataset as text columns (pyarrow: quotes, commas and line breaks in cells are kept)."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.errors import BadRawData


def column_names(folder: RawFolder, name: str) -> list[str]:
    """Return the names in a table's first line.

    Raises
    ------
    BadRawData
        When there is no such table or it is empty.
    """
    path = f"{folder}/{name}"
    try:
        with (
            folder.open(name) as handle,
            csv.open_csv(handle, parse_options=csv.ParseOptions(newlines_in_values=True)) as reader,
        ):
            return reader.schema.names
    except FileNotFoundError:
        raise BadRawData(f"there is no table {path}: expected it in the raw folder; download it again") from None
    except (pa.ArrowException, OSError) as error:
        raise BadRawData(f"{path} is not a readable CSV table ({error}): expected one; download it again") from None


def read_columns(folder: RawFolder, name: str, columns: Sequence[str]) -> pa.Table:
    """Read `columns` of the table `name` in `folder` as text; an empty cell is an empty text.

    Raises
    ------
    BadRawData
        When the table is missing, malformed, or lacks a column.
    """
    path, names = f"{folder}/{name}", column_names(folder, name)
    lacking = [column for column in columns if column not in names]
    if lacking:
        raise BadRawData(
            f"{path} has no column {', '.join(lacking)} (it has {', '.join(names[:30])}): expected "
            f"{', '.join(columns[:6])}; use the table as published"
        )
    options = csv.ConvertOptions(
        column_types={column: pa.string() for column in columns},
        include_columns=list(columns),
        strings_can_be_null=False,
    )
    try:
        parsing = csv.ParseOptions(newlines_in_values=True)
        with folder.open(name) as handle:
            return csv.read_csv(handle, convert_options=options, parse_options=parsing).combine_chunks()
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
