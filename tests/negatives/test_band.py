"""Random reports of a band of similarity, against numpy's quantiles."""

import numpy as np
import pytest
import torch

from ecgtext_plugins.errors import BadNegatives
from ecgtext_plugins.negatives import band
from ecgtext_plugins.negatives.band import band_candidates


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def allowed(vectors, candidates, row, low, high):
    """Return the other candidates between numpy's quantiles."""
    others = candidates[candidates != row]
    similarity = (vectors[others].astype(np.float64) @ vectors[row].astype(np.float64)).round(7)
    lower, upper = np.quantile(similarity, [low, high])
    return others[(similarity >= lower - 1e-9) & (similarity <= upper + 1e-9)]


VECTORS = unit(np.random.default_rng(0).normal(size=(90, 8)))
CANDIDATES = np.sort(np.random.default_rng(1).choice(90, 60, replace=False))


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.9), (0.0, 0.5), (0.2, 1.0), (0.0, 1.0), (0.31, 0.77)])
def test_all_of_the_band_are_chosen_sometimes_and_no_other(low, high):
    seen = [set() for _ in VECTORS]
    for seed in range(80):
        table = band_candidates(VECTORS, CANDIDATES, 12, low, high, seed)
        assert table.dtype == np.int32
        for row, chosen in enumerate(table.tolist()):
            assert len(set(chosen)) == 12
            seen[row] |= set(chosen)
    for row, chosen in enumerate(seen):
        assert chosen == set(allowed(VECTORS, CANDIDATES, row, low, high).tolist())


def test_seeded_and_independent_of_blocks_and_threads(monkeypatch):
    table = band_candidates(VECTORS, CANDIDATES, 9, 0.3, 0.8, seed=4)
    threads = torch.get_num_threads()
    monkeypatch.setattr(band, "BLOCK_ROWS", 11)
    try:
        torch.set_num_threads(3)
        np.testing.assert_array_equal(table, band_candidates(VECTORS, CANDIDATES, 9, 0.3, 0.8, seed=4))
    finally:
        torch.set_num_threads(threads)
    assert (table != band_candidates(VECTORS, CANDIDATES, 9, 0.3, 0.8, seed=5)).any()


def test_choice_is_uniform_over_the_band():
    counts = np.zeros(90)
    for seed in range(400):
        counts[band_candidates(VECTORS[:8], np.arange(8), 2, 0.0, 1.0, seed)[7]] += 1
    expected = 800 / 7
    assert counts.sum() == 800 and ((counts[:7] - expected) ** 2 / expected).sum() < 22.5  # 0.1 %, 6 degrees of freedom


def test_a_band_smaller_than_k_is_drawn_with_replacement():
    table = band_candidates(VECTORS, CANDIDATES, 40, 0.8, 0.9, seed=0)
    for row, chosen in enumerate(table.tolist()):
        inside = set(allowed(VECTORS, CANDIDATES, row, 0.8, 0.9).tolist())
        assert set(chosen) <= inside and len(set(chosen)) > 1 and len(inside) < 40


def test_ties_at_the_ends_belong_to_the_band():
    vectors = np.array([[1, 0]] + [[0, 1]] * 3 + [[0, -1]] * 3, dtype=np.float32)
    table = band_candidates(vectors, np.arange(7), 6, 0.2, 0.6, seed=0)
    assert sorted(table[0].tolist()) == [1, 2, 3, 4, 5, 6]  # as similar as each other
    assert set(table[1].tolist()) <= {0, 4, 5, 6}  # -1 and 0 of -1, -1, -1, 0, 1, 1
    same = np.ones((6, 1), dtype=np.float32)
    table = band_candidates(same, np.arange(6), 5, 0.3, 0.45, seed=0)  # quantiles between the second and the third
    assert sorted(table[0].tolist()) == [1, 2, 3, 4, 5]


def test_errors():
    with pytest.raises(BadNegatives, match="band 0.41,0.45 holds none of the 5 other candidates of report 0"):
        band_candidates(VECTORS[:6], np.arange(6), 2, 0.41, 0.45)
    for low, high in ((0.5, 0.5), (-0.1, 0.5), (0.2, 1.1), (float("nan"), 1.0)):
        with pytest.raises(BadNegatives, match="expected 0 <= LOW < HIGH <= 1"):
            band_candidates(VECTORS, CANDIDATES, 2, low, high)
    with pytest.raises(BadNegatives, match="cannot choose 60 farthest of 60"):
        band_candidates(VECTORS, CANDIDATES, 60, 0.5, 0.9)
