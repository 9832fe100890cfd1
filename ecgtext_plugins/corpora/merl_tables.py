"""The train, validation and test tables that MERL published, which D-BETA and MELP evaluate on as well.

https://github.com/cheliu-computation/MERL-ICML2024, ``finetune/data_split``: the folder that a user gives as --tables.
Columns are read by name, classes stand in the order of the train table. (MERL reads them by position: in ptbxl's
sub_class ISC, AVB and RAO/RAE stand elsewhere in val and test than in train.) The chapman tables give every label
twice: as a column, wrong in seven of 38 because MERL looked for ``"VB"`` inside ``"1AVB,SR"``, and in the text of
`diagnose`. Of CSN's records they list those whose codes all have a row in its table of conditions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora.csv_tables import column_names, read_columns, refuse_duplicates
from ecgtext_plugins.corpora.label_table import flagged, flags
from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables
from ecgtext_plugins.errors import BadRawData

FILES = {"train": "train", "valid": "val", "test": "test"}  # our splits: how MERL calls them
SEED = 42  # of MERL's subsets
_PTBXL = ("ecg_id", "patient_id", "strat_fold", "filename_lr", "filename_hr")
_ICBEB = ("patient_id", "ecg_id", "filename", "validation", "age", "sex", "scp_codes")


@dataclass(frozen=True)
class MerlFiles:
    """Where a label set's three tables are and what their columns mean.

    Attributes
    ----------
    path : str
        With ``{}`` for train, val or test.
    key : str
        The column that identifies a record.
    others : tuple of str
        The columns that are neither labels nor the key.
    statements : str
        A column with a comma list of labels that is believed rather than the label columns; "" for none.
    """

    path: str
    key: str
    others: tuple[str, ...]
    statements: str = ""


def _ptbxl(name: str) -> MerlFiles:
    return MerlFiles(f"ptbxl/{name}/ptbxl_{name}_{{}}.csv", "ecg_id", (*_PTBXL, name))


_CHAPMAN = "chapman/chapman_{}.csv"
MERL: dict[str, MerlFiles] = {
    "merl_super": _ptbxl("super_class"),
    "merl_sub": _ptbxl("sub_class"),
    "merl_form": _ptbxl("form"),
    "merl_rhythm": _ptbxl("rhythm"),
    "merl": MerlFiles("icbeb/icbeb_{}.csv", "filename", _ICBEB),
    "merl_published": MerlFiles(_CHAPMAN, "ecg_path", ("ecg_path", "age", "diagnose")),
    "merl_corrected": MerlFiles(_CHAPMAN, "ecg_path", ("ecg_path", "age", "diagnose"), statements="diagnose"),
}


class MerlTable:
    """One label set: its classes, and split and labels by record.

    Parameters
    ----------
    tables : Tables
        Where the files are looked for.
    scheme : str
        A key of ``MERL``.

    Attributes
    ----------
    names : list of str
        Classes in the order of the train table's columns.
    ids, splits : pa.Array
        A record a row: train, valid, test, each in the order of its file.

    Raises
    ------
    BadRawData
        When a table is missing, malformed or empty, lacks a label column that the train table has, holds a label other
        than 0 and 1, or a record is listed twice.
    """

    def __init__(self, tables: Tables, scheme: str):
        layout = MERL[scheme]
        self.scheme = scheme
        self.files = [tables.find(layout.path.format(name)) for name in FILES.values()]
        self.names = _label_columns(layout, *self.files[0])
        parts = [self._read(layout, folder, name) for folder, name in self.files]
        lengths = [len(ids) for ids, _ in parts]
        self.ids: pa.Array = pa.concat_arrays([ids for ids, _ in parts])
        self.splits: pa.Array = pa.array(np.repeat(list(FILES), lengths).tolist(), pa.string())
        self._labels = np.concatenate([labels for _, labels in parts])
        self.n_train = lengths[0]
        refuse_duplicates(pa.chunked_array([self.ids]), f"records in MERL's tables of {scheme}")

    def _read(self, layout: MerlFiles, folder: RawFolder, name: str) -> tuple[pa.Array, np.ndarray]:
        """Return one table's record ids and labels, (n, K) bool."""
        path = f"{folder}/{name}"
        table = read_columns(folder, name, [layout.key, *filter(None, [layout.statements]), *self.names])
        if not len(table):
            raise BadRawData(f"{path} lists no record: expected at least one; use the table as published")
        labels = flags(table, self.names, path)
        if layout.statements:
            labels = _stated(table[layout.statements], self.names)
        return _record_ids(layout.key, table[layout.key], path), labels

    def rows(self, record_ids: pa.Array) -> np.ndarray:
        """Return the row of each of `record_ids`, -1 for one that the set does not list."""
        return pc.fill_null(pc.index_in(record_ids, value_set=self.ids), -1).to_numpy(zero_copy_only=False)

    def of(self, record_ids: pa.Array) -> list[tuple[str, ...]]:
        """Return the labels of each of `record_ids`; none for a record that the set does not list."""
        rows = self.rows(record_ids)
        return flagged(self._labels[rows] & (rows >= 0)[:, None], self.names)

    def subset(self, percentage: float) -> list[str]:
        """Return MERL's part of the train table: un-stratified, in the order that it is drawn in.

        Source: ``getdataset`` in ``finetune/finetune_dataset.py``, which calls scikit-learn's train_test_split with
        train_size=ratio/100 and random_state=42, and takes the whole table at 100.
        """
        rows = np.arange(self.n_train)
        if percentage < 100:
            from sklearn.model_selection import train_test_split

            try:
                rows, _ = train_test_split(rows, train_size=percentage / 100, random_state=SEED)
            except ValueError as error:
                raise BadRawData(
                    f"{percentage:g} % of the {self.n_train} training records of {self.scheme} cannot be drawn "
                    f"({error}): expected at least one record; give a larger number in subsets.percentages"
                ) from None
        return self.ids.take(pa.array(rows)).to_pylist()


def _label_columns(layout: MerlFiles, folder: RawFolder, name: str) -> list[str]:
    """Return the label columns of the train table, in its order."""
    names = [column for column in column_names(folder, name) if column not in {layout.key, *layout.others}]
    if not names or len(set(names)) != len(names):
        raise BadRawData(
            f"{folder}/{name} has the label columns {', '.join(names[:30]) or 'none'}: expected one a class, each once;"
            " use the table as published"
        )
    return names


def _record_ids(key: str, values: pa.ChunkedArray, path: str) -> pa.Array:
    """Turn a key column into record ids: ``1`` into ``00001``, ``/chapman/.../JS00001.mat`` into ``JS00001``."""
    if pc.any(pc.equal(pc.utf8_trim_whitespace(values), "")).as_py():
        raise BadRawData(f"{path} has a row without {key}: expected one in each; use the table as published")
    return {
        "ecg_id": lambda column: pc.utf8_lpad(column, 5, "0"),
        "filename": lambda column: column,
        "ecg_path": lambda column: pc.replace_substring_regex(column, r"^.*/|\.mat$", ""),
    }[key](values).combine_chunks()


def _stated(cells: pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
    """Return (n, K) bool: whether each name is a member of the cell's comma list."""
    coded = cells.combine_chunks().dictionary_encode()
    lists = [{item.strip() for item in cell.split(",")} for cell in coded.dictionary.to_pylist()]
    known = np.array([[name in items for name in names] for items in lists], dtype=bool)
    return known[coded.indices.to_numpy()]
