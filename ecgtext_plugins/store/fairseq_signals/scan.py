"""Reading every .mat file of a list once: what a training asks for beforehand, and whether all are whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import pyarrow as pa

from ecgtext_plugins.corpora.fairseq_mat import MatFile, read_mat
from ecgtext_plugins.corpora.record import signal_checksum
from ecgtext_plugins.corpora.report_text import clean_report
from ecgtext_plugins.errors import BadManifest, BadRecord
from ecgtext_plugins.signals.quality import empty_leads, flat_leads, nan_share
from ecgtext_plugins.store.workers import spread

FILES_A_PART = 500
COLUMNS = pa.schema(
    [
        ("sample_rate", pa.float64()),
        ("is_standardised", pa.bool_()),
        ("idx", pa.int64()),
        ("segment", pa.int64()),
        ("patient_id", pa.string()),
        ("report", pa.string()),
        ("age", pa.float32()),
        ("sex", pa.string()),
        ("label", pa.list_(pa.bool_())),
        ("missing_leads", pa.int16()),
        ("flat_leads", pa.int16()),
        ("missing_share", pa.float32()),
        ("checksum", pa.string()),
    ]
)


@dataclass(frozen=True)
class ListedFile:
    """A file, its number of samples by the manifest, and where the manifest lists it: ``train.tsv line 7``."""

    path: str
    n_samples: int
    where: str


@dataclass(frozen=True)
class _Part:
    start: int
    files: tuple[ListedFile, ...]


def scan_files(files: Sequence[ListedFile], workers: int = 1) -> pa.Table:
    """Read all `files`; return a row for each with COLUMNS. Shows a bar.

    Raises
    ------
    BadManifest
        Naming manifest and line of the first file that is missing, damaged, or has another length, rate or unit than
        it should.
    """
    from tqdm import tqdm

    starts = range(0, len(files), FILES_A_PART)
    parts = (_Part(start, tuple(files[start : start + FILES_A_PART])) for start in starts)
    tables: dict[int, pa.Table] = {}
    with tqdm(total=len(files), desc="read .mat files", unit=" files", disable=None) as bar:
        for start, table in spread(_scan_part, parts, min(workers, len(starts))):
            tables[start] = table
            bar.update(len(table))
    table = pa.concat_tables([COLUMNS.empty_table(), *(tables[start] for start in starts)])
    _refuse_mixture(files, table["sample_rate"].to_numpy(), "curr_sample_rate {} Hz")
    _refuse_mixture(files, table["is_standardised"].to_numpy(), "standardised signals: {}")
    return table.combine_chunks()


def read_listed(file: ListedFile) -> MatFile:
    """Read a file and check its length.

    Raises
    ------
    BadRecord
        ``missing_file``, ``unreadable``, ``wrong_length``; all of :func:`read_mat`.
    """
    try:
        with open(file.path, "rb") as handle:
            data = handle.read()
    except FileNotFoundError:
        raise BadRecord(
            "missing_file",
            f"{file.where}: there is no file {file.path}: expected the sample of that line; copy it there, correct the "
            "folder in line 1, or take that manifest out of its folder",
        ) from None
    except OSError as error:
        raise BadRecord(
            "unreadable", f"{file.where}: {file.path} cannot be read ({error}); check the disk and permissions"
        ) from None
    found = read_mat(data, f"{file.where}: {file.path}")
    if found.feats.shape[1] != file.n_samples:
        raise BadRecord(
            "wrong_length",
            f"{file.where}: {file.path} has {found.feats.shape[1]} samples: expected {file.n_samples} by that line; "
            "write the manifest again",
        )
    return found


def _scan_part(part: _Part) -> tuple[int, pa.Table]:
    try:
        rows = [_row(file.path, read_listed(file)) for file in part.files]
    except BadRecord as error:
        raise BadManifest(str(error)) from None
    return part.start, pa.Table.from_pylist(rows, schema=COLUMNS)


def _row(path: str, found: MatFile) -> dict:
    signal = found.stored_signal()
    missing = empty_leads(signal)
    return {
        "sample_rate": found.rate,
        "is_standardised": found.is_standardised,
        "idx": found.idx,
        "segment": found.segment,
        "patient_id": _patient(path, found),
        "report": clean_report(found.text),
        "age": found.age,
        "sex": found.sex,
        "label": None if found.label is None else found.label.tolist(),
        "missing_leads": missing,
        "flat_leads": flat_leads(signal) & ~missing,
        "missing_share": nan_share(signal, missing),
        "checksum": signal_checksum(signal),
    }


def _patient(path: str, found: MatFile) -> str:
    """Name who counts as one patient: by patient_id, else, as in fairseq-signals, by sample id, else by the file.

    Sample ids are unique over all sources; patient ids are so within what one run wrote, which is one folder.
    """
    if found.idx >= 0 and not found.patient_id:
        return f"idx {found.idx}"
    place = PurePath(path)
    return f"{place.parent.name}/{found.patient_id or place.stem}"


def _refuse_mixture(files: Sequence[ListedFile], values: np.ndarray, words: str) -> None:
    other = np.flatnonzero(values != values[0]) if len(values) else []
    if len(other):
        one, two = files[0], files[int(other[0])]
        raise BadManifest(
            f"{two.where}: {two.path} has {words.format(values[other[0]])}, but {one.path} ({one.where}) has "
            f"{words.format(values[0])}: expected the same in all files of a manifest; list them in manifests of their "
            "own, in folders of their own"
        )
