"""PhysioNet/CinC Challenge 2021 training data (https://physionet.org/content/challenge-2021/1.0.3/).

Any folders of `.hea` + `.mat`; age, sex and SNOMED CT codes are comments of the headers. The Challenge names no
patients: a record's patient id is its record id. Its report is the names of its codes.
"""

import math
import re
from dataclasses import replace
from typing import Any

import pyarrow as pa

from ecgtext_plugins.corpora.corpus import Reader
from ecgtext_plugins.corpora.csv_tables import refuse_duplicates
from ecgtext_plugins.corpora.label_table import sorted_rows
from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables, is_under
from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.corpora.snomed import TABLE, scored_labels, snomed_codes
from ecgtext_plugins.corpora.wfdb_records import read_wfdb
from ecgtext_plugins.errors import BadRawData, BadRecord

SCHEME = "challenge2021_scored"
_COMMENT = re.compile(r"(Age|Sex|Dx)\s*:\s*(.*)", re.IGNORECASE)
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F"}


class Physionet2021:
    """The corpus under `raw`: record id = file name without extension.

    Raises
    ------
    BadRawData
        When there is no header under `raw`, or two of one name.
    """

    def __init__(self, raw: RawFolder, tables: Tables, recipe: dict[str, Any]):
        self.published_subsets: dict[str, list[str]] = {}
        self.raw = raw
        self.table_files = [(RawFolder(TABLE.parent), TABLE.name)]
        excluded = {name.strip("/") for name in recipe.get("exclude_sources") or []}
        paths = [path for path in (name[:-4] for name in raw.names(".hea")) if not is_under(path, excluded)]
        if not paths:
            raise BadRawData(
                f"{raw} is not the Challenge 2021 data: no .hea file in it or its sub-folders: expected headers such "
                "as training/georgia/g1/E00001.hea with a .mat beside each; give the folder above them as --raw"
            )
        table = pa.table({"record_id": [path.rpartition("/")[2] for path in paths], "path": paths})
        refuse_duplicates(table["record_id"], f"record names under {raw}")
        self._table = table.take(sorted_rows(table["record_id"]))
        self.label_names = list(scored_labels()) if recipe.get("labels") else []

    @property
    def record_ids(self) -> pa.ChunkedArray:
        """All record ids, ascending as text."""
        return self._table["record_id"]

    def entries(self, start: int, stop: int) -> list[RecordEntry]:
        """Return the entries at places `start` to `stop` of `record_ids`; their headers are not read yet."""
        part = self._table.slice(start, stop - start)
        columns = part["record_id"].to_pylist(), part["path"].to_pylist()
        return [RecordEntry(record_id, record_id, path) for record_id, path in zip(*columns, strict=True)]


def read_entry(raw: RawFolder, entry: RecordEntry, recipe: dict[str, Any]) -> EcgRecord:
    """Read the recording of `entry`, with report, labels, age and sex from its header.

    Raises
    ------
    BadRecord
        ``unknown_code`` for a code that is not of the Challenge; all of :func:`read_wfdb`.
    """
    read = read_wfdb(raw, entry)
    said = {match[1].lower(): match[2].strip() for match in map(_COMMENT.fullmatch, read.comments) if match}
    report, labels = diagnoses(said.get("dx", ""), f"record {entry.record_id}")
    sex = _SEXES.get(said.get("sex", "").lower(), "")
    return read.record(replace(entry, report=report, labels=labels, age=_age(said.get("age", "")), sex=sex))


def diagnoses(codes: str, source: str) -> tuple[str | None, tuple[str, ...]]:
    """Turn codes, ``"164889003,713426002"``, into a report, ``"atrial fibrillation, ..."``, and scored labels."""
    table = snomed_codes()
    given = list(dict.fromkeys(code.strip() for code in codes.split(",") if code.strip()))
    unknown = [code for code in given if code not in table]
    if unknown:
        raise BadRecord(
            "unknown_code",
            f"{source}: its header has the diagnosis {unknown[0][:40]!r}: expected SNOMED CT codes of the Challenge "
            f"2021 ({len(table)} of them); correct the header",
        )
    labels = {table[code].label for code in given} - {""}
    report = ", ".join(table[code].name for code in given)
    return report or None, tuple(name for name in scored_labels() if name in labels)


def _age(text: str) -> float:
    try:
        age = float(text)
    except ValueError:
        return math.nan
    return age if 0 <= age < math.inf else math.nan


READER = Reader(Physionet2021, read_entry, label_schemes=(SCHEME,))
