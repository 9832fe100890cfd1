"""CSV tables of a dataset as text columns (pyarrow: quotes, separators and line breaks in cells are kept).

UTF-8 with or without byte order mark; separated by commas, semicolons or tabs, as the first line tells; a table whose
name ends in .gz is decompressed.
"""

import contextlib
import csv as header_csv
import difflib
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.errors import BadRawData

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
LONGEST_HEADER = 1 << 20  # bytes
_DAMAGE = (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError, header_csv.Error)


def column_names(folder: RawFolder, name: str) -> list[str]:
    """Return the names in a table's first line.

    Raises
    ------
    BadRawData
        When there is no such table, it is empty, or its separator is ambiguous.
    """
    return _header(folder, name)[1]


def read_columns(folder: RawFolder, name: str, columns: Sequence[str]) -> pa.Table:
    """Read `columns` of the table `name` in `folder` as text; an empty cell is an empty text, ``nan`` stays ``nan``.

    Raises
    ------
    BadRawData
        When the table is missing, malformed, lacks a column, or has one twice.
    """
    path = f"{folder}/{name}"
    separator, names = _header(folder, name)
    _refuse_lacking(path, names, columns)
    twice = [column for column in columns if names.count(column) > 1]
    if twice:
        raise BadRawData(f"{path} has the column {twice[0]} more than once: expected each once; rename one of them")
    options = csv.ConvertOptions(
        column_types={column: pa.string() for column in columns},
        include_columns=list(columns),
        strings_can_be_null=False,
    )
    try:
        parsing = csv.ParseOptions(delimiter=separator, newlines_in_values=True)
        with _open(folder, name) as handle:
            return csv.read_csv(handle, convert_options=options, parse_options=parsing).combine_chunks()
    except _DAMAGE as error:
        raise _unreadable(path, error) from None


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


def _header(folder: RawFolder, name: str) -> tuple[str, list[str]]:
    """Return the separator of a table and the names in its first line."""
    path = f"{folder}/{name}"
    try:
        with _open(folder, name) as handle:
            line = re.split(r"\r\n|\n|\r", handle.readline(LONGEST_HEADER).decode("utf-8-sig"))[0]
        bare = re.sub(r'"(?:[^"]|"")*"', "", line)
        most = max(SEPARATORS, key=bare.count)
        names = next(header_csv.reader([line], delimiter=most), [])
    except FileNotFoundError:
        raise BadRawData(f"there is no table {path}: expected it in the raw folder; download it again") from None
    except _DAMAGE as error:
        raise _unreadable(path, error) from None
    if not line.strip():
        raise _unreadable(path, ValueError("its first line is empty"))
    alike = [separator for separator in SEPARATORS if bare.count(separator) == bare.count(most)]
    if most in bare and len(alike) > 1:
        raise BadRawData(
            f"{path} begins with {line[:80]!r}, which {' and '.join(SEPARATORS[each] for each in alike)} divide alike: "
            "expected one separator; put names that hold the other in quotes"
        )
    return most, names


@contextlib.contextmanager
def _open(folder: RawFolder, name: str) -> Iterator[BinaryIO]:
    """Open a table, decompressed."""
    with folder.open(name) as handle:
        if not name.endswith(".gz"):
            yield handle
            return
        with gzip.open(handle) as plain:
            yield plain


def _refuse_lacking(path: str, names: Sequence[str], columns: Sequence[str]) -> None:
    lacking = [column for column in columns if column not in names]
    if not lacking:
        return
    near = difflib.get_close_matches(lacking[0], names, n=1)
    hint = f"is it {near[0]}?" if near else "use the table as published"
    raise BadRawData(
        f"{path} has no column {', '.join(lacking)} (it has {', '.join(names[:30])}): expected "
        f"{', '.join(columns[:6])}; {hint}"
    )


def _unreadable(path: str, error: Exception) -> BadRawData:
    return BadRawData(f"{path} is not a readable CSV table ({error}): expected one in UTF-8; download it again")
