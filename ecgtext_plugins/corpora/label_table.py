"""Labels of a dataset from a CSV table: one row a record, labels in one cell or in a column of 0 and 1 each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora.csv_tables import read_columns, refuse_duplicates
from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables
from ecgtext_plugins.errors import BadRawData


class LabelTable:
    """Labels by record id.

    Parameters
    ----------
    tables : Tables
        Where the files are looked for.
    settings : mapping
        `file`, `id` and `column` (names of its columns), `names` (the vocabulary: a list, or a
        text file with one name a line).

    Raises
    ------
    BadRawData
        When a file is missing or malformed, an id is there twice, or a label is not in the vocabulary.
    """

    def __init__(self, tables: Tables, settings: dict[str, Any]):
        folder, name = tables.find(settings["file"])
        path = f"{folder}/{name}"
        self.files: list[tuple[RawFolder, str]] = [(folder, name)]
        self.names = self._vocabulary(tables, settings["names"])
        table = read_columns(folder, name, [settings["id"], settings["column"]])
        self._ids, self._labels = table[settings["id"]], table[settings["column"]]
        refuse_duplicates(self._ids, f"values of {settings['id']} in {path}")
        found = {label for cell in pc.unique(self._labels).to_pylist() for label in split_labels(cell)}
        unknown = sorted(found - set(self.names))
        if unknown:
            raise BadRawData(
                f"{path} has the labels {', '.join(unknown[:10])}, which the recipe's labels.names lacks: expected "
                f"only {', '.join(self.names[:30])}; add them to the recipe"
            )

    def _vocabulary(self, tables: Tables, names: list[str] | str) -> list[str]:
        if not isinstance(names, str):
            return list(names)
        folder, name = tables.find(names)
        try:
            lines = folder.read(name).decode("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadRawData(
                f"the label vocabulary {folder}/{name} cannot be read ({error}): expected UTF-8 text with one label a "
                "line"
            ) from None
        self.files.append((folder, name))
        return list(dict.fromkeys(line.strip() for line in lines if line.strip()))

    def refuse_strangers(self, record_ids: pa.Array | pa.ChunkedArray) -> None:
        """Raise BadRawData when the table lists none of `record_ids`."""
        if pc.any(pc.is_in(self._ids, value_set=record_ids.combine_chunks())).as_py():
            return
        folder, name = self.files[0]
        first = ", ".join(map(repr, self._ids.slice(0, 3).to_pylist()))
        raise BadRawData(
            f"{folder}/{name} has no row for any of the {len(record_ids)} records (it has {first}): expected record "
            f"ids such as {record_ids[0].as_py()!r}; correct labels.file or labels.id"
        )

    def of(self, record_ids: pa.Array) -> list[tuple[str, ...]]:
        """Return the labels of each of `record_ids`; none for a record that the table does not list."""
        rows = pc.index_in(record_ids, value_set=self._ids)
        cells = pc.fill_null(pc.take(self._labels, rows), "").to_pylist()
        order = {name: place for place, name in enumerate(self.names)}
        return [tuple(sorted(split_labels(cell), key=order.__getitem__)) for cell in cells]


def split_labels(cell: str, separator: str = ";") -> set[str]:
    """Split a cell at its separators; a cell that is empty, or is the word nan, holds no label."""
    labels = {label.strip() for label in cell.split(separator)} - {""}
    return set() if {label.lower() for label in labels} == {"nan"} else labels


_FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


def flags(table: pa.Table, columns: Sequence[str], path: str) -> np.ndarray:
    """Return `columns` of 0 and 1 (or false and true) as (n, K) bool; `path` names the table in errors.

    Raises
    ------
    BadRawData
        When a cell is something else.
    """
    found = np.empty((len(table), len(columns)), dtype=bool)
    for place, column in enumerate(columns):
        coded = table[column].combine_chunks().dictionary_encode()
        values = coded.dictionary.to_pylist()
        wrong = [value for value in values if value.strip().lower() not in _FLAGS]
        if wrong:
            raise BadRawData(
                f"{path} has {wrong[0][:40]!r} in the column {column}: expected 0 or 1, false or true; correct it"
            )
        meaning = np.array([_FLAGS[value.strip().lower()] for value in values], dtype=bool)
        found[:, place] = meaning[coded.indices.to_numpy()]
    return found


def flagged(matrix: np.ndarray, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return for each row of `matrix` (n, K) bool those of the K `names` that are set."""
    return [tuple(names[place] for place in np.flatnonzero(row)) for row in matrix]


def sorted_rows(record_ids: pa.ChunkedArray) -> np.ndarray:
    """Return the rows in ascending order of record id (as text)."""
    return pc.sort_indices(record_ids).to_numpy()
