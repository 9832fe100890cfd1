"""Parts of the train split for probes with few labels: nested ones of our own, and those that others published."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.store.splits import hash_share


def subset_name(percentage: float) -> str:
    """Return the name of the manifest of a subset: ``train_1pct``."""
    return f"train_{percentage:g}pct"


def nested_subset(record_ids: Sequence[str], percentage: float, seed: int) -> np.ndarray:
    """Return the places of `percentage` per cent of the records, ascending; a smaller percentage lies inside.

    The records with the smallest :func:`hash_share` are taken, round(n * percentage / 100) of them and at least one,
    so that the order of the records and the other records' labels do not matter.
    """
    shares = np.array([hash_share(seed, record_id) for record_id in record_ids])
    number = min(len(shares), max(1, round(len(shares) * percentage / 100)))
    return np.sort(np.argsort(shares, kind="stable")[:number])


def published_subset(record_ids: pa.ChunkedArray, published: Sequence[str]) -> np.ndarray:
    """Return the places of those of `record_ids` that a published list has, ascending."""
    listed = pc.is_in(record_ids, value_set=pa.array(published, pa.string()))
    return np.flatnonzero(listed.to_numpy(zero_copy_only=False))


def published_of_set(published: Mapping[str, Sequence[str]], label_set: str | None) -> dict[str, Sequence[str]]:
    """Return the published lists of one label set by manifest name (``"super/train_1pct"`` -> ``"train_1pct"``)."""
    prefix = f"{label_set}/" if label_set else ""
    return {
        name[len(prefix) :]: ids
        for name, ids in published.items()
        if name.startswith(prefix) and "/" not in name[len(prefix) :]
    }
