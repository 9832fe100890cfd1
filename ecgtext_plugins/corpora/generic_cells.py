"""What the cells of a user's own table mean: ages, sexes, splits."""

import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.errors import BadRawData

_UNKNOWN = {"", "nan", "na", "n/a", "none", "null", "unknown"}
_SEXES = {"m": "M", "male": "M", "man": "M", "f": "F", "female": "F", "woman": "F", "o": "", "other": "", "diverse": ""}
_SPLITS = {
    **{"train": "train", "training": "train", "test": "test", "testing": "test"},
    **dict.fromkeys(("valid", "val", "validation", "dev"), "valid"),
}
EXPECTED = {
    "age": "years from 0 to 150 such as 63 or 63.5, or an empty cell",
    "sex": "m, male, f, female, other, or an empty cell",
    "split": "train, valid or test, or an empty cell",
}


def age(cell: str) -> float:
    """Return years, NaN where unknown; raises ValueError."""
    text = cell.strip().lower()
    years = math.nan if text in _UNKNOWN else float(text)
    if years < 0 or years > 150:
        raise ValueError(cell)
    return years


def sex(cell: str) -> str:
    """Return "M", "F" or "" where unknown; raises ValueError."""
    return _word(cell, _SEXES)


def split(cell: str) -> str:
    """Return "train", "valid", "test" or "" where there is none; raises ValueError."""
    return _word(cell, _SPLITS)


def _word(cell: str, words: dict[str, str]) -> str:
    text = cell.strip().lower()
    if text not in words and text not in _UNKNOWN:
        raise ValueError(cell)
    return words.get(text, "")


def refuse_cells(table: pa.Table, column: str, meaning: Callable[[str], Any], path: str) -> None:
    """Raise BadRawData for the first cell of `column` that one of the functions above does not understand."""
    for cell in pc.unique(table[column]).to_pylist():
        try:
            meaning(cell)
        except ValueError:
            row = pc.index(table[column], cell).as_py()
            raise BadRawData(
                f"{path} has {cell[:40]!r} in the column {column} (data row {row + 1}): expected "
                f"{EXPECTED[meaning.__name__]}; correct it"
            ) from None
