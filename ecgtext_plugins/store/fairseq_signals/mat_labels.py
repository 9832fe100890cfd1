"""fairseq-signals' labels: y.npy, a row a sample id, with label_def.csv, which names its columns; or in the files."""

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from ecgtext_plugins.errors import BadStore
from ecgtext_plugins.store.fairseq_signals.listed_files import ListedFiles

VALUES, NAMES = "y.npy", "label_def.csv"


class MatLabels:
    """The labels in a folder.

    Parameters
    ----------
    folder : Path
        With y.npy, (largest sample id + 1, K) numbers, and label_def.csv.

    Attributes
    ----------
    names : list of str, length K

    Raises
    ------
    BadStore
        When one of the two is damaged or missing, or they don't fit.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        path = folder / NAMES
        try:
            with open(path, encoding="utf-8-sig", newline="") as handle:
                rows = list(csv.DictReader(handle))
            self.names = [row["name"] for row in rows]
            self._values = np.load(folder / VALUES, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise BadStore(
                f"the labels in {folder} cannot be read ({type(error).__name__}: {error}): expected {VALUES} and "
                f"{NAMES} with the column name; prepare them again, or take both away"
            ) from None
        if self._values.ndim != 2 or self._values.shape[1] != len(self.names) or self._values.dtype.kind not in "fiub":
            raise BadStore(
                f"{folder / VALUES} is {self._values.dtype} {self._values.shape}: expected numbers (samples, "
                f"{len(self.names)}), a column for each name in {NAMES}; prepare them again"
            )

    def of(self, idx: np.ndarray, columns: list[int]) -> np.ndarray:
        """Return which of the samples `idx` (n,) carry the labels in `columns`, bool (n, len(columns)).

        Raises
        ------
        BadStore
            When there is no row for a sample.
        """
        idx = np.asarray(idx, dtype=np.int64)
        outside = (idx < 0) | (idx >= len(self._values))
        if outside.any():
            raise BadStore(
                f"{self.folder / VALUES} has no row for sample id {idx[outside][0]}: expected 0 to "
                f"{len(self._values) - 1}; prepare it from the same meta.csv as the .mat files"
            )
        return self._values[idx][:, columns] > 0.5


def find_labels(places: Iterable[Path]) -> MatLabels | None:
    """Open the labels in the first of the folders `places` that has any; None when none has."""
    for place in places:
        if (place / VALUES).is_file() or (place / NAMES).is_file():
            return MatLabels(place)
    return None


def own_labels(lists: pa.ChunkedArray, rows: np.ndarray, files: ListedFiles, n_classes: int) -> np.ndarray:
    """Return the labels that the files `rows` carry themselves, bool (len(rows), n_classes).

    Parameters
    ----------
    lists : pyarrow array of lists
        Of all `files`, the variable label; null where a file has none.

    Raises
    ------
    BadStore
        Naming a file that has no label for each class.
    """
    own = lists.take(pa.array(rows)).to_pylist()
    wrong = [row for row, values in zip(rows, own, strict=True) if values is None or len(values) != n_classes]
    if wrong:
        raise BadStore(
            f"{files[int(wrong[0])].path} has no label for each of the {n_classes} classes: expected one, as in "
            f"{files[0].path}; preprocess it again"
        )
    return np.array(own, dtype=bool).reshape(len(rows), n_classes)
