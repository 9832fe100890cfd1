"""CPSC 2018 (http://2018.icbeb.org/Challenge.html): 6,877 recordings of 6 to 60 s at 500 Hz with nine classes.

It is read as first published, `.mat` files with a struct ECG and classes in REFERENCE.csv, in folders such as
TrainingSet1 or in one; and as the Challenges 2020 and 2021 publish it, `.hea` beside each `.mat` with SNOMED CT codes.
A `.mat` without a header of its name is taken for the first form. Classes have MERL's names, and all of a record's (up
to three) count. The dataset names no patients: a record's patient id is its record id. Its report is the names of its
classes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from ecgtext_plugins.corpora.corpus import Reader
from ecgtext_plugins.corpora.cpsc2018_reference import COLUMNS, NAME, find_references, read_references
from ecgtext_plugins.corpora.cpsc2018_signals import read_mat
from ecgtext_plugins.corpora.csv_tables import refuse_duplicates
from ecgtext_plugins.corpora.excluded import without_excluded
from ecgtext_plugins.corpora.header_comments import header_comments
from ecgtext_plugins.corpora.label_sets import LabelSets
from ecgtext_plugins.corpora.label_table import sorted_rows
from ecgtext_plugins.corpora.merl_sets import MerlSets, check_merl
from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables
from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.corpora.snomed import snomed_codes
from ecgtext_plugins.corpora.wfdb_records import read_wfdb
from ecgtext_plugins.errors import BadRawData, BadRecord

SCHEME, MERL_SCHEME = "cpsc2018", "merl"


@dataclass(frozen=True)
class CpscClass:
    """A class by MERL's name, with its number in REFERENCE.csv, its code in the headers, and its name in words."""

    label: str
    number: str
    code: str
    name: str


CLASSES = (  # in MERL's order
    CpscClass("AFIB", "2", "164889003", "atrial fibrillation"),
    CpscClass("VPC", "7", "164884008", "premature ventricular contraction"),
    CpscClass("NORM", "1", "426783006", "normal"),
    CpscClass("1AVB", "3", "270492004", "first-degree atrioventricular block"),
    CpscClass("CRBBB", "5", "59118001", "right bundle branch block"),
    CpscClass("STE", "9", "164931005", "ST-segment elevation"),
    CpscClass("PAC", "6", "284470004", "premature atrial contraction"),
    CpscClass("CLBBB", "4", "164909002", "left bundle branch block"),
    CpscClass("STD", "8", "429622005", "ST-segment depression"),
)
_BY_CODE = {code: found for found in CLASSES for code in (found.number, found.code)}


class Cpsc2018:
    """The corpus under `raw`: record id = file name without extension; with MERL's scheme, the records of its tables.

    Raises
    ------
    BadRawData
        When there is no recording under `raw`, two have one name, REFERENCE.csv is missing where `.mat` files need it,
        malformed, or contradicts itself, or MERL's tables do not fit.
    """

    def __init__(self, raw: RawFolder, tables: Tables, recipe: dict[str, Any]):
        self.raw, self.table_files = raw, []
        self._label_sets = LabelSets(recipe)
        self._merl = MerlSets(tables, recipe, self._label_sets)
        self.published_subsets = self._merl.published_subsets
        vocabularies = {scheme: table.names for scheme, table in self._merl.tables.items()}
        vocabularies[SCHEME] = [found.label for found in CLASSES]
        self.label_names = self._label_sets.names(vocabularies)
        everything = self._recordings(tables)
        self.table_files += self._merl.files
        self._table = self._merl.restrict(without_excluded(everything, recipe), str(raw), everything["record_id"])

    def _recordings(self, tables: Tables) -> pa.Table:
        """Return a row a recording: record_id (ascending), path, and REFERENCE.csv's columns, empty without."""
        headers = {name.removesuffix(".hea") for name in self.raw.names(".hea")}
        mats = [name for name in self.raw.names(".mat") if name.removesuffix(".mat") not in headers]
        paths = [*sorted(headers), *mats]
        files = find_references(self.raw)
        if not paths and not files:
            raise BadRawData(
                f"{self.raw} is not CPSC 2018: no .mat and no .hea file in it or its sub-folders: expected A0001.mat "
                f"to A6877.mat and {NAME}, or headers; give the folder above them as --raw"
            )
        if mats and not files and SCHEME in self._label_sets.schemes:
            files = [tables.find(NAME)]
        self.table_files += files
        ids = pa.array([path.rpartition("/")[2].removesuffix(".mat") for path in paths], pa.string())
        refuse_duplicates(pa.chunked_array([ids]), f"record names under {self.raw}")
        found = pa.table({"record_id": ids, "path": pa.array(paths, pa.string())})
        table = read_references(files, found)
        return table.take(sorted_rows(table["record_id"]))

    @property
    def record_ids(self) -> pa.ChunkedArray:
        """All record ids, ascending as text."""
        return self._table["record_id"]

    def entries(self, start: int, stop: int) -> list[RecordEntry]:
        """Return the entries at places `start` to `stop` of `record_ids`; their files are not read yet."""
        part = self._table.slice(start, stop - start)
        merl, splits = self._merl.labels(part["record_id"]), self._merl.splits(part["record_id"])
        return [
            RecordEntry(
                row["record_id"],
                row["record_id"],
                row["path"],
                labels=self._label_sets.labels({scheme: labels[place] for scheme, labels in merl.items()}),
                codes=tuple(dict.fromkeys(row[column] for column in COLUMNS if row[column])),
                split=splits[place],
            )
            for place, row in enumerate(part.to_pylist())
        ]


def read_entry(raw: RawFolder, entry: RecordEntry, recipe: dict[str, Any]) -> EcgRecord:
    """Read the recording of `entry`, with report, labels, age and sex.

    Raises
    ------
    BadRecord
        ``no_reference`` for a .mat whose classes the recipe wants and REFERENCE.csv lacks; those of :func:`read_mat`
        and :func:`read_wfdb`.
    """
    sets = LabelSets(recipe)
    if entry.source_path.endswith(".mat"):
        if SCHEME in sets.schemes and not entry.codes:
            raise BadRecord(
                "no_reference",
                f"record {entry.record_id} is not in {NAME}: expected a row with its classes; complete the table, or "
                "remove the recording",
            )
        read = read_mat(raw, entry)
        return EcgRecord(_completed(entry, sets, entry.codes, read.age, read.sex), read.signal, read.rate, None)
    wfdb = read_wfdb(raw, entry)
    said = header_comments(wfdb.comments)
    return wfdb.record(_completed(entry, sets, said.codes, said.age, said.sex))


def _completed(entry: RecordEntry, sets: LabelSets, codes: tuple[str, ...], age: float, sex: str) -> RecordEntry:
    """Return `entry` with what its recording says; codes beside the nine classes stay codes and give no label."""
    classes = {_BY_CODE[code] for code in codes if code in _BY_CODE}
    labels = sets.completed(entry.labels, SCHEME, [found.label for found in CLASSES if found in classes])
    return replace(entry, report=_report(codes), labels=labels, codes=codes, age=age, sex=sex)


def _report(codes: Iterable[str]) -> str | None:
    """Return the names of `codes`, joined with commas; None without a name."""
    others = snomed_codes()
    names = [
        _BY_CODE[code].name if code in _BY_CODE else others[code].name
        for code in codes
        if code in _BY_CODE or code in others
    ]
    return ", ".join(dict.fromkeys(names)) or None


def check(recipe: dict[str, Any], where: str) -> None:
    """Refuse a recipe that needs a scheme of MERL and has none (see :func:`check_merl`)."""
    check_merl(recipe, where, own_split=False)


READER = Reader(Cpsc2018, read_entry, label_schemes=(SCHEME, MERL_SCHEME), official_split=True, check=check)
