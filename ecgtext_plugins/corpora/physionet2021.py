"""PhysioNet/CinC Challenge 2021 training data (https://physionet.org/content/challenge-2021/1.0.3/).

Any folders of `.hea` + `.mat`, as in ``training/georgia/g1``; age, sex and SNOMED CT codes are comments of the headers.
A record's report is the names of its codes. All codes of a header stand in `codes`; one that the Challenge's tables
lack gives neither label nor words. The Challenge names no patients, so a record's patient id is its record id; for
PTB-XL's records, ``HR00001`` to ``HR21837``, PTB-XL's own table says them, as the number is its ecg_id.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora.corpus import Reader
from ecgtext_plugins.corpora.csv_tables import read_columns, refuse_duplicates
from ecgtext_plugins.corpora.header_comments import header_comments
from ecgtext_plugins.corpora.label_sets import LabelSets
from ecgtext_plugins.corpora.label_table import sorted_rows
from ecgtext_plugins.corpora.option_checks import check_table, check_word
from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables, is_under
from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.corpora.snomed import TABLE, scored_labels, snomed_codes
from ecgtext_plugins.corpora.wfdb_records import read_wfdb
from ecgtext_plugins.errors import BadRawData, BadRecord

logger = logging.getLogger(__name__)

SCHEME = "challenge2021_scored"
UNKNOWN_CODES = ("ignore", "reject")


class Physionet2021:
    """The corpus under `raw`: record id = file name without extension.

    Raises
    ------
    BadRawData
        When there is no header under `raw`, or two of one name, or PTB-XL's table does not fit.
    """

    def __init__(self, raw: RawFolder, tables: Tables, recipe: dict[str, Any]):
        self.published_subsets: dict[str, list[str]] = {}
        self.raw = raw
        self.table_files = [(RawFolder(TABLE.parent), TABLE.name)]
        paths = _records(raw, recipe["exclude_sources"])
        table = pa.table({"record_id": [path.rpartition("/")[2] for path in paths], "path": paths})
        refuse_duplicates(table["record_id"], f"record names under {raw}")
        self._table = table.take(sorted_rows(table["record_id"]))
        self._patients = self._table["record_id"]
        if recipe["options"]["ptbxl_table"] is not None:
            self._patients = self._with_ptbxl(*tables.find(recipe["options"]["ptbxl_table"]))
        self.label_names = LabelSets(recipe).names({SCHEME: scored_labels()})

    def _with_ptbxl(self, folder: RawFolder, name: str) -> pa.ChunkedArray:
        """Return the patient ids, those of PTB-XL's records from its table."""
        self.table_files.append((folder, name))
        table = read_columns(folder, name, ["ecg_id", "patient_id"])
        numbers, patients = (pc.replace_substring_regex(table[column], r"\.0$", "") for column in table.column_names)
        refuse_duplicates(numbers, f"values of ecg_id in {folder}/{name}")
        records = pc.binary_join_element_wise("HR", pc.utf8_lpad(numbers, 5, "0"), "")
        rows = pc.index_in(self._table["record_id"], value_set=records.combine_chunks())
        if rows.null_count == len(rows):
            raise BadRawData(
                f"{folder}/{name} has none of the records under {self.raw}: expected those of PTB-XL, which are called "
                "HR and its ecg_id; give PTB-XL's ptbxl_database.csv, or set options.ptbxl_table to null"
            )
        found = pc.binary_join_element_wise("ptbxl", pc.take(patients, rows), "-")
        return pc.coalesce(found, self._table["record_id"])

    @property
    def record_ids(self) -> pa.ChunkedArray:
        """All record ids, ascending as text."""
        return self._table["record_id"]

    def entries(self, start: int, stop: int) -> list[RecordEntry]:
        """Return the entries at places `start` to `stop` of `record_ids`; their headers are not read yet."""
        columns = (self._table["record_id"], self._patients, self._table["path"])
        part = (column.slice(start, stop - start).to_pylist() for column in columns)
        return [RecordEntry(*values) for values in zip(*part, strict=True)]


def _records(raw: RawFolder, exclude_sources: Sequence[str]) -> list[str]:
    """Return the paths of all headers under `raw` without extension, but for those in excluded folders."""
    excluded = {name.strip("/") for name in exclude_sources}
    paths = [name[:-4] for name in raw.names(".hea")]
    for name in sorted(excluded):
        if not any(is_under(path, {name}) for path in paths):
            logger.warning("exclude_sources has %s, but no record of %s lies in such a folder", name, raw)
    paths = [path for path in paths if not is_under(path, excluded)]
    if not paths:
        raise BadRawData(
            f"{raw} is not the Challenge 2021 data: no .hea file in it or its sub-folders: expected headers such "
            "as training/georgia/g1/E00001.hea with a .mat beside each; give the folder above them as --raw"
        )
    return paths


def read_entry(raw: RawFolder, entry: RecordEntry, recipe: dict[str, Any]) -> EcgRecord:
    """Read the recording of `entry`, with report, labels, age and sex from its header.

    Raises
    ------
    BadRecord
        ``unknown_code`` for a code that is not of the Challenge, where options.unknown_codes is reject; all of
        :func:`read_wfdb`.
    """
    read = read_wfdb(raw, entry)
    said = header_comments(read.comments)
    if recipe["options"]["unknown_codes"] == "reject":
        _refuse_unknown(said.codes, f"record {entry.record_id}")
    report, found = diagnoses(said.codes)
    labels = LabelSets(recipe).labels({SCHEME: found})
    return read.record(replace(entry, report=report, labels=labels, codes=said.codes, age=said.age, sex=said.sex))


def diagnoses(codes: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """Turn codes, ``("164889003", "713426002")``, into a report, ``"atrial fibrillation, ..."``, and scored labels.

    Codes that the Challenge's tables lack are passed over.
    """
    known = [snomed_codes()[code] for code in codes if code in snomed_codes()]
    labels = {code.label for code in known} - {""}
    report = ", ".join(dict.fromkeys(code.name for code in known))
    return report or None, tuple(name for name in scored_labels() if name in labels)


def _refuse_unknown(codes: Sequence[str], source: str) -> None:
    unknown = [code for code in codes if code not in snomed_codes()]
    if unknown:
        raise BadRecord(
            "unknown_code",
            f"{source}: its header has the diagnosis {unknown[0][:40]!r}: expected SNOMED CT codes of the Challenge "
            f"2021 ({len(snomed_codes())} of them); correct the header, or set options.unknown_codes to ignore",
        )


def _check(recipe: dict[str, Any], where: str) -> None:
    check_word(recipe["options"]["unknown_codes"], UNKNOWN_CODES, f"{where}: options.unknown_codes")
    check_table(recipe["options"]["ptbxl_table"], f"{where}: options.ptbxl_table")


READER = Reader(
    Physionet2021,
    read_entry,
    options={"unknown_codes": ((str,), "ignore"), "ptbxl_table": ((str, type(None)), None)},
    label_schemes=(SCHEME,),
    check=_check,
)
