"""Farthest search with a cap on how many rows a candidate serves."""

import numpy as np
import pytest

from ecgtext_plugins.errors import BadNegatives
from ecgtext_plugins.negatives import capped
from ecgtext_plugins.negatives.capped import capped_candidates
from ecgtext_plugins.negatives.farthest import farthest_candidates


def hubby(seed, size=120, width=6):
    """Vectors around a common mean, a few opposite to it: these are the farthest of nearly all."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(size, width)) + 2
    vectors[:5] -= 5
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def one_after_the_other(vectors, candidates, k, cap, seed):
    """Take row by row, in the order of the seed, the farthest candidates with room, by sorting all in float64."""
    similarity = (vectors.astype(np.float64) @ vectors.astype(np.float64).T).round(9)
    room = dict.fromkeys(candidates.tolist(), cap)
    table = np.full((len(vectors), k), -1)
    for row in np.random.default_rng(seed).permutation(len(vectors)):
        free = sorted((similarity[row, c], c) for c in room if room[c] and c != row)[:k]
        for place, (_, candidate) in enumerate(free):
            table[row, place] = candidate
            room[candidate] -= 1
    return table


@pytest.mark.parametrize(("block", "cap"), [(256, 10), (7, 10), (32, 40)])
def test_equals_taking_one_after_the_other(monkeypatch, block, cap):
    monkeypatch.setattr(capped, "BLOCK_ROWS", block)
    vectors, candidates = hubby(0), np.arange(0, 120, 2)
    expected = one_after_the_other(vectors, candidates, 4, cap, seed=5)
    assert (expected >= 0).all()
    found = capped_candidates(vectors, candidates, 4, cap, seed=5)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)
    assert np.bincount(found.ravel()).max() == cap
    assert (found != capped_candidates(vectors, candidates, 4, cap, seed=6)).any()


def test_a_loose_cap_changes_nothing():
    vectors, candidates = hubby(1), np.arange(100)
    np.testing.assert_array_equal(
        capped_candidates(vectors, candidates, 6, 120), farthest_candidates(vectors, candidates, 6)
    )


def test_ties_go_by_row_number():
    vectors = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]] * 3, dtype=np.float32)
    found = capped_candidates(vectors, np.arange(12), 3, 6, seed=2)
    np.testing.assert_array_equal(found, one_after_the_other(vectors, np.arange(12), 3, 6, seed=2))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("size", "step", "k"), [(60, 1, 5), (61, 3, 7), (12, 1, 11), (40, 4, 8), (9, 3, 2)])
def test_the_tightest_cap_is_kept_and_every_row_is_full(seed, size, step, k):
    """The last rows find no room left: earlier ones exchange."""
    vectors, candidates = hubby(seed, size), np.arange(0, size, step)
    cap = -(-k * size // len(candidates))
    table = capped_candidates(vectors, candidates, k, cap, seed)
    assert np.bincount(table.ravel(), minlength=size).max() <= cap
    assert np.isin(table, candidates).all()
    for row, chosen in enumerate(table):
        assert row not in chosen and len(set(chosen)) == k
        similarity = (vectors[chosen] @ vectors[row]).astype(np.float64)
        assert (np.diff(similarity) > -1e-6).all()  # least similar first


def test_too_tight_a_cap_names_the_smallest():
    with pytest.raises(BadNegatives, match=r"cap of 7 leaves room for 140 .*need 5 each; give --hub-cap 8 or more"):
        capped_candidates(hubby(0, 30), np.arange(20), 5, 7)
    capped_candidates(hubby(0, 30), np.arange(20), 5, 8)
