import hashlib

import numpy as np
import pyarrow as pa
import pytest

from ecgtext_plugins.errors import BadStore
from ecgtext_plugins.store.splits import refuse_leaks, split_of

FRACTIONS = {"train": 0.8, "valid": 0.1, "test": 0.1}


def test_by_hand():
    for patient in ("10000032", "7", "ä"):
        draw = int(hashlib.sha256(f"3:{patient}".encode()).hexdigest()[:16], 16) / 2**64
        expected = "train" if draw < 0.8 else "valid" if draw < 0.9 else "test"
        assert split_of(patient, 3, FRACTIONS) == expected


def test_fractions_are_met_and_seeds_differ():
    splits = {seed: [split_of(str(n), seed, FRACTIONS) for n in range(20_000)] for seed in (0, 1)}
    for names in splits.values():
        share = {name: np.mean([split == name for split in names]) for name in FRACTIONS}
        assert share == pytest.approx(FRACTIONS, abs=0.01)
    assert splits[0] != splits[1]


def test_order_of_the_fractions_and_empty_splits():
    turned = dict(reversed(FRACTIONS.items()))
    assert [split_of(str(n), 0, FRACTIONS) for n in range(99)] == [split_of(str(n), 0, turned) for n in range(99)]
    assert {split_of(str(n), 0, {"train": 0.0, "test": 1}) for n in range(99)} == {"test"}


def test_leaks_are_refused():
    patients = pa.chunked_array([["a", "b", "a"]])
    refuse_leaks(patients, pa.chunked_array([["train", "test", "train"]]))
    with pytest.raises(BadStore, match=r"1 patients are in two splits \(a in train and test\)"):
        refuse_leaks(patients, pa.chunked_array([["train", "test", "test"]]))
