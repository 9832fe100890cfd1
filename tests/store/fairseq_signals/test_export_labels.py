import csv
from types import SimpleNamespace

import numpy as np
import pytest

from ecgtext_plugins.store.fairseq_signals.export_labels import write_labels


class Store:
    """Labels of ten records, by hand."""

    folder, label_names = "DATA", ["AF", "SB", "never"]
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]] * 2, dtype=bool)

    def __init__(self, splits):
        self.splits = np.array(splits, dtype=object)

    def __len__(self):
        return len(self.labels)

    def column(self, name):
        return {"split": self.splits}[name]

    def label_matrix(self, rows, names):
        assert names == self.label_names
        return self.labels[rows]


def test_against_hand_computed_values(tmp_path, caplog):
    store = Store(["train"] * 5 + ["valid"] * 2 + ["test"] * 3)
    without = write_labels(SimpleNamespace(store=store, folder=tmp_path))
    y = np.load(tmp_path / "labels" / "y.npy")
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, store.labels)
    with open(tmp_path / "labels" / "labels.csv", newline="") as handle:
        rows = list(csv.reader(handle))
    assert rows[0] == ["idx", "AF", "SB", "never"] and rows[2] == ["1", "1", "1", "0"] and len(rows) == 11
    with open(tmp_path / "labels" / "label_def.csv", newline="") as handle:
        table = list(csv.DictReader(handle))
    kinds = [f"pos_{kind}_{split}" for kind in ("count", "percent", "weight") for split in ("test", "train", "valid")]
    assert list(table[0]) == ["name", *kinds, "pos_count_all", "pos_percent_all"]
    af, sb, never = table
    assert (af["pos_count_train"], af["pos_count_valid"], af["pos_count_test"], af["pos_count_all"]) == (
        "3",
        "2",
        "1",
        "6",
    )
    assert float(af["pos_percent_train"]) == 0.6 and float(af["pos_percent_all"]) == 0.6
    assert float(af["pos_weight_train"]) == pytest.approx(2 / 3) and float(sb["pos_weight_train"]) == pytest.approx(1.5)
    assert float(af["pos_weight_valid"]) == 0.0 and never["pos_weight_train"] == "inf"
    assert (tmp_path / "labels" / "pos_weight.txt").read_text() == "[0.666667,1.5,1.0]"
    assert without == ["never"] and "no positive in train for never" in caplog.text


def test_without_a_train_split_there_are_no_weights(tmp_path, caplog):
    assert write_labels(SimpleNamespace(store=Store(["test"] * 10), folder=tmp_path)) == []
    assert not (tmp_path / "labels" / "pos_weight.txt").exists() and "no train split" in caplog.text
