"""PTB-XL's statements, and the label sets that its benchmark makes of them from scp_statements.csv.

Source: Strodthoff et al., Deep learning for ECG analysis: benchmarks and insights from PTB-XL (2021), and the functions
``compute_label_aggregations`` and ``select_data`` of https://github.com/helme/ecg_ptbxl_benchmarking. A statement
counts whatever its likelihood, 0 (unknown) included; classes stand in alphabetical order, capitals first.
"""

import ast
import math
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora.csv_tables import read_columns, refuse_duplicates
from ecgtext_plugins.corpora.raw_folder import Tables
from ecgtext_plugins.errors import BadRawData

STATEMENTS = "scp_statements.csv"
LONGEST_CELL = 10_000  # characters
# scheme: the column that says which statements belong to it, the column with their class ("": the statement itself)
_SCHEMES = {
    "super": ("diagnostic", "diagnostic_class"),
    "sub": ("diagnostic", "diagnostic_subclass"),
    "diagnostic": ("diagnostic", ""),
    "form": ("form", ""),
    "rhythm": ("rhythm", ""),
    "all": ("", ""),
}
SCHEMES = tuple(_SCHEMES)
_COLUMNS = ["", "diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass"]  # the first has no name


class ScpStatements:
    """The statements of scp_statements.csv and the class that each has in every scheme.

    Attributes
    ----------
    known : frozenset of str
        All statements of the table.
    names : dict
        The classes of each scheme, in alphabetical order.

    Raises
    ------
    BadRawData
        When the table is missing or malformed, lists a statement twice, or a flag is neither 1 nor empty.
    """

    def __init__(self, tables: Tables):
        folder, name = tables.find(STATEMENTS)
        self.files = [(folder, name)]
        table = read_columns(folder, name, _COLUMNS)
        refuse_duplicates(table[""], f"statements in {folder}/{name}")
        rows = table.to_pylist()
        self.known = frozenset(row[""] for row in rows)
        self._classes: dict[str, dict[str, str]] = {
            scheme: {
                row[""]: row[column]
                for row in rows
                if row[column] and (not flag or _is_set(row[flag], f"{folder}/{name}, statement {row['']}"))
            }
            for scheme, (flag, column) in _SCHEMES.items()
        }
        self.names = {scheme: sorted(set(classes.values())) for scheme, classes in self._classes.items()}

    def classes(self, scheme: str, statements: Iterable[str]) -> list[str]:
        """Return the classes of a record's `statements` in one scheme, in the scheme's order, each once."""
        known = self._classes[scheme]
        return sorted({known[statement] for statement in statements if statement in known})


def _is_set(cell: str, where: str) -> bool:
    if cell not in ("", "0", "0.0", "1", "1.0"):
        raise BadRawData(f"{where} has the flag {cell[:40]!r}: expected 1.0 or nothing; use the table as published")
    return cell in ("1", "1.0")


def scp_codes(cell: str) -> dict[str, float]:
    """Read a cell of scp_codes, ``"{'NORM': 100.0, 'SR': 0.0}"``: likelihood in percent by statement.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    if len(cell) > LONGEST_CELL:
        raise ValueError(f"{len(cell)} characters")
    try:
        codes = ast.literal_eval(cell.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"{cell[:80]!r}") from None
    if not isinstance(codes, dict) or not all(_is_statement(*item) for item in codes.items()):
        raise ValueError(f"{cell[:80]!r}")
    return {statement: float(likelihood) for statement, likelihood in codes.items()}


def _is_statement(statement: object, likelihood: object) -> bool:
    number = isinstance(likelihood, (int, float)) and not isinstance(likelihood, bool) and math.isfinite(likelihood)
    return isinstance(statement, str) and bool(statement.strip()) and number


def statements_used(ids: pa.ChunkedArray, cells: pa.ChunkedArray, where: str) -> dict[str, int]:
    """Count the records of each statement, after a check of every cell of scp_codes.

    Raises
    ------
    BadRawData
        Naming the first record whose cell is not a mapping of statements to likelihoods.
    """
    counts: dict[str, int] = {}
    for counted in pc.value_counts(cells).to_pylist():
        cell = counted["values"]
        try:
            found = scp_codes(cell)
        except ValueError as error:
            record = ids.filter(pc.equal(cells, cell))[0]
            raise BadRawData(
                f"{where}: ecg_id {record} has the scp_codes {error}: expected a mapping of statements to likelihoods "
                "such as {'NORM': 100.0, 'SR': 0.0}; use the table as published"
            ) from None
        for statement in found:
            counts[statement] = counts.get(statement, 0) + counted["counts"]
    return counts
