"""Labels of a dataset from a CSV table: one row a record, labels separated by semicolons."""

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

    def of(self, record_ids: pa.Array) -> list[tuple[str, ...]]:
        """Return the labels of each of `record_ids`; none for a record that the table does not list."""
        rows = pc.index_in(record_ids, value_set=self._ids)
        cells = pc.fill_null(pc.take(self._labels, rows), "").to_pylist()
        order = {name: place for place, name in enumerate(self.names)}
        return [tuple(sorted(split_labels(cell), key=order.__getitem__)) for cell in cells]


def split_labels(cell: str) -> set[str]:
    """Split a cell at its semicolons."""
    return {label.strip() for label in cell.split(";")} - {""}


def sorted_rows(record_ids: pa.ChunkedArray) -> np.ndarray:
    """Return the rows in ascending order of record id (as text)."""
    return pc.sort_indices(record_ids).to_numpy()
