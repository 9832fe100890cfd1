"""PTB-XL 1.0.1 to 1.0.3 (https://physionet.org/content/ptb-xl/1.0.3/).

`ptbxl_database.csv` lists the recordings, `records500/` and `records100/` hold them at 500 and 100 Hz,
`scp_statements.csv` says what the statements are. A record's id is its ecg_id with leading zeros, ``00001``, as in the
file names, so that ids sort like numbers. Reports are German, English or Swedish and are taken letter by letter:
``unvollstÄndiger`` is the table's own spelling, and nothing is repaired. An age of 300, which stands for everybody
older than 89 in the later versions, is kept.
"""

import logging
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora.corpus import Reader
from ecgtext_plugins.corpora.csv_tables import read_columns, refuse_duplicates
from ecgtext_plugins.corpora.excluded import without_excluded
from ecgtext_plugins.corpora.header_comments import age_of
from ecgtext_plugins.corpora.label_sets import LabelSets
from ecgtext_plugins.corpora.label_table import sorted_rows
from ecgtext_plugins.corpora.merl_sets import MerlSets, check_merl
from ecgtext_plugins.corpora.ptbxl_labels import SCHEMES, ScpStatements, scp_codes, statements_used
from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables
from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.corpora.wfdb_records import read_wfdb
from ecgtext_plugins.errors import BadRawData, BadRecipe

logger = logging.getLogger(__name__)
DATABASE = "ptbxl_database.csv"
FILE_COLUMNS = {500: "filename_hr", 100: "filename_lr"}  # by sampling rate
MERL_SCHEMES = ("merl_super", "merl_sub", "merl_form", "merl_rhythm")
SPLITS = {**{fold: "train" for fold in range(1, 9)}, 9: "valid", 10: "test"}
SEXES = {"0": "M", "1": "F"}
_COLUMNS = ["ecg_id", "patient_id", "age", "sex", "device", "recording_date", "report", "scp_codes", "strat_fold"]
_FORMS = {  # column: how its cells look, and how that is told
    "ecg_id": (r"^\d{1,5}$", "a whole number"),
    "patient_id": (r"^\d+(\.0)?$", "a whole number"),
    "strat_fold": (r"^([1-9]|10)(\.0)?$", "1 to 10"),
    "sex": (r"^([01](\.0)?)?$", "0 for male or 1 for female"),
}


class PtbXl:
    """The corpus under `raw`; with a scheme of MERL, the records of its tables.

    Parameters
    ----------
    raw : RawFolder
        Folder with ptbxl_database.csv, scp_statements.csv and records500/ or records100/.
    tables : Tables
        Where MERL's tables are looked for.
    recipe : mapping
        A resolved corpus recipe; ``options.rate`` is 500 or 100.

    Raises
    ------
    BadRawData
        When the folder is not PTB-XL, its tables are malformed or list a record twice, or MERL's do not fit.
    """

    def __init__(self, raw: RawFolder, tables: Tables, recipe: dict[str, Any]):
        self.raw, self.table_files = raw, [(raw, DATABASE)]
        if not raw.is_file(DATABASE):
            raise BadRawData(
                f"{raw} is not PTB-XL: {DATABASE} not found: expected it, scp_statements.csv and records500/; give the "
                "folder that holds them as --raw"
            )
        self._label_sets = LabelSets(recipe)
        self._merl = MerlSets(tables, recipe, self._label_sets)
        self.published_subsets = self._merl.published_subsets
        self.table_files += self._merl.files
        everything = _read_database(raw, recipe["options"]["rate"])
        kept = without_excluded(everything, recipe)
        self._table = self._merl.restrict(kept, f"{raw}/{DATABASE}", everything["record_id"])
        self._read_labels(tables)

    def _read_labels(self, tables: Tables) -> None:
        """Check all statements and make the vocabulary."""
        where = f"{self.raw}/{DATABASE}"
        used = statements_used(self._table["record_id"], self._table["scp_codes"], where)
        self._own = [scheme for scheme in self._label_sets.schemes if scheme in SCHEMES]
        self._statements = ScpStatements(tables) if self._own else None
        vocabularies = {scheme: table.names for scheme, table in self._merl.tables.items()}
        if self._statements:
            self.table_files += self._statements.files
            vocabularies |= self._statements.names
            unknown = {code: count for code, count in sorted(used.items()) if code not in self._statements.known}
            if unknown:
                logger.warning(
                    "statements of %s that %s lacks stay in the codes and give no label (records of each): %s",
                    where,
                    self._statements.files[0][1],
                    ", ".join(f"{code} ({count})" for code, count in unknown.items()),
                )
        self.label_names = self._label_sets.names(vocabularies)

    @property
    def record_ids(self) -> pa.ChunkedArray:
        """All record ids, ascending as text."""
        return self._table["record_id"]

    def entries(self, start: int, stop: int) -> list[RecordEntry]:
        """Return the entries at places `start` to `stop` of `record_ids`."""
        part = self._table.slice(start, stop - start)
        merl = self._merl.labels(part["record_id"])
        splits = self._merl.splits(part["record_id"])
        return [
            self._entry(row, {scheme: labels[place] for scheme, labels in merl.items()}, splits[place])
            for place, row in enumerate(part.to_pylist())
        ]

    def _entry(self, row: dict[str, str], labels: dict[str, Any], split: str) -> RecordEntry:
        codes, fold = scp_codes(row["scp_codes"]), int(float(row["strat_fold"]))
        if self._statements:
            labels |= {scheme: self._statements.classes(scheme, codes) for scheme in self._own}
        return RecordEntry(
            record_id=row["record_id"],
            patient_id=row["patient_id"].removesuffix(".0"),
            source_path=row["path"],
            report=row["report"] or None,
            labels=self._label_sets.labels(labels),
            codes=tuple(f"{code}={likelihood:g}" for code, likelihood in codes.items()),
            age=age_of(row["age"]),
            sex=SEXES.get(row["sex"].removesuffix(".0"), ""),
            recorded_at=row["recording_date"],
            device=row["device"].strip(),
            fold=fold,
            split=split or SPLITS[fold],
        )


def _read_database(raw: RawFolder, rate: int) -> pa.Table:
    """Return the rows in order of `record_id`; `path` is the recording's at `rate`."""
    path = f"{raw}/{DATABASE}"
    table = read_columns(raw, DATABASE, [*_COLUMNS, FILE_COLUMNS[rate]])
    if not len(table):
        raise BadRawData(f"{path} lists no record: expected at least one; download it again")
    for column, (form, expected) in _FORMS.items():
        wrong = table.filter(pc.invert(pc.match_substring_regex(table[column], form)))
        if len(wrong):
            raise BadRawData(
                f"{path} has {column} {wrong[column][0].as_py()[:40]!r} in the row of ecg_id "
                f"{wrong['ecg_id'][0].as_py()[:40]!r}: expected {expected}; use the table as published"
            )
    ids = pc.utf8_lpad(table["ecg_id"], 5, "0")
    refuse_duplicates(ids, f"ecg_id values in {path}")
    table = table.append_column("record_id", ids).append_column("path", table[FILE_COLUMNS[rate]])
    return table.take(sorted_rows(ids))


def read_entry(raw: RawFolder, entry: RecordEntry, recipe: dict[str, Any]) -> EcgRecord:
    """Read the recording of `entry`; raises BadRecord (see :func:`read_wfdb`)."""
    return read_wfdb(raw, entry).record(entry)


def check(recipe: dict[str, Any], where: str) -> None:
    """Raise BadRecipe for a rate that PTB-XL has no files of, and as :func:`check_merl`."""
    rate = recipe["options"]["rate"]
    if rate not in FILE_COLUMNS:
        raise BadRecipe(f"{where}: options.rate is {rate}: expected {' or '.join(map(str, FILE_COLUMNS))}; correct it")
    check_merl(recipe, where, own_split=True)


READER = Reader(
    PtbXl,
    read_entry,
    options={"rate": ((int,), 500)},
    label_schemes=(*SCHEMES, *MERL_SCHEMES),
    official_split=True,
    check=check,
)
