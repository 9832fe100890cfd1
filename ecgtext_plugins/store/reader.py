"""Reading a finished record store: tables by pyarrow, signals by memory maps, everything on first use."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ecgtext_plugins.errors import BadManifest, BadStore
from ecgtext_plugins.store.quantisation import restore
from ecgtext_plugins.store.recipe_keys import FORMAT

REMEDY = "build it with `ecgtext manifest build RECIPE --raw RAW --dest {folder}`"


class RecordStore:
    """A finished store; made by :meth:`open`. It pickles as its path and corpus.json: a worker maps the files itself.

    Attributes
    ----------
    folder : Path
    corpus : dict
        corpus.json.
    """

    def __init__(self, folder: Path, corpus: dict[str, Any]):
        self.folder, self.corpus = folder, corpus
        self._forget()

    def _forget(self) -> None:
        self._columns: dict[str, np.ndarray] = {}
        self._shards: dict[int, np.ndarray] = {}
        self._texts: pa.Array | None = None
        self._ids: pa.Array | None = None
        self._labels: tuple[np.ndarray, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "corpus": self.corpus}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

    @classmethod
    def open(cls, folder: str | Path) -> "RecordStore":
        """Open the store in `folder`; only corpus.json is read.

        Raises
        ------
        BadStore
            When there is no store, it is unfinished, or another version of the package wrote it.
        """
        folder = Path(folder).resolve()
        path = folder / "corpus.json"
        if not path.is_file():
            unfinished = (folder / ".build").is_dir()
            found = "its build has not finished" if unfinished else "it has no corpus.json"
            raise BadStore(f"{folder} is not a finished record store: {found}; {REMEDY.format(folder=folder)}")
        try:
            corpus = json.loads(path.read_text("utf-8"))
            form = corpus["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadStore(
                f"{path} is damaged ({type(error).__name__}: {error}): expected the JSON that the build wrote; build "
                "the store again with --rebuild"
            ) from None
        if form != FORMAT:
            raise BadStore(
                f"{folder} is a store of format {form}: expected format {FORMAT}; build it again with --rebuild, or "
                "install the version of ecgtext-plugins that wrote it"
            )
        return cls(folder, corpus)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what decided the content."""
        return self.corpus["fingerprint"]

    @property
    def reports_fingerprint(self) -> str:
        """SHA-256 of the unique reports in order."""
        return self.corpus["reports_fingerprint"]

    @property
    def label_names(self) -> list[str]:
        """The whole vocabulary, also classes without a record."""
        return list(self.corpus["label_names"])

    @property
    def sample_rate(self) -> float:
        """Hz of all stored signals."""
        return float(self.corpus["sample_rate"])

    @property
    def n_reports(self) -> int:
        """Number of unique reports."""
        return len(self.report_texts())

    def __len__(self) -> int:
        return int(self.corpus["counts"]["kept"])

    def _read(self, table: str, column: str) -> pa.Array:
        path = self.folder / table
        try:
            chunked = pq.read_table(path, columns=[column], memory_map=True).column(column)
        except (OSError, KeyError, pa.ArrowException) as error:
            raise BadStore(
                f"{path} has no readable column {column} ({error}): expected the table that the build wrote; build the "
                "store again with --rebuild"
            ) from None
        return pa.concat_arrays(chunked.chunks) if chunked.num_chunks != 1 else chunked.chunk(0)

    def column(self, name: str) -> np.ndarray:
        """Return a column of records.parquet, (len(self),), read-only; numbers as stored, others as objects."""
        if name not in self._columns:
            values = self._read("records.parquet", name).to_numpy(zero_copy_only=False)
            values.flags.writeable = False
            self._columns[name] = values
        return self._columns[name]

    def text_column(self, name: str) -> pa.Array:
        """Return a column of text of records.parquet as it is read: no Python object a row."""
        return self._read("records.parquet", name)

    def rows_of(self, record_ids: Sequence[str] | pa.ChunkedArray, source: str = "") -> np.ndarray:
        """Return the rows of records, (len(record_ids),) int64.

        Raises
        ------
        BadManifest
            Naming the first record that the store lacks, and `source` (a manifest).
        """
        if self._ids is None:
            self._ids = self._read("records.parquet", "record_id")
        asked = record_ids if isinstance(record_ids, pa.ChunkedArray) else pa.array(record_ids, type=pa.string())
        rows = pc.index_in(asked, value_set=self._ids)
        if rows.null_count:
            first = asked.filter(rows.is_null())[0]
            raise BadManifest(
                f"{source or 'the list of records'} names record {first}, which store {self.folder} lacks (and "
                f"{rows.null_count - 1} more): expected records of this store; build the manifest again"
            )
        return rows.to_numpy().astype(np.int64)

    def _shard(self, number: int) -> np.ndarray:
        shard = self._shards.get(number)
        if shard is None:
            path = self.folder / "signals" / f"shard-{number:05d}.npy"
            try:
                shard = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise BadStore(
                    f"{path} cannot be mapped ({error}): expected the signals that the build wrote; build the store "
                    "again with --rebuild"
                ) from None
            self._shards[number] = shard
        return shard

    def counts(self, row: int) -> np.ndarray:
        """Return the stored counts of a record, int16 (12, T), a read-only view of the file; -32768 means missing."""
        start, length = int(self.column("offset")[row]), int(self.column("n_samples")[row])
        flat = self._shard(int(self.column("shard")[row]))[start : start + 12 * length]
        if len(flat) != 12 * length:
            raise BadStore(
                f"the signal of row {row} of {self.folder} ends after {len(flat)} counts: expected {12 * length}; "
                "build the store again with --rebuild"
            )
        return flat.reshape(12, length)

    def step_mv(self, row: int) -> float:
        """Return the millivolt of one count of a record."""
        return float(self.column("step_uv")[row]) / 1000.0

    def signal_mv(self, row: int) -> np.ndarray:
        """Return a record's signal, float32 (12, T) millivolt, missing samples NaN."""
        return restore(self.counts(row), self.step_mv(row))

    def report_texts(self) -> pa.Array:
        """Return all unique reports, by report id."""
        if self._texts is None:
            self._texts = self._read("reports.parquet", "text")
        return self._texts

    def report_text(self, report_id: int) -> str:
        """Return a cleaned report.

        Raises
        ------
        IndexError
            When `report_id` is negative (a record without report) or too large.
        """
        texts = self.report_texts()
        if not 0 <= report_id < len(texts):
            raise IndexError(f"report {report_id} of {self.folder}: expected 0 to {len(texts) - 1}")
        return texts[int(report_id)].as_py()

    def label_matrix(self, rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Return which of `rows` carry which of the labels `names`, bool (len(rows), len(names)).

        Raises
        ------
        BadStore
            When a name is not in the store's vocabulary.
        """
        unknown = [name for name in names if name not in self.corpus["label_names"]]
        if unknown:
            raise BadStore(
                f"store {self.folder} has no label {', '.join(unknown[:5])}: expected one of "
                f"{', '.join(self.label_names) or 'none (its recipe has no labels)'}; use these names"
            )
        offsets, codes = self._label_codes()
        rows = np.asarray(rows, dtype=np.int64)
        lengths = np.diff(offsets)[rows]
        of_row = np.repeat(np.arange(len(rows)), lengths)
        within = np.arange(len(of_row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        matrix = np.zeros((len(rows), len(self.label_names)), dtype=bool)
        matrix[of_row, codes[offsets[rows][of_row] + within]] = True
        return matrix[:, [self.corpus["label_names"].index(name) for name in names]]

    def label_places(self) -> tuple[np.ndarray, np.ndarray]:
        """Return every label that a record carries, as its place in the vocabulary, and the record's row; (n,) both."""
        offsets, codes = self._label_codes()
        return codes, np.repeat(np.arange(len(self)), np.diff(offsets))

    def _label_codes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return offsets (records + 1,) and, flat, the labels' places in the vocabulary."""
        if self._labels is None:
            lists = self._read("records.parquet", "labels")
            vocabulary = pa.array(self.label_names, type=pa.string())
            codes = pc.index_in(lists.flatten(), value_set=vocabulary).to_numpy(zero_copy_only=False)
            offsets = np.concatenate([[0], np.cumsum(pc.list_value_length(lists).to_numpy(zero_copy_only=False))])
            self._labels = offsets.astype(np.int64), codes.astype(np.int64)
        return self._labels
