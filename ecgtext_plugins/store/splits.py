"""Splits by patient: a function of patient id and seed only, so that order and workers do not matter."""

import hashlib
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.errors import BadStore

SPLITS = ("train", "valid", "test")


def hash_share(seed: int, key: str) -> float:
    """Return a number in [0, 1): the first 53 bits of SHA-256 of ``"<seed>:<key>"``."""
    digest = hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def split_of(patient_id: str, seed: int, fractions: Mapping[str, float]) -> str:
    """Return the split of a patient: :func:`hash_share` against `fractions` laid end to end as train, valid, test."""
    draw = hash_share(seed, patient_id)
    names = [name for name in SPLITS if fractions.get(name, 0) > 0]
    edge = 0.0
    for name in names:
        edge += fractions[name]
        if draw < edge:
            return name
    return names[-1]


def refuse_leaks(patient_ids: pa.ChunkedArray, splits: pa.ChunkedArray) -> None:
    """Raise BadStore naming up to ten patients that are in two splits; both columns are of the same records."""
    table = pa.table({"patient_id": patient_ids, "split": splits})
    counted = table.group_by("patient_id").aggregate([("split", "count_distinct"), ("split", "min"), ("split", "max")])
    leaks = counted.filter(pc.greater(counted["split_count_distinct"], 1)).sort_by("patient_id")
    if len(leaks):
        named = "; ".join(
            f"{row['patient_id']} in {row['split_max']} and {row['split_min']}"
            for row in leaks.slice(0, 10).to_pylist()
        )
        raise BadStore(
            f"{len(leaks)} patients are in two splits ({named}): expected each in one; split by patient in the recipe, "
            "or correct the official splits"
        )
