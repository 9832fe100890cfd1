"""Recordings to embed or to predict for: manifests, WFDB records, .npy and .mat files, and folders of such files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora import cpsc2018_signals, fairseq_mat
from ecgtext_plugins.corpora.csv_tables import refuse_duplicates
from ecgtext_plugins.corpora.generic_arrays import read_array
from ecgtext_plugins.corpora.mat_struct import LARGEST_FILE, read_variables
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.record import RecordEntry
from ecgtext_plugins.corpora.wfdb_records import read_wfdb
from ecgtext_plugins.data.ecg_dataset import is_standardised
from ecgtext_plugins.data.windows import recordings
from ecgtext_plugins.errors import BadRawData, BadRecord
from ecgtext_plugins.store.manifest import Manifest, read_manifest

WFDB, NPY, MAT = ".hea", ".npy", ".mat"
ARRAYS = "give --fs HZ and --leads I,II,... of the arrays (and --key NAME for the variable of .mat files)"


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording as it is.

    Attributes
    ----------
    signal : ndarray (12, T) float32
        Millivolt, leads I II III aVR aVL aVF V1..V6; missing samples and leads are NaN.
    rate : float
        Hz.
    standardised : bool
        The leads have mean 0 and deviation 1 over the whole record instead of a unit.
    windows : ndarray (W, 3) int64, or None
        Of what a manifest cuts into windows: first column in `signal`, samples, first sample in the record.
    """

    signal: np.ndarray
    rate: float
    standardised: bool = False
    windows: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class ArrayForm:
    """What .npy files, and .mat files of no known dataset, don't tell themselves: rate (Hz), leads, unit, variable."""

    rate: float | None = None
    leads: tuple[str, ...] | None = None
    unit: str = "mV"
    key: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether rate and leads are known."""
        return self.rate is not None and self.leads is not None


class Records(Protocol):
    """Recordings by their place."""

    ids: pa.Array

    def read(self, place: int) -> Recording:
        """Read one; raises an EcgTextError that says why it cannot be used."""


class ManifestRecords:
    """The recordings of a manifest, in order of first appearance; windows of one recording are one.

    Attributes
    ----------
    manifest : Manifest
    ids : pyarrow array of str
    """

    def __init__(self, manifest: Manifest):
        self.manifest = manifest
        store, places = manifest.store, np.arange(len(manifest))
        self._segments = not manifest.holds_counts and (store.listed_kind == "cmsc" or store.first.segment >= 0)
        of = recordings(manifest) if self._segments else manifest.rows
        _, first, of = np.unique(of, return_index=True, return_inverse=True)
        order = np.lexsort((places, first[of]))
        self._entries = np.split(order, np.flatnonzero(np.diff(first[of][order])) + 1) if len(order) else []
        names = store.text_column("record_id").take(pa.array(manifest.rows[np.sort(first)]))
        self.ids = pc.replace_substring_regex(names, r"_\d+$", "") if self._segments else names

    def read(self, place: int) -> Recording:
        """Read the recording at `place`."""
        manifest, entries = self.manifest, self._entries[place]
        rate, standardised = float(manifest.store.sample_rate), is_standardised(manifest)
        if self._segments:
            parts = [manifest.signal_mv(entry) for entry in entries]
            lengths = np.array([part.shape[1] for part in parts])
            numbers = manifest.store.column("segment")[manifest.rows[entries]]
            numbers = np.where(numbers < 0, np.arange(len(entries)), numbers)
            windows = np.stack([np.cumsum(lengths) - lengths, lengths, numbers * lengths], axis=1)
            return Recording(np.concatenate(parts, axis=1), rate, standardised, windows)
        signal = manifest.store.signal_mv(int(manifest.rows[entries[0]]))
        starts = manifest.starts[entries]
        windows = np.stack([starts, manifest.n_samples[entries], starts], axis=1) if manifest.windows else None
        return Recording(signal, rate, standardised, windows)


class FileRecords:
    """Recordings in files of their own: a record id is the file's name without extension.

    Parameters
    ----------
    raw : RawFolder
    names : sequence of str
        Of headers, .npy and .mat files in it.
    form : ArrayForm
    """

    def __init__(self, raw: RawFolder, names: Sequence[str], form: ArrayForm):
        self.raw, self.names, self.form = raw, list(names), form
        self.ids = pa.array([name.rpartition("/")[2].rpartition(".")[0] for name in self.names], pa.string())

    def read(self, place: int) -> Recording:
        """Read the recording at `place`."""
        name = self.names[place]
        record_id, path = self.ids[place].as_py(), name[: -len(WFDB)] if name.endswith(WFDB) else name
        entry = RecordEntry(record_id, "", path)
        if name.endswith(WFDB):
            found = read_wfdb(self.raw, entry)
            if found.checksum_error:
                raise BadRecord("checksum", found.checksum_error)
            return Recording(found.signal, found.rate)
        if name.endswith(MAT) and self.form.key is None:
            return self._dataset_mat(entry)
        return self._array(entry, name.rpartition(".")[2])

    def _array(self, entry: RecordEntry, kind: str) -> Recording:
        if not self.form.is_complete:
            raise BadRecord("array_form", f"record {entry.record_id} is an array without rate or lead names: {ARRAYS}")
        said = {"format": kind, "rate": self.form.rate, "unit": self.form.unit, "leads": list(self.form.leads)}
        record = read_array(self.raw, entry, "", "", said | {"gain": None, "layout": "auto", "key": self.form.key})
        return Recording(record.signal, record.native_rate)

    def _dataset_mat(self, entry: RecordEntry) -> Recording:
        """Read a sample file of fairseq-signals or a recording of CPSC 2018, which say or imply their rate."""
        source = f"record {entry.record_id}"
        try:
            if self.raw.size(entry.source_path) > LARGEST_FILE:
                raise BadRecord("too_long", f"{source} has more than {LARGEST_FILE} bytes: expected fewer; cut it")
            content = self.raw.read(entry.source_path)
            if read_variables(content, ["feats"]):
                found = fairseq_mat.read_mat(content, source)
                return Recording(found.stored_signal(), found.rate, found.is_standardised)
            found = cpsc2018_signals.read_mat(self.raw, entry)
            return Recording(found.signal, found.rate)
        except (OSError, ValueError) as error:
            raise BadRecord(
                "unreadable", f"{source} cannot be read ({error}): expected a whole MATLAB 5 file"
            ) from None
        except BadRecord as error:
            if error.reason != "mat_file":
                raise
            raise BadRecord(
                "mat_file",
                f"{source}: {entry.source_path} holds neither feats, as fairseq-signals' files do, nor CPSC 2018's "
                f"struct ECG: for another variable {ARRAYS}",
            ) from None


class RecordSources:
    """Recordings of several inputs as one sequence.

    Raises
    ------
    BadRawData
        When there is none, or two have one record id.
    """

    def __init__(self, parts: Sequence[Records]):
        self.parts = list(parts)
        self.ids = pa.concat_arrays([part.ids.cast(pa.string()) for part in parts])
        refuse_duplicates(pa.chunked_array([self.ids]), "record ids of the inputs")
        if not len(self.ids):
            raise BadRawData("the inputs hold no record: expected at least one; give other files")

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([len(part.ids) for part in self.parts])

    def read(self, place: int) -> Recording:
        """Read the recording at `place`."""
        part = int(np.searchsorted(self._ends, place, side="right"))
        return self.parts[part].read(place - int(self._ends[part]) + len(self.parts[part].ids))

    @property
    def manifests(self) -> list[Manifest]:
        """Those among the inputs."""
        return [part.manifest for part in self.parts if isinstance(part, ManifestRecords)]


def open_records(inputs: Sequence[str | Path], form: ArrayForm | None = None) -> RecordSources:
    """Open what was given: nothing but manifests and folders' listings is read.

    Parameters
    ----------
    inputs : sequence of path-like
        Manifests (.tsv, ours or fairseq-signals'); WFDB records by their header or without extension; .npy and .mat
        files; folders of such. A .mat file with a header beside it is a WFDB record.
    form : ArrayForm, optional
        Of .npy files, and of .mat files but those of fairseq-signals and CPSC 2018.

    Raises
    ------
    BadRawData
        When an input is not there or is none of these, or two recordings have one id.
    BadManifest, BadStore
        When a manifest or its store cannot be opened.
    """
    form = form or ArrayForm()
    parts: list[Records] = []
    for text in map(str, inputs):
        if text.endswith(".tsv"):
            parts.append(ManifestRecords(read_manifest(text)))
            continue
        raw, names = _files(text)
        if not form.is_complete and (form.key is not None or any(name.endswith(NPY) for name in names)):
            raise BadRawData(f"{text} holds arrays, which tell neither their rate nor their leads: {ARRAYS}")
        parts.append(FileRecords(raw, names, form))
    return RecordSources(parts)


def _files(text: str) -> tuple[RawFolder, list[str]]:
    """Return the folder and the files in it that an input stands for."""
    folder = RawFolder(text)
    if folder.exists():
        return folder, _in_folder(folder)
    place, _, name = text.rstrip("/").rpartition("/")
    raw = RawFolder(place or ("/" if text.startswith("/") else "."))
    stem, dot, ending = name.rpartition(".")
    known = {WFDB[1:], MAT[1:], "dat"}
    header = f"{stem if dot and ending in known else name}{WFDB}"
    if raw.is_file(header):
        return raw, [header]
    if f".{ending}" in (NPY, MAT) and raw.is_file(name):
        return raw, [name]
    raise BadRawData(
        f"the input {text} is not there or not known: expected a manifest (.tsv), a WFDB record (its .hea, or its name "
        "without extension), a .npy or .mat file, or a folder of records"
    )


def _in_folder(folder: RawFolder) -> list[str]:
    """Return the headers below a folder, and the .mat and .npy files without one."""
    if folder.is_file("corpus.json"):
        raise BadRawData(f"{folder} is a record store: expected one of its manifests; give {folder}/manifests/test.tsv")
    headers = folder.names(WFDB)
    described = {name[: -len(WFDB)] for name in headers}
    arrays = [name for ending in (MAT, NPY) for name in folder.names(ending)]
    names = sorted([*headers, *(name for name in arrays if name.rpartition(".")[0] not in described)])
    if not names:
        raise BadRawData(f"{folder} holds no .hea, .mat or .npy file: expected recordings; give another folder")
    return names
