"""What a reader offers to a build."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables
from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry


class Corpus(Protocol):
    """What a reader offers: the list of recordings, without their signals."""

    raw: RawFolder
    table_files: list[tuple[RawFolder, str]]  # (folder, name) of what ids, reports and labels were read from
    label_names: list[str]  # the vocabulary of entries' labels; "set/name" where the recipe asks for several sets
    published_subsets: Mapping[str, Sequence[str]]  # record ids, in order, of subsets that others have published

    @property
    def record_ids(self) -> pa.ChunkedArray:
        """All record ids, ascending as text."""

    def entries(self, start: int, stop: int) -> list[RecordEntry]:
        """Return the entries at places `start` to `stop` of `record_ids`."""


@dataclass(frozen=True)
class Reader:
    """How to open a corpus, how to read one of its entries, and what a recipe may ask it for.

    Attributes
    ----------
    open : callable (raw, tables, recipe) -> Corpus
        `tables` are the folders in which tables that the recipe names are looked for, in order.
    read_entry : callable (raw, entry, recipe) -> EcgRecord
    options : mapping
        Keys of the recipe's `options`: name -> (types, default), as in the recipe's own keys.
    label_schemes : tuple of str
        Kinds of labels that it makes itself.
    label_tables : bool
        Whether labels may come from a table.
    official_split : bool
        Whether entries know their split.
    check : callable (recipe, where) -> None
        Further demands on a recipe whose keys and types are in order; raises BadRecipe, naming it as `where`.
    """

    open: Callable[[RawFolder, Tables, dict[str, Any]], Corpus]
    read_entry: Callable[[RawFolder, RecordEntry, dict[str, Any]], EcgRecord]
    options: Mapping[str, tuple[tuple[type, ...], Any]] = field(default_factory=dict)
    label_schemes: tuple[str, ...] = ()
    label_tables: bool = False
    official_split: bool = False
    check: Callable[[dict[str, Any], str], None] = lambda recipe, where: None
