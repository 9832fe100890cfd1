"""Scores files, figures by hand, tables."""

import json

import numpy as np
import pytest

from ecgtext_plugins.errors import BadRawData
from ecgtext_plugins.evaluation.results import Scores, figures, read_results, read_scores, write_results, write_scores
from ecgtext_plugins.evaluation.tables import interval, markdown_table, percent


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    labels = rng.random((40, 3)) < 0.4
    labels[:, 2] = False
    values = (labels + rng.normal(size=labels.shape)).astype(np.float32)
    ids = np.array([f"r{place}" for place in range(40)])
    return Scores(ids, np.zeros(40, dtype=np.int64), np.arange(40) // 2, labels, ["a", "b", "never"], values, "probe")


def test_scores_come_back(tmp_path, scores):
    write_scores(tmp_path / "new" / "scores.npz", scores)
    found = read_scores(tmp_path / "new" / "scores.npz")
    for name in ("record_ids", "starts", "patients", "labels", "scores"):
        np.testing.assert_array_equal(getattr(found, name), getattr(scores, name))
    assert found.label_names == scores.label_names and found.task == "probe"
    first = (tmp_path / "new" / "scores.npz").read_bytes()
    write_scores(tmp_path / "new" / "scores.npz", scores)
    assert (tmp_path / "new" / "scores.npz").read_bytes() == first


@pytest.mark.parametrize("content", [None, b"", b"no archive"])
def test_other_files_are_refused(tmp_path, content):
    for name, read in (("scores.npz", lambda: read_scores(tmp_path / "scores.npz")),
                       ("results.json", lambda: read_results(tmp_path))):  # fmt: skip
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(BadRawData, match="eval run"):
            read()


def test_results_of_another_format(tmp_path):
    write_results(tmp_path, {"format": 1})
    assert read_results(tmp_path) == {"format": 1}
    write_results(tmp_path, {"format": 99})
    with pytest.raises(BadRawData, match="has format 99: expected 1"):
        read_results(tmp_path)


def test_figures_by_hand(scores):
    from sklearn.metrics import average_precision_score, roc_auc_score

    told = figures(scores, 200)
    for name, function in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        each = [function(scores.labels[:, k], scores.scores[:, k]) for k in range(2)]
        assert told[name]["macro"] == pytest.approx(np.mean(each), abs=1e-12)
        low, high = told[name]["interval"]
        assert low < told[name]["macro"] < high
        assert told[name]["per_class"]["b"]["value"] == pytest.approx(each[1], abs=1e-12)
        never = {"value": None, "interval": [None, None], "positives": 0}
        assert told[name]["per_class"]["never"] == never and told[name]["undefined"] == ["never"]
    json.dumps(told, allow_nan=False)
    assert figures(scores, 200) == told and figures(scores, 200, seed=1) != told


def test_one_patient_has_no_interval(scores):
    from dataclasses import replace

    told = figures(replace(scores, patients=np.zeros(40, dtype=np.int64)), 100)
    assert told["auroc"]["interval"] == [None, None] and told["auroc"]["macro"] is not None


def test_cells():
    assert percent(0.12345) == "12.35" and percent(None) == "-"
    assert interval([0.1, 0.25]) == "10.00 to 25.00" and interval([None, None]) == "-"
    assert markdown_table([["a", "b"], ["x|y", "1\n2"]]) == "| a | b |\n|---|---|\n| x\\|y | 1 2 |"
