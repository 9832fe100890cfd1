"""What is in a store: labels by split, the most common reports."""

import numpy as np
import pyarrow.parquet as pq

from ecgtext_plugins.store.reader import RecordStore
from ecgtext_plugins.store.splits import SPLITS


def label_counts(store: RecordStore) -> dict[str, dict[str, int]]:
    """Count the records of each label by split, in the vocabulary's order."""
    matrix = store.label_matrix(np.arange(len(store)), store.label_names)
    split = store.column("split")
    counts = {name: matrix[split == name].sum(axis=0).tolist() for name in SPLITS}
    return {label: {name: counts[name][place] for name in SPLITS} for place, label in enumerate(store.label_names)}


def common_reports(store: RecordStore, number: int) -> list[dict]:
    """Return the `number` most common reports with their counts; ties in order of first appearance."""
    table = pq.read_table(store.folder / "reports.parquet", columns=["text", "count"])
    order = np.argsort(-table["count"].to_numpy(), kind="stable")[:number]
    return table.take(order).to_pylist()
