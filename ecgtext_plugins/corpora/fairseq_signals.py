"""A tree that fairseq-signals (https://github.com/Jwoo5/fairseq-signals) has preprocessed: .mat files and its tables.

Of its newer pipeline, org/ holds the recordings in millivolt, meta.csv lists them, meta_split.csv says the split, and
labels/ the labels by sample id. Its older pipelines leave folders of .mat files alone, with text, patient_id, age, sex
or label inside. A record's id is its file's name without extension.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora.array_records import array_record
from ecgtext_plugins.corpora.corpus import Reader
from ecgtext_plugins.corpora.csv_tables import column_names, read_columns, refuse_duplicates
from ecgtext_plugins.corpora.fairseq_labels import TreeLabels, whole_numbers
from ecgtext_plugins.corpora.fairseq_mat import MatFile, read_mat
from ecgtext_plugins.corpora.header_comments import age_of, sex_of
from ecgtext_plugins.corpora.label_sets import LabelSets
from ecgtext_plugins.corpora.label_table import flagged, sorted_rows
from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables, is_under, safe_name
from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.corpora.snomed import scored_labels
from ecgtext_plugins.errors import BadRawData, BadRecipe, BadRecord
from ecgtext_plugins.signals.leads import LEADS

TREE, CHALLENGE = "labels", "challenge2021_scored"  # label schemes: files in labels/, and `label` inside .mat files
TEXT, NULL = (str,), type(None)
OPTIONS = {
    "folder": (TEXT, "org"),
    "table": ((str, NULL), "meta.csv"),
    "splits": ((str, NULL), "meta_split.csv"),
    "patient_columns": ((list,), ["patient_id", "subject_id"]),
    "report_columns": ((list,), ["machine_report"]),
}
SEXES = {"0": "M", "1": "F"}
SPLITS = ("train", "valid", "test")
_AGE, _SEX, _IS_MALE, _TIMES = "age", "sex", "is_male", ("recorded_at", "ecg_time")


class FairseqSignals:
    """The corpus under `raw`.

    Parameters
    ----------
    raw : RawFolder
        The folder that its scripts call processed_root.
    recipe : mapping
        A resolved recipe. `options`: `folder` of the .mat files (``.`` for `raw` itself); `table` that lists them
        (null: all files below the folder) and `splits` (null: none); of `patient_columns` and `report_columns` the
        first one that the table has counts, without any the file's own patient_id and text. `exclude_sources` leaves
        out sub-folders, and rows by the columns source and dataset. `labels.scheme`: ``labels``, or
        ``challenge2021_scored`` for files of the older pipeline that carry a label each.

    Raises
    ------
    BadRawData
        When a table, a folder or the labels are not there or malformed, or list a record twice.
    """

    def __init__(self, raw: RawFolder, tables: Tables, recipe: dict[str, Any]):
        self.raw, self.options = raw, recipe["options"]
        self.published_subsets: dict[str, list[str]] = {}
        self.table_files: list[tuple[RawFolder, str]] = []
        table = self._listed(recipe) if self.options["table"] is None else self._tabled(recipe)
        if not len(table):
            raise BadRawData(
                f"{raw} lists no .mat file to read in {self.options['folder']}: expected a tree that fairseq-signals "
                "has preprocessed; correct the recipe's options, or its exclude_sources"
            )
        refuse_duplicates(table["record_id"], f"record names under {raw}")
        self._table = table.take(sorted_rows(table["record_id"]))
        if recipe["split"]["by"] == "official":
            self._refuse_leaks()
        self._label_sets = LabelSets(recipe)
        self._tree_names: list[str] = []
        self._flags = np.zeros((0, 0), dtype=bool)
        if TREE in self._label_sets.schemes:
            self._read_labels()
        self.label_names = self._label_sets.names({TREE: self._tree_names, CHALLENGE: scored_labels()})

    def _listed(self, recipe: dict[str, Any]) -> pa.Table:
        """List the .mat files below the folder."""
        folder = self.options["folder"].strip("./")
        excluded = {name.strip("/") for name in recipe["exclude_sources"]}
        paths = [path for path in self.raw.names(".mat") if not folder or path.startswith(f"{folder}/")]
        paths = [path for path in paths if not is_under(path, excluded)]
        return pa.table({"record_id": [_stem(path) for path in paths], "path": pa.array(paths, pa.string())})

    def _tabled(self, recipe: dict[str, Any]) -> pa.Table:
        """List the files by the table, with what else it says."""
        name = self.options["table"]
        names = self._columns(name)
        chosen = {
            "patient": next((column for column in self.options["patient_columns"] if column in names), None),
            "report": next((column for column in self.options["report_columns"] if column in names), None),
            "recorded_at": next((column for column in _TIMES if column in names), None),
            **{key: key if key in names else None for key in (_AGE, _SEX, _IS_MALE, "idx", "source", "dataset")},
        }
        columns = {key: column for key, column in chosen.items() if column}
        read = read_columns(self.raw, name, list(dict.fromkeys(["save_file", *columns.values()])))
        folder = self.options["folder"].strip("./")
        files = read["save_file"].to_pylist()
        table = pa.table(
            {
                "record_id": pa.array([_stem(file) for file in files], pa.string()),
                "path": pa.array([f"{folder}/{file}".lstrip("/") for file in files], pa.string()),
                **{key: read[column] for key, column in columns.items()},
            }
        )
        excluded = pa.array(sorted(recipe["exclude_sources"]), pa.string())
        for key in ("source", "dataset"):
            if key in columns:
                table = table.filter(pc.invert(pc.is_in(table[key], value_set=excluded)))
        return self._with_splits(table)

    def _columns(self, name: str) -> list[str]:
        if not self.raw.is_file(name):
            raise BadRawData(
                f"{self.raw} has no {name}: expected the folder that fairseq-signals calls processed_root; give it as "
                "--raw, or in a recipe of your own null for a table that there is none of"
            )
        self.table_files.append((self.raw, name))
        return column_names(self.raw, name)

    def _with_splits(self, table: pa.Table) -> pa.Table:
        name = self.options["splits"]
        if name is None:
            return table
        self._columns(name)
        splits = read_columns(self.raw, name, ["save_file", "split"])
        refuse_duplicates(splits["save_file"], f"values of save_file in {self.raw}/{name}")
        stems = pa.array([_stem(file) for file in splits["save_file"].to_pylist()], pa.string())
        rows = pc.index_in(table["record_id"], value_set=stems)
        return table.append_column("split", pc.fill_null(pc.take(splits["split"], rows), ""))

    def _refuse_leaks(self) -> None:
        """Refuse splits by recording, as its strategy random makes them, where the table tells patients."""
        if not {"patient", "split"} <= set(self._table.column_names):
            return
        pairs = self._table.filter(pc.is_in(self._table["split"], pa.array(SPLITS))).group_by(["patient", "split"])
        counts = pc.value_counts(pairs.aggregate([])["patient"])
        several = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
        if len(several):
            raise BadRawData(
                f"{self.raw}/{self.options['splits']} has {len(several)} patients in more than one split (one is "
                f"{several[0].as_py()}): expected splits by patient; set split.by to patient in the recipe, or "
                "options.patient_columns to [] to take every record for a patient of its own"
            )

    def _read_labels(self) -> None:
        if "idx" not in self._table.column_names:
            raise BadRawData(
                f"{self.raw}: labels go by the column idx of {self.options['table'] or 'a table'}, which is not there: "
                "expected it; set labels to null in the recipe"
            )
        idx = whole_numbers(self._table["idx"], "idx", f"{self.raw}/{self.options['table']}")
        labels = TreeLabels(self.raw)
        self.table_files += labels.files
        self._tree_names, self._flags = labels.names, labels.of(idx)

    @property
    def record_ids(self) -> pa.ChunkedArray:
        """All record ids, ascending as text."""
        return self._table["record_id"]

    def entries(self, start: int, stop: int) -> list[RecordEntry]:
        """Return the entries at places `start` to `stop` of `record_ids`."""
        rows = self._table.slice(start, stop - start).to_pylist()
        found = flagged(self._flags[start:stop], self._tree_names) if self._tree_names else [()] * len(rows)
        return [
            RecordEntry(
                record_id=row["record_id"],
                patient_id=_without_zero(row.get("patient") or "") or row["record_id"],
                source_path=row["path"],
                report=row.get("report") or None,
                labels=self._label_sets.labels({TREE: labels}),
                age=age_of(row.get(_AGE) or ""),
                sex=_sex(row),
                recorded_at=row.get("recorded_at") or "",
                split=row.get("split") or "",
            )
            for row, labels in zip(rows, found, strict=True)
        ]


def read_entry(raw: RawFolder, entry: RecordEntry, recipe: dict[str, Any]) -> EcgRecord:
    """Read the recording of `entry`, with what the tables don't say from its file; a standardised one in millivolt.

    Raises
    ------
    BadRecord
        ``unsafe_path``, ``missing_file``, ``unreadable``, ``label_vector``; all of :func:`read_mat` and
        :func:`array_record`.
    """
    source = f"record {entry.record_id}"
    name = safe_name(entry.source_path, source)
    try:
        data = raw.read(name)
    except FileNotFoundError:
        raise BadRecord(
            "missing_file", f"{source}: {raw}/{name} is not there: expected the .mat file; preprocess it again"
        ) from None
    except OSError as error:
        raise BadRecord("unreadable", f"{source}: {raw}/{name} cannot be read ({error}); check the disk") from None
    found = read_mat(data, source)
    values = found.millivolt()
    present = ~np.isnan(values).all(axis=1)  # fairseq-signals writes a lead that a recording lacks as NaN
    if not present.any():
        raise BadRecord("nan_samples", f"{source} has no sample in any lead: expected an ECG; leave it out")
    leads = [lead for lead, there in zip(LEADS, present, strict=True) if there]
    return array_record(_completed(entry, found, recipe, source), values[present], leads, found.rate, 1.0)


def _completed(entry: RecordEntry, found: MatFile, recipe: dict[str, Any], source: str) -> RecordEntry:
    """Fill in what the tables don't say."""
    sets, labels = LabelSets(recipe), entry.labels
    if CHALLENGE in sets.schemes:
        names = scored_labels()
        if found.label is None or len(found.label) != len(names):
            size = "no label" if found.label is None else f"{len(found.label)} labels"
            raise BadRecord(
                "label_vector",
                f"{source} has {size}: expected one for each of the {len(names)} scored classes of the Challenge 2021; "
                "set labels to null in the recipe",
            )
        given = [name for name, there in zip(names, found.label, strict=True) if there]
        labels = sets.completed(labels, CHALLENGE, given)
    from_table = entry.patient_id != entry.record_id
    return replace(
        entry,
        patient_id=entry.patient_id if from_table else found.patient_id or entry.patient_id,
        report=entry.report or found.text or None,
        labels=labels,
        age=found.age if np.isnan(entry.age) else entry.age,
        sex=entry.sex or found.sex,
    )


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".mat")


def _without_zero(number: str) -> str:
    """Return ``17`` for the ``17.0`` that pandas makes of whole numbers in a column with gaps."""
    return number[:-2] if number.endswith(".0") and number[:-2].isdigit() else number


def _sex(row: dict[str, Any]) -> str:
    if row.get(_IS_MALE):
        return {"true": "M", "1": "M", "false": "F", "0": "F"}.get(row[_IS_MALE].lower(), "")
    text = _without_zero(row.get(_SEX) or "")
    return SEXES.get(text) or sex_of(text)


def _check(recipe: dict[str, Any], where: str) -> None:
    """Raise BadRecipe for a path that leads out of the tree, or columns that are no names."""
    options = recipe["options"]
    for key in ("folder", "table", "splits"):
        value = options[key]
        if value is not None and (value.startswith("/") or ".." in value.split("/") or not value.strip()):
            raise BadRecipe(f"{where}: options.{key} is {value!r}: expected a path inside the raw folder; correct it")
    for key in ("patient_columns", "report_columns"):
        if not all(isinstance(name, str) and name for name in options[key]):
            raise BadRecipe(f"{where}: options.{key} is {options[key]!r}: expected names of columns; correct it")


READER = Reader(
    FairseqSignals,
    read_entry,
    options=OPTIONS,
    label_schemes=(TREE, CHALLENGE),
    official_split=True,
    check=_check,
)
