"""Splits by patient: a function of patient id and seed only, so that order and workers do not matter."""

import hashlib
from collections.abc import Iterable, Mapping

from ecgtext_plugins.errors import BadStore

SPLITS = ("train", "valid", "test")


def split_of(patient_id: str, seed: int, fractions: Mapping[str, float]) -> str:
    """Return the split of a patient.

    The first 53 bits of SHA-256 of ``"<seed>:<patient_id>"`` are a number in [0, 1), which falls into one of the
    `fractions` laid end to end as train, valid, test.
    """
    digest = hashlib.sha256(f"{seed}:{patient_id}".encode("utf-8", "surrogatepass")).digest()
    draw = (int.from_bytes(digest[:8], "big") >> 11) / 2**53
    names = [name for name in SPLITS if fractions.get(name, 0) > 0]
    edge = 0.0
    for name in names:
        edge += fractions[name]
        if draw < edge:
            return name
    return names[-1]


def refuse_leaks(pairs: Iterable[tuple[str, str]]) -> None:
    """Raise BadStore when one patient of the (patient id, split) `pairs` is in two splits."""
    seen: dict[str, str] = {}
    for patient_id, split in pairs:
        if seen.setdefault(patient_id, split) != split:
            raise BadStore(
                f"patient {patient_id} is in the splits {seen[patient_id]} and {split}: expected one; build the store "
                "again with --rebuild"
            )
