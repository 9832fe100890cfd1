"""A folder of fairseq-signals' manifests as a store: a record store's questions, answered from .mat files."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora.fairseq_mat import MatFile
from ecgtext_plugins.corpora.snomed import scored_labels
from ecgtext_plugins.errors import BadManifest, BadRecord, BadStore
from ecgtext_plugins.store.fairseq_signals.listed_files import ListedFiles, manifests_in
from ecgtext_plugins.store.fairseq_signals.mat_labels import find_labels, own_labels
from ecgtext_plugins.store.fairseq_signals.scan import read_listed, scan_files
from ecgtext_plugins.store.fairseq_signals.scan_index import read_index, write_index

logger = logging.getLogger(__name__)
MILLIVOLT, STANDARDISED = "mV", "standardised"
FROM_SCAN = ("idx", "segment", "patient_id", "age", "sex", "missing_leads", "flat_leads", "missing_share", "checksum")


class MatStore:
    """All files of the manifests of one kind in a folder; made by :meth:`open`.

    Opening reads the manifests only. The first question about reports, patients or checksums reads every file once
    (the result of ``ecgtext manifest index`` saves that); a signal is read from its file whenever it is asked for.

    Attributes
    ----------
    folder : Path
        The manifests' folder: negatives and a text encoder from scratch belong there.
    listed_kind : str
        The manifests' kind by their form.
    files : ListedFiles
    """

    def __init__(self, folder: Path, listed_kind: str, files: ListedFiles, label_places: Sequence[Path] = ()):
        self.folder, self.listed_kind, self.files = folder, listed_kind, files
        self._label_places = list(label_places)
        self._scan: pa.Table | None = None
        self._forget()

    def _forget(self) -> None:
        self._columns: dict[str, np.ndarray] = {}
        self._first: MatFile | None = None
        self._texts: pa.Array | None = None
        self._labels: Any = False

    def __getstate__(self) -> dict[str, Any]:
        # with the scan, so that a worker needs none of its own
        return {name: getattr(self, name) for name in ("folder", "listed_kind", "files", "_label_places", "_scan")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    @classmethod
    def open(cls, folder: str | Path, kind: str) -> "MatStore":
        """Open the manifests of a kind (``plain``, ``cmsc``, ``identification``) in `folder`.

        Raises
        ------
        BadManifest
            When one of them is malformed, or there is none.
        """
        folder = Path(folder).resolve()
        manifests = manifests_in(folder, kind)
        if not manifests:
            raise BadManifest(f"{folder} holds no {kind} manifest of fairseq-signals: expected one; give its folder")
        roots = list(dict.fromkeys(manifest.root for manifest in manifests))
        places = [folder / "labels", *(root.parent / "labels" for root in roots)]
        return cls(folder, kind, ListedFiles(manifests), places)

    def __len__(self) -> int:
        return len(self.files)

    def scan(self, workers: int = 1, keep: bool = False) -> pa.Table:
        """Return what all files say, a row each; with `keep`, read them anew and write it beside the manifests.

        Raises
        ------
        BadManifest
            Naming manifest and line of the first file that is missing, damaged or unlike the others.
        """
        if keep:
            self._forget()
            self._scan = scan_files(self.files, workers)
            write_index(self.folder, self.files.digest, self._scan)
        elif self._scan is None:
            self._scan = read_index(self.folder, self.files.digest)
            if self._scan is None:
                logger.info(
                    "reading all %d files of %s once; `ecgtext manifest index %s` keeps the result for the next time",
                    *(len(self), self.folder, self.folder),
                )
                self._scan = scan_files(self.files, workers)
        return self._scan

    @property
    def first(self) -> MatFile:
        """The first file, which stands for all in rate, unit and kind of labels."""
        if self._first is None:
            if not len(self):
                raise BadManifest(f"the manifests in {self.folder} list no file: expected at least one; make them anew")
            try:
                self._first = read_listed(self.files[0])
            except BadRecord as error:
                raise BadManifest(str(error)) from None
        return self._first

    @property
    def kind(self) -> str:
        """``plain``, ``text`` (plain by form, and its first file has a report), ``cmsc`` or ``identification``."""
        return "text" if self.listed_kind == "plain" and self.first.text else self.listed_kind

    @property
    def sample_rate(self) -> float:
        """Hz of all files: their curr_sample_rate."""
        return self.first.rate

    @property
    def unit(self) -> str:
        """MILLIVOLT for org files and the older pipelines', STANDARDISED for preprocessed and segmented ones."""
        return STANDARDISED if self.first.is_standardised else MILLIVOLT

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that the manifests say."""
        return self.files.digest

    @property
    def reports_fingerprint(self) -> str:
        """SHA-256 of the unique reports in order."""
        digest = hashlib.sha256()
        for text in self.report_texts().to_pylist():
            digest.update(text.encode("utf-8") + b"\n")
        return digest.hexdigest()

    @property
    def corpus(self) -> dict[str, Any]:
        """What corpus.json says of a record store, as far as it applies."""
        names, counts = np.unique(self.files.splits.astype(str), return_counts=True)
        return {
            "recipe": {"name": self.folder.name, "reader": "fairseq_signals"},
            "fingerprint": self.fingerprint,
            "counts": {"found": len(self), "kept": len(self), "failed": 0},
            "failures": {},
            "label_names": self.label_names,
            "splits": dict(zip(names.tolist(), counts.tolist(), strict=True)),
            "sample_rate": self.sample_rate,
            "unit": self.unit,
        }

    def text_column(self, name: str) -> pa.Array:
        """Return a column of text; of ids and paths without a Python object a row."""
        listed = {"record_id": self.files.names, "source_path": self.files.paths}
        if name in listed:
            return listed[name]
        return self.scan()[name].combine_chunks() if name in FROM_SCAN else pa.array(self.column(name), pa.string())

    def column(self, name: str) -> np.ndarray:
        """Return a column, (len(self),), read-only.

        Those of a record store that the files can fill, and `unit`, `idx` and `segment` (-1 where they have none).

        Raises
        ------
        BadStore
            When there is none of that name.
        """
        if name not in self._columns:
            values = self._column(name)
            values.flags.writeable = False
            self._columns[name] = values
        return self._columns[name]

    def _column(self, name: str) -> np.ndarray:
        if name in ("record_id", "source_path"):
            return self.text_column(name).to_numpy(zero_copy_only=False).copy()
        if name in ("n_samples", "split"):
            return (self.files.sizes if name == "n_samples" else self.files.splits).copy()
        if name in ("sample_rate", "native_rate"):
            return np.full(len(self), self.sample_rate)
        if name == "unit":
            return np.full(len(self), self.unit, dtype=object)
        if name in FROM_SCAN:
            return self.scan()[name].to_numpy().copy()
        if name == "report_id":
            texts = self.scan()["report"]
            found = pc.index_in(texts, value_set=self.report_texts())
            return pc.fill_null(found, -1).to_numpy().astype(np.int64)
        if name == "labels":
            matrix = self.label_matrix(np.arange(len(self)), self.label_names)
            labels = np.array(self.label_names, dtype=object)
            return np.fromiter((labels[row] for row in matrix), dtype=object, count=len(matrix))
        known = ("record_id", "source_path", "n_samples", "split", "sample_rate", "native_rate", "unit", *FROM_SCAN)
        raise BadStore(
            f"the manifests in {self.folder} have no column {name}: expected {', '.join(known)}, report_id or labels; "
            "build a record store from the data for more"
        )

    def rows_of(self, record_ids: Sequence[str] | pa.ChunkedArray, source: str = "") -> np.ndarray:
        """Return the rows of records, (len(record_ids),) int64.

        Raises
        ------
        BadManifest
            Naming the first record that is not there, and `source` (a manifest).
        """
        asked = record_ids if isinstance(record_ids, pa.ChunkedArray) else pa.array(record_ids, type=pa.string())
        rows = pc.index_in(asked, value_set=self.files.names)
        if rows.null_count:
            first = asked.filter(rows.is_null())[0]
            raise BadManifest(
                f"{source or 'the list of records'} names record {first}, which no manifest in {self.folder} lists "
                f"(and {rows.null_count - 1} more): expected records of these; correct it"
            )
        return rows.to_numpy().astype(np.int64)

    def signal_mv(self, row: int) -> np.ndarray:
        """Return a record's signal as its file stores it, float32 (12, T), missing samples NaN.

        In millivolt or without unit, as :attr:`unit` says.

        Raises
        ------
        BadStore
            When the file is missing, damaged, or of another length, rate or unit than the others.
        """
        try:
            found = read_listed(self.files[int(row)])
        except BadRecord as error:
            raise BadStore(str(error)) from None
        if (found.rate, found.is_standardised) != (self.sample_rate, self.first.is_standardised):
            unit = STANDARDISED if found.is_standardised else MILLIVOLT
            raise BadStore(
                f"{self.files[int(row)].path} is at {found.rate:g} Hz, {unit}: expected {self.sample_rate:g} Hz, "
                f"{self.unit}, as in {self.files[0].path}; list them in manifests of their own"
            )
        return found.stored_signal()

    def report_texts(self) -> pa.Array:
        """Return all unique reports, by report id: numbered in order of first appearance."""
        if self._texts is None:
            unique = pc.unique(self.scan()["report"].combine_chunks())
            self._texts = unique.filter(pc.not_equal(unique, ""))
        return self._texts

    @property
    def n_reports(self) -> int:
        """Number of unique reports."""
        return len(self.report_texts())

    def report_text(self, report_id: int) -> str:
        """Return a cleaned report; raises IndexError when `report_id` is negative or too large."""
        texts = self.report_texts()
        if not 0 <= report_id < len(texts):
            raise IndexError(f"report {report_id} of {self.folder}: expected 0 to {len(texts) - 1}")
        return texts[int(report_id)].as_py()

    def _label_files(self):
        if self._labels is False:
            self._labels = find_labels(self._label_places)
        return self._labels

    @property
    def label_names(self) -> list[str]:
        """The names in label_def.csv; the Challenge's scored classes where the files hold a label for each of them."""
        labels = self._label_files()
        if labels is not None:
            return list(labels.names)
        own = self.first.label
        return list(scored_labels()) if own is not None and len(own) == len(scored_labels()) else []

    def label_matrix(self, rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Return which of `rows` carry which of the labels `names`, bool (len(rows), len(names)).

        Raises
        ------
        BadStore
            When a name is unknown, or a record has no labels.
        """
        known = self.label_names
        unknown = [name for name in names if name not in known]
        if unknown:
            raise BadStore(
                f"{self.folder} has no label {', '.join(unknown[:5])}: expected one of "
                f"{', '.join(known) or 'none (there is no labels/y.npy)'}; use these names"
            )
        rows, columns = np.asarray(rows, dtype=np.int64), [known.index(name) for name in names]
        labels = self._label_files()
        if labels is not None:
            return labels.of(self.column("idx")[rows], columns)
        return own_labels(self.scan()["label"], rows, self.files, len(known))[:, columns]
