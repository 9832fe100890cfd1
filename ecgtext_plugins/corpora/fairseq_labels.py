"""The labels that a tree of fairseq-signals has in labels/: a row a sample id."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora.csv_tables import column_names, read_columns, refuse_duplicates
from ecgtext_plugins.corpora.label_table import flags
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.errors import BadRawData

TABLE, VALUES, DEFINITION = "labels/labels.csv", "labels/y.npy", "labels/label_def.csv"


class TreeLabels:
    """labels.csv with a column of 0 and 1 a label; y.npy and label_def.csv where that is not there.

    Attributes
    ----------
    names : list of str, length K
    files : list of (RawFolder, str)
        What was read.

    Raises
    ------
    BadRawData
        When neither is there, or they are malformed or don't fit.
    """

    def __init__(self, raw: RawFolder):
        self._raw = raw
        if raw.is_file(TABLE):
            self._read_table()
        else:
            self._read_values()

    def of(self, idx: pa.ChunkedArray) -> np.ndarray:
        """Return the labels of the samples `idx` (n,) int64 as (n, K) bool; none for one that is not there."""
        rows = pc.index_in(idx, value_set=self._idx)
        known = rows.is_valid().to_numpy()
        found = np.zeros((len(idx), len(self.names)), dtype=bool)
        found[known] = self._flags[rows.drop_null().to_numpy()]
        return found

    def _read_table(self) -> None:
        path, self.files = f"{self._raw}/{TABLE}", [(self._raw, TABLE)]
        self.names = [column for column in column_names(self._raw, TABLE) if column not in ("idx", "")]
        table = read_columns(self._raw, TABLE, ["idx", *self.names])
        refuse_duplicates(table["idx"], f"values of idx in {path}")
        self._idx = whole_numbers(table["idx"], "idx", path).combine_chunks()
        self._flags = flags(table, self.names, path)

    def _read_values(self) -> None:
        raw, self.files = self._raw, [(self._raw, DEFINITION), (self._raw, VALUES)]
        if not (raw.is_file(VALUES) and raw.is_file(DEFINITION)):
            raise BadRawData(
                f"{raw} has neither {TABLE} nor {VALUES} with {DEFINITION}: expected the labels that the recipe asks "
                "for; prepare them, or set labels to null in a recipe of your own"
            )
        self.names = read_columns(raw, DEFINITION, ["name"])["name"].to_pylist()
        try:
            found = np.load(io.BytesIO(raw.read(VALUES)), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BadRawData(f"{raw}/{VALUES} cannot be read ({error}): expected an array; prepare it again") from None
        whole = found.ndim == 2 and found.shape[1] == len(self.names) and found.dtype.kind in "fiub"
        if not whole or not np.isin(found, (0, 1)).all():
            raise BadRawData(
                f"{raw}/{VALUES} is {found.dtype} {found.shape}: expected 0 and 1 in a column for each of the "
                f"{len(self.names)} names in {DEFINITION}; prepare both again"
            )
        self._idx, self._flags = pa.array(np.arange(len(found))), found.astype(bool)


def whole_numbers(values: pa.ChunkedArray, column: str, path: str) -> pa.ChunkedArray:
    """Return the texts of a column as int64; ``17.0`` is 17. `path` names the table in errors.

    Raises
    ------
    BadRawData
        When one is no whole number from 0.
    """
    plain = pc.replace_substring_regex(values, r"\.0$", "")
    wrong = plain.filter(pc.invert(pc.match_substring_regex(plain, r"^\d{1,18}$")))
    if len(wrong):
        raise BadRawData(
            f"{path} has {wrong[0].as_py()[:40]!r} in the column {column}: expected whole numbers; correct it"
        )
    return pc.cast(plain, pa.int64())
