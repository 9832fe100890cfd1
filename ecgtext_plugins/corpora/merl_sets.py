"""MERL's label sets among those that a recipe asks for: which records, which splits, which subsets."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora.csv_tables import refuse_duplicates
from ecgtext_plugins.corpora.label_sets import LabelSets
from ecgtext_plugins.corpora.merl_tables import MERL, MerlTable
from ecgtext_plugins.corpora.raw_folder import Tables
from ecgtext_plugins.errors import BadRawData, BadRecipe

_NOTHING = pa.array([], pa.string())


def check_merl(recipe: Mapping[str, Any], where: str, own_split: bool) -> None:
    """Refuse a recipe that asks for what only MERL's tables say, and for none of MERL's sets.

    Parameters
    ----------
    own_split : bool
        Whether the dataset has an official split without MERL.

    Raises
    ------
    BadRecipe
        Naming the key; `where` names the recipe.
    """
    wanted = {
        "subsets.method is published": (recipe["subsets"] or {}).get("method") == "published",
        "split.by is official": recipe["split"]["by"] == "official" and not own_split,
    }
    if any(scheme in MERL for scheme in LabelSets(recipe).schemes):
        return
    for what, asked in wanted.items():
        if asked:
            raise BadRecipe(
                f"{where}: {what}, but labels.scheme holds no set of MERL, whose tables say it: expected one; add it, "
                "or change that key"
            )


class MerlSets:
    """The sets of MERL among the schemes of a recipe; with none of them, every record is let through.

    Attributes
    ----------
    files : list of (RawFolder, str)
        All tables, each once.
    published_subsets : dict
        Record ids of the parts of train that the recipe's `subsets` asks for, by name.

    Raises
    ------
    BadRawData
        As :class:`MerlTable`; when a record has two splits.
    """

    def __init__(self, tables: Tables, recipe: Mapping[str, Any], label_sets: LabelSets):
        self.tables = {scheme: MerlTable(tables, scheme) for scheme in label_sets.schemes if scheme in MERL}
        files = [file for table in self.tables.values() for file in table.files]
        self.files = list({(str(folder), name): (folder, name) for folder, name in files}.values())
        self._ids, self._splits = self._all_splits() if self.tables else (_NOTHING, _NOTHING)
        self.published_subsets: dict[str, list[str]] = {}
        subsets = recipe.get("subsets") or {}
        if subsets.get("method") == "published":
            self.published_subsets = {
                label_sets.name(scheme, f"train_{percentage:g}pct"): table.subset(percentage)
                for scheme, table in self.tables.items()
                for percentage in subsets["percentages"]
            }

    def __bool__(self) -> bool:
        return bool(self.tables)

    def _all_splits(self) -> tuple[pa.Array, pa.Array]:
        """Return every record of the sets once, and its split."""
        stacked = pa.concat_tables(pa.table({"id": t.ids, "split": t.splits}) for t in self.tables.values())
        pairs = stacked.group_by(["id", "split"]).aggregate([]).combine_chunks()
        refuse_duplicates(pairs["id"], f"records in different splits of MERL's {', '.join(self.tables)}")
        return pairs["id"].combine_chunks(), pairs["split"].combine_chunks()

    def restrict(self, table: pa.Table, where: str, listed: pa.ChunkedArray | None = None) -> pa.Table:
        """Return the rows of `table` whose record_id is in a set.

        Parameters
        ----------
        where : str
            What the error names.
        listed : pa.ChunkedArray or None
            All records of the download, where `table` is a part of them.

        Raises
        ------
        BadRawData
            When a set has a record that the download lacks.
        """
        if not self:
            return table
        listed = (table["record_id"] if listed is None else listed).combine_chunks()
        lacking = self._ids.filter(pc.invert(pc.is_in(self._ids, value_set=listed)))
        if len(lacking):
            first = ", ".join(sorted(lacking.to_pylist())[:10])
            raise BadRawData(
                f"{where} lacks {len(lacking)} of the {len(self._ids)} records of MERL's tables ({first}): expected "
                "all of them; give the whole download as --raw, and tables that belong to it as --tables"
            )
        return table.filter(pc.is_in(table["record_id"], value_set=self._ids))

    def splits(self, record_ids: pa.Array) -> list[str]:
        """Return the split of each of `record_ids`, "" for one that no set lists."""
        rows = pc.index_in(record_ids, value_set=self._ids)
        return pc.fill_null(pc.take(self._splits, rows), "").to_pylist()

    def labels(self, record_ids: pa.Array) -> dict[str, list[tuple[str, ...]]]:
        """Return the labels of each of `record_ids` by set."""
        return {scheme: table.of(record_ids) for scheme, table in self.tables.items()}
