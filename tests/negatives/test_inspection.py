"""Hubness and similarities of a table, counted by hand."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ecgtext_plugins.errors import BadNegatives
from ecgtext_plugins.negatives.inspection import examples, hubness, open_vectors, pair_similarities, serving_counts
from ecgtext_plugins.negatives.table import NegativesTable

ANGLES = np.deg2rad([0, 20, 50, 90, 180])
VECTORS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
FARTHEST = np.array([[4, 3], [4, 3], [4, 3], [4, 0], [0, 1]], dtype=np.int32)
BAND = np.array([[1, 2], [2, 2], [1, 3], [1, 2], [2, 3]], dtype=np.int32)
STORE = SimpleNamespace(n_reports=5, report_text=lambda report: f"text {report}")


@pytest.fixture
def table(tmp_path):
    meta = {
        "k": 2,
        "n_reports": 5,
        "width": 2,
        "text_encoder": "t5",
        "vectors_key": "ab",
        "band": {"low": 0, "high": 1},
    }
    for name, array in (("farthest", FARTHEST), ("band", BAND), ("vectors-ab", VECTORS)):
        np.save(tmp_path / f"{name}.npy", array)
    return NegativesTable(Path(tmp_path), meta)


def test_hubness_counts():
    assert serving_counts(FARTHEST).tolist() == [4, 3, 2, 1]
    assert hubness(FARTHEST, 5) == {
        "distinct": 4,
        "share_of_candidates": 0.8,
        "top_100_share": 1.0,
        "top_1_share": 0.4,
        "most_rows": 4,
        "is_hubby": False,  # 100 of 5 say nothing
    }


@pytest.mark.parametrize(
    ("distinct", "hubby"),
    [(150, True), (201, False), (190, True)],  # of 4,000: under 5 %, over, and half of the draws on 100
)
def test_hubness_sentence_is_for_few_or_unequal_ones(distinct, hubby):
    even = np.arange(64 * distinct).reshape(-1, 64) % distinct
    found = hubness(even, 4000)
    assert found["is_hubby"] is hubby and found["top_100_share"] == pytest.approx(100 / distinct)
    unequal = np.concatenate([even, np.tile(np.arange(64), (distinct + 80, 1))])
    assert hubness(unequal, 1000)["is_hubby"] and not hubness(even, 999)["is_hubby"]


def test_examples_show_the_nearest_first(table):
    found = examples(table, open_vectors(table), STORE, 5)
    assert [example["report_id"] for example in found] == [0, 1, 2, 3, 4]
    assert [negative["report_id"] for negative in found[0]["farthest"]] == [3, 4]
    assert found[0]["farthest"][1] == {"report_id": 4, "similarity": pytest.approx(-1), "text": "text 4"}
    assert [negative["report_id"] for negative in found[1]["band"]] == [2]  # twice in the row, shown once
    assert found[1]["band"][0]["similarity"] == pytest.approx(np.cos(np.deg2rad(30)), abs=1e-6)
    assert len(examples(table, open_vectors(table), STORE, 2)) == 2


def test_similarities_of_pairs(table):
    found = pair_similarities(table, open_vectors(table), np.array([0, 4]))
    for name, array in (("farthest", FARTHEST), ("band", BAND)):
        expected = [VECTORS[row] @ VECTORS[other] for row in range(5) for other in array[row]]
        np.testing.assert_allclose(found[name], expected, atol=1e-6)
    possible = [VECTORS[row] @ VECTORS[other] for row in range(5) for other in (0, 4) if row != other]
    assert 0 < len(found["random"]) <= 10
    assert np.isclose(found["random"][:, None], np.array(possible)[None], atol=1e-6).any(axis=1).all()


def test_missing_or_foreign_vectors(table):
    path = table.folder / "vectors-ab.npy"
    np.save(path, VECTORS[:3])
    with pytest.raises(
        BadNegatives, match=r"holds vectors \(3, 2\), expected \(5, 2\): .*--text-encoder t5 --rebuild`"
    ):
        open_vectors(table)
    path.write_bytes(b"no")
    with pytest.raises(BadNegatives, match="cannot be read"):
        open_vectors(table)
    path.unlink()
    with pytest.raises(BadNegatives, match="vectors-ab.npy is not there"):
        open_vectors(table)
