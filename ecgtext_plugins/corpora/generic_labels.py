"""Labels of a user's own records: from columns of their table, or from a table of labels."""

import difflib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora.generic_options import SCHEME
from ecgtext_plugins.corpora.label_sets import LabelSets
from ecgtext_plugins.corpora.label_table import LabelTable, flagged, flags, split_labels
from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables
from ecgtext_plugins.errors import BadRawData


class GenericLabels:
    """The labels of the rows of `table`, whose record ids are `record_ids`.

    Parameters
    ----------
    column : str or list of str or None
        A column of labels with a separator between them, columns of 0 and 1 called like the labels, or nothing.
    path : str
        What errors call the table.

    Raises
    ------
    BadRawData
        For a label that the recipe does not list, or a cell other than 0 and 1; what :class:`LabelTable` raises.
    """

    def __init__(
        self,
        table: pa.Table,
        record_ids: pa.ChunkedArray,
        column: str | list[str] | None,
        tables: Tables,
        recipe: dict[str, Any],
        path: str,
    ):
        self.files: list[tuple[RawFolder, str]] = []
        self._sets, self._ids = LabelSets(recipe), record_ids
        self._table = self._cells = self._flags = None
        self._vocabulary: Sequence[str] = ()
        if isinstance(column, list):
            self._vocabulary, self._flags = column, flags(table, column, path)
        elif column is not None:
            self._separator, self._cells = recipe["options"]["label_separator"], table[column]
            self._vocabulary = self._found(recipe["options"]["label_names"], f"{path} has in the column {column}")
        elif recipe["labels"] is not None:
            self._table = LabelTable(tables, recipe["labels"])
            self._table.refuse_strangers(record_ids)
            self.files = self._table.files
        self.names = self._table.names if self._table else self._sets.names({SCHEME: self._vocabulary})

    def _found(self, known: list[str] | None, where: str) -> list[str]:
        """Return the vocabulary: `known`, or every label of the column in order of the alphabet."""
        found = {label for cell in pc.unique(self._cells).to_pylist() for label in split_labels(cell, self._separator)}
        if known is None:
            return sorted(found)
        unknown = sorted(found - set(known))
        if unknown:
            near = difflib.get_close_matches(unknown[0], known, n=1)
            hint = f"is it {near[0]}?" if near else "add it to options.label_names"
            raise BadRawData(f"{where} the label {unknown[0]!r}: expected only {', '.join(known[:30])}; {hint}")
        return known

    def of(self, start: int, stop: int) -> list[tuple[str, ...]]:
        """Return the labels of the records at places `start` to `stop`."""
        if self._table is not None:
            return self._table.of(self._ids.slice(start, stop - start))
        if self._flags is not None:
            found = flagged(self._flags[start:stop], self._vocabulary)
        elif self._cells is not None:
            order = {name: place for place, name in enumerate(self._vocabulary)}
            cells = self._cells.slice(start, stop - start).to_pylist()
            found = [sorted(split_labels(cell, self._separator), key=order.__getitem__) for cell in cells]
        else:
            found = [()] * len(self._ids.slice(start, stop - start))
        return [self._sets.labels({SCHEME: labels}) for labels in found]
