"""What is in a store: splits, patients, labels, reports, lengths, marks, copies, failures."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.store.reader import RecordStore
from ecgtext_plugins.store.splits import SPLITS

QUANTILES = {"min": 0.0, "p5": 0.05, "median": 0.5, "p95": 0.95, "max": 1.0}
LISTED = 10  # distinct lengths, reports
LEAD_MARKS = ("missing_leads", "derived_leads", "flat_leads", "clipped_leads")


def describe(store: RecordStore) -> dict[str, Any]:
    """Return everything that `ecgtext manifest inspect` tells, as JSON would hold it.

    Raises
    ------
    BadStore
        When a table cannot be read.
    """
    corpus = store.corpus
    return {
        "folder": str(store.folder),
        "recipe": corpus["recipe"]["name"],
        "fingerprint": store.fingerprint,
        "sample_rate": store.sample_rate,
        "counts": corpus["counts"],
        "splits": {split: corpus["splits"][split] for split in SPLITS},
        "label_sets": corpus["label_sets"],
        "patients": patient_counts(store),
        "labels": label_counts(store),
        "reports": report_statistics(store),
        "seconds": _spread(store.column("n_samples") / store.sample_rate),
        "native_rates": corpus["native_rates"],
        "age": _quantiles(store.column("age")),
        "sex": _tally(store.text_column("sex")),
        "marks": corpus["marks"],
        "marked_leads": {name: _by_lead(store.column(name)) for name in LEAD_MARKS},
        "duplicate_signals": duplicate_signals(store),
        "failures": failure_examples(store),
        "bytes_per_record": _bytes(store.folder) / max(1, len(store)),
    }


def label_counts(store: RecordStore) -> dict[str, dict[str, int]]:
    """Count the records of each label by split, in the vocabulary's order."""
    codes, rows = store.label_places()
    split = pa.DictionaryArray.from_arrays(pc.index_in(store.text_column("split"), pa.array(SPLITS)), pa.array(SPLITS))
    of_record = split.indices.to_numpy()[rows]
    counts = np.zeros((len(store.label_names), len(SPLITS)), dtype=np.int64)
    np.add.at(counts, (codes, of_record), 1)
    return {
        label: dict(zip(SPLITS, counts[place].tolist(), strict=True)) for place, label in enumerate(store.label_names)
    }


def common_reports(store: RecordStore, number: int) -> list[dict]:
    """Return the `number` most common reports with their counts; ties in order of first appearance."""
    table = pq.read_table(store.folder / "reports.parquet", columns=["text", "count"])
    order = np.argsort(-table["count"].to_numpy(), kind="stable")[:number]
    return table.take(order).to_pylist()


def report_counts(store: RecordStore) -> np.ndarray:
    """Return how many records have each unique report, (n_reports,), the most common first."""
    counts = pq.read_table(store.folder / "reports.parquet", columns=["count"])["count"].to_numpy()
    return np.sort(counts)[::-1]


def report_statistics(store: RecordStore) -> dict[str, Any]:
    """Return how many unique reports there are, how they are shared, their lengths in words, the most common ones."""
    counts, texts = report_counts(store), store.report_texts()
    words = pc.add(pc.count_substring(texts, " "), 1).to_numpy(zero_copy_only=False)  # cleaned: single spaces
    with_report = max(1, int(counts.sum()))
    return {
        "records": int(counts.sum()),
        "unique": len(counts),
        "share_of_their_own": float((counts == 1).sum() / with_report),
        "share_of_the_most_common": float(counts[0] / with_report) if len(counts) else 0.0,
        "words": _quantiles(words),
        "most_common": common_reports(store, LISTED),
    }


def patient_counts(store: RecordStore) -> dict[str, Any]:
    """Return the number of patients by split, and of records a patient."""
    table = pa.table({name: store.text_column(name) for name in ("patient_id", "split")})
    counted = table.group_by("patient_id").aggregate([("patient_id", "count"), ("split", "min")])
    records = counted["patient_id_count"].to_numpy()
    by_split = _tally(counted["split_min"])
    return {
        "patients": {split: by_split.get(split, 0) for split in SPLITS},
        "records_a_patient": _quantiles(records),
    }


def duplicate_signals(store: RecordStore) -> dict[str, int]:
    """Return how many records have a signal that another one has too, and how many such signals there are."""
    counted = pc.value_counts(store.text_column("checksum")).field("counts").to_numpy()
    return {"records": int(counted[counted > 1].sum()), "signals": int((counted > 1).sum())}


def failure_examples(store: RecordStore) -> dict[str, dict[str, Any]]:
    """Return for each reason how many records were rejected, and the first one's message."""
    table = pq.read_table(store.folder / "failures.parquet", columns=["reason", "message"])
    counted = table.group_by("reason", use_threads=False).aggregate([("message", "count"), ("message", "first")])
    rows = sorted(counted.to_pylist(), key=lambda row: (-row["message_count"], row["reason"]))
    return {row["reason"]: {"records": row["message_count"], "example": row["message_first"]} for row in rows}


def _by_lead(masks: np.ndarray) -> dict[str, int]:
    """Count, for each lead that any of the bit masks (R,) names, the records that do."""
    counts = {lead: int((masks >> place & 1).sum()) for place, lead in enumerate(LEADS)}
    return {lead: number for lead, number in counts.items() if number}


def _spread(values: np.ndarray) -> dict[str, Any]:
    """Return the distinct values with their counts where there are few, else quantiles."""
    distinct, counts = np.unique(np.round(values, 3), return_counts=True)
    if len(distinct) <= LISTED:
        return {f"{value:g}": int(count) for value, count in zip(distinct, counts, strict=True)}
    return _quantiles(values)


def _quantiles(values: np.ndarray) -> dict[str, float]:
    """Return quantiles of the finite values, and how many are missing; nothing of no values."""
    values = np.asarray(values, dtype=np.float64)
    finite = values[np.isfinite(values)]
    found = {name: float(np.quantile(finite, share)) for name, share in QUANTILES.items()} if len(finite) else {}
    return {**found, "missing": len(values) - len(finite)} if len(finite) < len(values) else found


def _tally(column: pa.Array | pa.ChunkedArray) -> dict[str, int]:
    counted = pc.value_counts(column)
    counted = counted.combine_chunks() if isinstance(counted, pa.ChunkedArray) else counted
    pairs = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
    return dict(sorted(pairs))


def _bytes(folder: Path) -> int:
    """Return the size of what the build wrote."""
    places = [path for path in folder.iterdir() if path.is_file()]
    places += [path for name in ("signals", "manifests") for path in (folder / name).rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in places)
