"""The readers by the name that recipes use, and opening a raw folder with one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from ecgtext_plugins.corpora import mimic_iv_ecg, physionet2021
from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.errors import BadRawData


class Corpus(Protocol):
    """What a reader offers: the list of recordings, without their signals."""

    raw: Path
    table_files: list[Path]  # what ids, reports and labels were read from
    label_names: list[str]

    @property
    def record_ids(self) -> pa.ChunkedArray:
        """All record ids, ascending as text."""

    def entries(self, start: int, stop: int) -> list[RecordEntry]:
        """Return the entries at places `start` to `stop` of `record_ids`."""


class Reader(NamedTuple):
    """How to open a corpus, how to read one of its entries, and the kinds of labels that a recipe may ask it for."""

    open: Callable[[Path, dict[str, Any]], Corpus]
    read_entry: Callable[[Path, RecordEntry], EcgRecord]
    label_schemes: tuple[str, ...] = ()
    label_tables: bool = False


READERS = {
    "mimic_iv_ecg": Reader(mimic_iv_ecg.MimicIvEcg, mimic_iv_ecg.read_entry, label_tables=True),
    "physionet2021": Reader(physionet2021.Physionet2021, physionet2021.read_entry, (physionet2021.SCHEME,)),
}


def open_corpus(recipe: dict[str, Any], raw: str | Path) -> Corpus:
    """Open the dataset in the folder `raw` with the reader that `recipe` names.

    Raises
    ------
    BadRawData
        When the folder is missing or is not that dataset.
    """
    raw = Path(raw)
    if not raw.is_dir():
        raise BadRawData(f"the raw folder {raw} does not exist: expected the dataset of recipe {recipe['name']} in it")
    return READERS[recipe["reader"]].open(raw, recipe)
