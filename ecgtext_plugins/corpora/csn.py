"""CSN, the Chapman-Shaoxing-Ningbo database (https://physionet.org/content/ecg-arrhythmia/1.0.0/).

`WFDBRecords/NN/NNN/JSxxxxx.{hea,mat}` are the recordings; age, sex and SNOMED CT codes are comments of the headers.
Each is of another person: a record's patient id is its record id. All codes of a header stand in `codes`; one that
ConditionNames_SNOMED-CT.csv lacks (31 of the 94 in use) gives no label, and its record is kept. Two headers of version
1.0.0, JS01052 and JS23074, have lost the end of their first line; see :mod:`joined_header`.
"""

from dataclasses import replace
from typing import Any

import pyarrow as pa

from ecgtext_plugins.corpora.condition_names import TABLE, condition_names
from ecgtext_plugins.corpora.corpus import Reader
from ecgtext_plugins.corpora.csv_tables import refuse_duplicates
from ecgtext_plugins.corpora.excluded import without_excluded
from ecgtext_plugins.corpora.header_comments import header_comments
from ecgtext_plugins.corpora.joined_header import read_wfdb_or_joined
from ecgtext_plugins.corpora.label_sets import LabelSets
from ecgtext_plugins.corpora.label_table import sorted_rows
from ecgtext_plugins.corpora.merl_sets import MerlSets, check_merl
from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables
from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.errors import BadRawData

SCHEME = "condition_names"
MERL_SCHEMES = ("merl_published", "merl_corrected")


class Csn:
    """The corpus under `raw`: record id = file name without extension; with MERL's schemes, the records of its tables.

    Raises
    ------
    BadRawData
        When there is no header under `raw` or no table of conditions, two headers have one name, or MERL's tables do
        not fit.
    """

    def __init__(self, raw: RawFolder, tables: Tables, recipe: dict[str, Any]):
        self.raw, self.table_files = raw, [(raw, TABLE)]
        if not raw.is_file(TABLE):
            raise BadRawData(
                f"{raw} is not CSN: {TABLE} not found: expected it and the folder WFDBRecords/; give the folder that "
                "holds them as --raw"
            )
        names = [name.removesuffix(".hea") for name in raw.names(".hea")]
        if not names:
            raise BadRawData(
                f"{raw} is not CSN: no .hea file in it or its sub-folders: expected headers such as "
                "WFDBRecords/01/010/JS00001.hea; download it again"
            )
        self._label_sets = LabelSets(recipe)
        self._merl = MerlSets(tables, recipe, self._label_sets)
        self.published_subsets = self._merl.published_subsets
        self.table_files += self._merl.files
        vocabularies = {scheme: table.names for scheme, table in self._merl.tables.items()}
        vocabularies[SCHEME] = condition_names(raw, fresh=True).labels
        self.label_names = self._label_sets.names(vocabularies)
        self._table = self._records(names, recipe)

    def _records(self, names: list[str], recipe: dict[str, Any]) -> pa.Table:
        """Return record ids, ascending, and paths."""
        ids = pa.chunked_array([[name.rpartition("/")[2] for name in names]], pa.string())
        refuse_duplicates(ids, f"record names under {self.raw}")
        table = pa.table({"record_id": ids, "path": pa.array(names, pa.string())})
        table = self._merl.restrict(without_excluded(table, recipe), str(self.raw), ids)
        return table.take(sorted_rows(table["record_id"]))

    @property
    def record_ids(self) -> pa.ChunkedArray:
        """All record ids, ascending as text."""
        return self._table["record_id"]

    def entries(self, start: int, stop: int) -> list[RecordEntry]:
        """Return the entries at places `start` to `stop` of `record_ids`; their headers are not read yet."""
        part = self._table.slice(start, stop - start)
        merl, splits = self._merl.labels(part["record_id"]), self._merl.splits(part["record_id"])
        return [
            RecordEntry(
                row["record_id"],
                row["record_id"],
                row["path"],
                labels=self._label_sets.labels({scheme: labels[place] for scheme, labels in merl.items()}),
                split=splits[place],
            )
            for place, row in enumerate(part.to_pylist())
        ]


def read_entry(raw: RawFolder, entry: RecordEntry, recipe: dict[str, Any]) -> EcgRecord:
    """Read the recording of `entry`, with codes, report, labels, age and sex from its header.

    The report is the names of the conditions, joined with commas. Raises BadRecord (see
    :func:`read_wfdb_or_joined`).
    """
    read = read_wfdb_or_joined(raw, entry)
    said, conditions = header_comments(read.comments), condition_names(raw)
    labels = LabelSets(recipe).completed(entry.labels, SCHEME, conditions.labels_of(said.codes))
    return read.record(
        replace(
            entry, report=conditions.report(said.codes), labels=labels, codes=said.codes, age=said.age, sex=said.sex
        )
    )


def check(recipe: dict[str, Any], where: str) -> None:
    """Refuse a recipe that needs a scheme of MERL and has none (see :func:`check_merl`)."""
    check_merl(recipe, where, own_split=False)


READER = Reader(Csn, read_entry, label_schemes=(SCHEME, *MERL_SCHEMES), official_split=True, check=check)
