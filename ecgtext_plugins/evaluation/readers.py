"""CODE-test's readers: what doctors, students and a network decided, as operating points beside a score's ROC curve.

``annotations/*.csv`` of the dataset (https://zenodo.org/records/3765780) have a row of 0 and 1 for each tracing, in the
order of the tracings. Decisions have one sensitivity and one specificity, and no area to stand beside a score's. The
gold standard is what cardiologist1 and cardiologist2 agree on, or a third one where they do not (Ribeiro et al., 2020).
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ecgtext_plugins.corpora.code_test import LABELS
from ecgtext_plugins.corpora.csv_tables import read_columns
from ecgtext_plugins.corpora.label_table import flags
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.errors import BadConfig, BadManifest, BadRawData
from ecgtext_plugins.evaluation.prepared_benchmark import Prepared
from ecgtext_plugins.evaluation.results import pair, patient_codes
from ecgtext_plugins.evaluation.thresholds import operating_points
from ecgtext_plugins.evaluation.transfer import any_of

READER, RECORD_ID = "code_test", "test"  # of the corpus; what its record ids begin with, before the row
Points = dict[str, dict[str, dict[str, Any]]]


def has_readers(prepared: Prepared) -> bool:
    """Whether a benchmark's records are those of CODE-test, its classes those that its readers decided on."""
    return prepared.benchmark.task == "classification" and prepared.store.corpus["recipe"]["reader"] == READER


def reader_points(prepared: Prepared, folder: str | Path, resamples: int, seed: int) -> Points:
    """Find each reader's operating point on each class of a benchmark.

    Parameters
    ----------
    prepared : Prepared
        Of a store of CODE-test.
    folder : path-like
        The dataset's annotations/. The table that the store was labelled by is in it and must agree with the store,
        which shows that rows and records belong together; it is no reader.

    Returns
    -------
    dict
        {reader: {class: fields of an OperatingPoint}}, ready for JSON; readers by their tables' names, classes that all
        test records or none have left out.

    Raises
    ------
    BadConfig
        When a class has a label that the tables lack.
    BadManifest
        When all records are of one patient.
    BadRawData
        When a table is missing, malformed, of another length than the others, or not that of the store's records.
    """
    annotator = prepared.store.corpus["recipe"]["options"]["annotator"]
    tables = _tables(Path(folder), annotator)
    codes = {
        name: [prepared.source.labels.get(code, code) for code in codes]
        for name, codes in prepared.benchmark.classes.items()
    }
    strange = sorted({code for each in codes.values() for code in each} - set(LABELS))
    if strange:
        raise BadConfig(
            f"benchmark {prepared.benchmark.name} has the label {strange[0]}, on which CODE-test's readers did not "
            f"decide: expected some of {', '.join(LABELS)}; run it without --readers"
        )
    groups = patient_codes(prepared.test)
    if len(np.unique(groups)) < 2:
        raise BadManifest(f"{prepared.test.path}: all records are of one patient: expected two at least for intervals")
    rows = _rows(prepared, len(tables[annotator]), folder)
    decisions = {reader: any_of(table[rows], list(LABELS), codes) for reader, table in tables.items()}
    odd = np.argwhere(decisions.pop(annotator) != prepared.labels)
    if len(odd):
        raise BadRawData(
            f"{folder}/{annotator}.csv has another value than the store for {list(codes)[odd[0][1]]} of record "
            f"{prepared.test.record_id(int(odd[0][0]))}: expected the annotations that store {prepared.store.folder} "
            "was built from; give their folder, or build the store again"
        )
    mixed = prepared.labels.any(axis=0) & ~prepared.labels.all(axis=0)
    names = [name for name, defined in zip(codes, mixed, strict=True) if defined]
    labels, settings = prepared.labels[:, mixed], (groups, resamples, seed)
    told: Points = {}
    for reader, decided in sorted(decisions.items()):
        points = operating_points(labels, decided[:, mixed], names, *settings) if names else {}
        told[reader] = {
            name: asdict(point)
            | {key: pair(getattr(point, key)) for key in ("sensitivity_interval", "specificity_interval")}
            for name, point in points.items()
        }
    return told


def _tables(folder: Path, annotator: str) -> dict[str, np.ndarray]:
    """Read the tables of a folder, {name: (tracings, labels) bool}; `annotator`, another one, and of one length."""
    names = sorted(path.name for path in folder.glob("*.csv"))
    if f"{annotator}.csv" not in names or len(names) < 2:
        raise BadRawData(
            f"{folder} has {', '.join(names[:10]) or 'no table'}: expected {annotator}.csv, by which the store was "
            "labelled, and tables of readers; give CODE-test's folder annotations as --readers"
        )
    raw = RawFolder(folder)
    tables = {name: flags(read_columns(raw, name, LABELS), LABELS, f"{raw}/{name}") for name in names}
    lengths = {name: len(table) for name, table in tables.items()}
    expected = lengths[f"{annotator}.csv"]
    other = next((name for name in names if lengths[name] != expected), None)
    if other is not None:
        raise BadRawData(
            f"{folder}/{other} has {lengths[other]} rows: expected {expected} as {annotator}.csv, one for each "
            "tracing; download it again, or take it out of the folder"
        )
    return {name.removesuffix(".csv"): table for name, table in tables.items()}


def _rows(prepared: Prepared, length: int, folder: str | Path) -> np.ndarray:
    """Return the row of each test record in the tables, (n,) int64."""
    found = np.array([int(record_id.removeprefix(RECORD_ID)) for record_id in prepared.test.record_ids], dtype=np.int64)
    if found.max() >= length:
        raise BadRawData(
            f"the tables in {folder} have {length} rows, none for record {RECORD_ID}{found.max():04d}: expected those "
            f"that store {prepared.store.folder} was built from; give their folder"
        )
    return found
