"""The readers by the name that recipes use, and opening a raw folder with one."""

from pathlib import Path
from typing import Any

from ecgtext_plugins.corpora import (
    code15,
    code_test,
    cpsc2018,
    csn,
    fairseq_signals,
    generic,
    mimic_iv_ecg,
    physionet2021,
    ptbxl,
)
from ecgtext_plugins.corpora.corpus import Corpus, Reader
from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables
from ecgtext_plugins.errors import BadRawData

READERS: dict[str, Reader] = {
    "code15": code15.READER,
    "code_test": code_test.READER,
    "cpsc2018": cpsc2018.READER,
    "csn": csn.READER,
    "fairseq_signals": fairseq_signals.READER,
    "generic": generic.READER,
    "mimic_iv_ecg": mimic_iv_ecg.READER,
    "physionet2021": physionet2021.READER,
    "ptbxl": ptbxl.READER,
}


def open_corpus(recipe: dict[str, Any], raw: str | Path | RawFolder, tables: str | Path | None = None) -> Corpus:
    """Open the dataset in the folder `raw` with the reader that `recipe` names.

    Parameters
    ----------
    tables : str or Path or None
        A further folder for tables that the recipe names and that are not part of the download.

    Raises
    ------
    BadRawData
        When a folder is missing or is not that dataset.
    """
    raw = RawFolder(raw)
    if not raw.exists():
        raise BadRawData(f"the raw folder {raw} does not exist: expected the dataset of recipe {recipe['name']} in it")
    folders = (raw,) if tables is None else (RawFolder(tables), raw)
    if not folders[0].exists():
        raise BadRawData(f"the folder of tables {folders[0]} does not exist: expected one; correct --tables")
    return READERS[recipe["reader"]].open(raw, Tables(folders), recipe)
