"""Several record stores seen as one: rows end to end, unique reports merged."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.errors import BadManifest, BadStore
from ecgtext_plugins.store.reader import RecordStore


class JoinedStores:
    """The interface of :class:`RecordStore` over several stores of one sample rate.

    Rows are those of the stores end to end. Reports with the same words are one report, numbered in the order in which
    they first appear. Patient ids get the store's name, as two datasets may number their patients alike:
    ``mimic:10000032``. Label names are those of all stores, in order.

    Parameters
    ----------
    root : Path
        The folder that names are relative to; what is made for all of them together lies there.
    stores : mapping
        Stores by name; they are taken in the order of their names.

    Raises
    ------
    BadStore
        When the sample rates differ, or two names are of one store.
    """

    def __init__(self, root: Path, stores: Mapping[str, RecordStore]):
        self.folder = root
        self.names, self.stores = sorted(stores), [stores[name] for name in sorted(stores)]
        rates = sorted({store.sample_rate for store in self.stores})
        if len(rates) > 1:
            raise BadStore(
                f"the stores {', '.join(self.names)} in {root} have {' and '.join(f'{rate:g}' for rate in rates)} Hz: "
                "expected one sample rate; build them with one"
            )
        folders = [store.folder for store in self.stores]
        if len(set(folders)) < len(folders):
            raise BadStore(
                f"the names {', '.join(self.names)} in {root} stand for {len(set(folders))} stores: expected one name "
                "for a store; write it the same way in each line"
            )
        self.first_rows = np.cumsum([0, *map(len, self.stores)])
        self._columns: dict[str, np.ndarray] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.folder, "stores": dict(zip(self.names, self.stores, strict=True))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

    def split_rows(self, rows: np.ndarray) -> "dict[Path, tuple[RecordStore, np.ndarray]]":
        """Return for each store's folder the store, and those of `rows` that are in it, as its own rows."""
        place = np.searchsorted(self.first_rows, rows, side="right") - 1
        return {
            store.folder: (store, rows[place == number] - self.first_rows[number])
            for number, store in enumerate(self.stores)
        }

    @property
    def sample_rate(self) -> float:
        """Hz of all stored signals."""
        return self.stores[0].sample_rate

    @property
    def label_names(self) -> list[str]:
        """The vocabularies of all stores, in order, each name once."""
        return list(dict.fromkeys(name for store in self.stores for name in store.label_names))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the stores' fingerprints in order."""
        return hashlib.sha256("".join(store.fingerprint for store in self.stores).encode()).hexdigest()

    @property
    def reports_fingerprint(self) -> str:
        """SHA-256 of the merged unique reports in order."""
        digest = hashlib.sha256()
        for text in self._reports[0].to_pylist():
            digest.update(text.encode("utf-8") + b"\n")
        return digest.hexdigest()

    def __len__(self) -> int:
        return int(self.first_rows[-1])

    @cached_property
    def _reports(self) -> tuple[pa.Array, list[np.ndarray]]:
        """The merged texts, and each store's report ids in them."""
        texts = [store.report_texts() for store in self.stores]
        merged = pc.unique(pa.chunked_array(texts, type=pa.string()))
        return merged, [pc.index_in(each, value_set=merged).to_numpy(zero_copy_only=False) for each in texts]

    @property
    def n_reports(self) -> int:
        """Number of unique reports over all stores."""
        return len(self._reports[0])

    def report_texts(self) -> pa.Array:
        """Return all unique reports, by report id."""
        return self._reports[0]

    def report_text(self, report_id: int) -> str:
        """Return a cleaned report; raises IndexError as :meth:`RecordStore.report_text` does."""
        if not 0 <= report_id < self.n_reports:
            raise IndexError(f"report {report_id} of {self.folder}: expected 0 to {self.n_reports - 1}")
        return self._reports[0][int(report_id)].as_py()

    def _report_ids(self) -> np.ndarray:
        merged = []
        for store, ids in zip(self.stores, self._reports[1], strict=True):
            own = store.column("report_id")
            merged.append(np.where(own < 0, -1, np.append(ids, -1)[own]).astype(np.int64))
        return np.concatenate(merged)

    def column(self, name: str) -> np.ndarray:
        """Return a column of all records, (len(self),), read-only; report and patient ids are those of the whole."""
        if name not in self._columns:
            if name == "report_id":
                values = self._report_ids()
            elif name == "patient_id":
                values = self.text_column(name).to_numpy(zero_copy_only=False)
            else:
                values = np.concatenate([store.column(name) for store in self.stores])
            values.flags.writeable = False
            self._columns[name] = values
        return self._columns[name]

    def text_column(self, name: str) -> pa.Array:
        """Return a column of text of all records."""
        parts = [store.text_column(name) for store in self.stores]
        if name == "patient_id":
            parts = [pc.binary_join_element_wise(name, part, ":") for name, part in zip(self.names, parts, strict=True)]
        return pa.concat_arrays(parts)

    def rows_of(self, record_ids: Sequence[str] | pa.ChunkedArray, source: str = "") -> np.ndarray:
        """Return the rows of records whose ids one store alone has, (len(record_ids),) int64.

        Raises
        ------
        BadManifest
            When a record is in no store, or in several.
        """
        asked = record_ids if isinstance(record_ids, pa.ChunkedArray) else pa.array(record_ids, type=pa.string())
        rows, found = np.zeros(len(asked), dtype=np.int64), np.zeros(len(asked), dtype=np.int64)
        for store, first in zip(self.stores, self.first_rows, strict=False):
            own = pc.fill_null(pc.index_in(asked, value_set=store.text_column("record_id")), -1).to_numpy()
            rows[own >= 0] = first + own[own >= 0]
            found += own >= 0
        wrong = np.flatnonzero(found != 1)
        if len(wrong):
            raise BadManifest(
                f"{source or 'the list of records'} names record {asked[int(wrong[0])]}, which "
                f"{'several stores have' if found[wrong[0]] else 'no store has'}: expected ids of one store; name the "
                "stores"
            )
        return rows

    def rows_in(self, names: pa.ChunkedArray, record_ids: pa.ChunkedArray, source: str) -> np.ndarray:
        """Return the rows of `record_ids` (R,), each in the store of that name of `names` (R,)."""
        rows = np.zeros(len(names), dtype=np.int64)
        for name, store, first in zip(self.names, self.stores, self.first_rows, strict=False):
            chosen = np.flatnonzero(pc.equal(names, name).to_numpy())
            rows[chosen] = first + store.rows_of(record_ids.take(pa.array(chosen)), source)
        return rows

    def _of(self, row: int) -> tuple[RecordStore, int]:
        place = int(np.searchsorted(self.first_rows, row, side="right")) - 1
        return self.stores[place], int(row - self.first_rows[place])

    def counts(self, row: int) -> np.ndarray:
        """Return the stored counts of a record, int16 (12, T)."""
        store, own = self._of(row)
        return store.counts(own)

    def step_mv(self, row: int) -> float:
        """Return the millivolt of one count of a record."""
        store, own = self._of(row)
        return store.step_mv(own)

    def signal_mv(self, row: int) -> np.ndarray:
        """Return a record's signal, float32 (12, T) millivolt, missing samples NaN."""
        store, own = self._of(row)
        return store.signal_mv(own)

    def label_matrix(self, rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Return which of `rows` carry which of the labels `names`, bool (len(rows), len(names)).

        A store that does not know a label has no record with it.
        """
        unknown = [name for name in names if name not in self.label_names]
        if unknown:
            raise BadStore(
                f"no store in {self.folder} has label {', '.join(unknown[:5])}: expected one of "
                f"{', '.join(self.label_names) or 'none (their recipes have no labels)'}; use these names"
            )
        rows, matrix = np.asarray(rows, dtype=np.int64), np.zeros((len(rows), len(names)), dtype=bool)
        for place, store in enumerate(self.stores):
            chosen = np.flatnonzero((rows >= self.first_rows[place]) & (rows < self.first_rows[place + 1]))
            places = [at for at, name in enumerate(names) if name in store.label_names]
            own = store.label_matrix(rows[chosen] - self.first_rows[place], [names[at] for at in places])
            matrix[np.ix_(chosen, places)] = own
        return matrix
