"""Farthest search against brute force."""

import faiss
import numpy as np
import pytest

from ecgtext_plugins.errors import BadNegatives
from ecgtext_plugins.negatives import farthest
from ecgtext_plugins.negatives.farthest import farthest_candidates, recall
from ecgtext_plugins.negatives.indexes import IvfIndex, TorchIndex


def brute_force(vectors, candidates, k):
    """Sort all similarities in double precision, ties by row number, the query itself left out."""
    similarity = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    rows = []
    for query in range(len(vectors)):
        order = sorted((round(similarity[query, c], 9), c) for c in candidates if c != query)
        rows.append([candidate for _, candidate in order[:k]])
    return np.array(rows)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("k", [1, 5, 19])
def test_equals_brute_force(k):
    vectors = unit(np.random.default_rng(0).normal(size=(50, 8)))
    candidates = np.sort(np.random.default_rng(1).choice(50, 20, replace=False))
    table = farthest_candidates(vectors, candidates, k)
    assert table.dtype == np.int32
    np.testing.assert_array_equal(table, brute_force(vectors, candidates, k))


def test_equals_brute_force_over_several_blocks(monkeypatch):
    monkeypatch.setattr(farthest, "BLOCK_QUERIES", 7)
    vectors = unit(np.random.default_rng(2).normal(size=(31, 4)))
    candidates = np.arange(31)
    np.testing.assert_array_equal(farthest_candidates(vectors, candidates, 6), brute_force(vectors, candidates, 6))


@pytest.mark.parametrize("k", [1, 2, 3, 5, 9, 11])
def test_ties_go_by_row_number(k):
    """Axis vectors and their copies: similarities are exactly -1, 0 or 1, so nearly everything ties."""
    axes = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=np.float32)
    vectors = np.concatenate([axes, axes, axes])
    np.testing.assert_array_equal(
        farthest_candidates(vectors, np.arange(12), k), brute_force(vectors, np.arange(12), k)
    )


def test_never_the_query_even_when_every_candidate_is_kept():
    vectors = unit(np.random.default_rng(3).normal(size=(9, 3)))
    table = farthest_candidates(vectors, np.arange(9), 8)
    for query, row in enumerate(table):
        assert sorted([query, *row]) == list(range(9))


def test_threads_do_not_matter():
    vectors = unit(np.random.default_rng(4).normal(size=(300, 16)))
    before = faiss.omp_get_max_threads()
    try:
        tables = []
        for threads in (1, 2):
            faiss.omp_set_num_threads(threads)
            tables.append(farthest_candidates(vectors, np.arange(300), 64))
    finally:
        faiss.omp_set_num_threads(before)
    np.testing.assert_array_equal(*tables)


@pytest.mark.parametrize("k", [0, 3])
def test_k_out_of_range(k):
    with pytest.raises(BadNegatives, match=f"cannot choose {k} farthest of 3 candidate reports: expected 1 to 2"):
        farthest_candidates(np.eye(3, dtype=np.float32), np.arange(3), k)


def test_torch_finds_what_faiss_finds():
    vectors = unit(np.random.default_rng(5).normal(size=(200, 16)))
    candidates = np.sort(np.random.default_rng(6).choice(200, 150, replace=False))
    index = TorchIndex(vectors[candidates], "cpu")
    index.block = 37
    found = farthest_candidates(vectors, candidates, 20, index=index)
    np.testing.assert_array_equal(found, farthest_candidates(vectors, candidates, 20))
    np.testing.assert_array_equal(found, brute_force(vectors, candidates, 20))


def test_torch_ties_go_by_row_number():
    axes = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]] * 3, dtype=np.float32)
    for k in (1, 3, 5, 11):
        found = farthest_candidates(axes, np.arange(12), k, index=TorchIndex(axes))
        np.testing.assert_array_equal(found, brute_force(axes, np.arange(12), k))


def test_ivf_recall_is_what_counting_gives():
    """Clustered vectors: most of the farthest lie in few cells, some in cells that are not asked."""
    rng = np.random.default_rng(7)
    centers = rng.normal(size=(40, 8))
    vectors = unit(centers[rng.integers(40, size=3000)] + 0.5 * rng.normal(size=(3000, 8)))
    candidates = np.arange(0, 3000, 2)
    index = IvfIndex(vectors[candidates])
    assert index.n_cells > 16
    table = farthest_candidates(vectors, candidates, 10, index=index)
    assert not (table == np.arange(3000)[:, None]).any() and np.isin(table, candidates).all()
    rows = np.random.default_rng(0).permutation(3000)[:1000]
    exact = farthest_candidates(vectors, candidates, 10)
    counted = np.mean([np.isin(table[row], exact[row]).mean() for row in rows])
    assert recall(vectors, candidates, table) == pytest.approx(counted, abs=1e-3)
    assert 0.5 < counted < 1
    assert recall(vectors, candidates, exact) == 1
    np.testing.assert_array_equal(
        table, farthest_candidates(vectors, candidates, 10, index=IvfIndex(vectors[candidates]))
    )


def test_ivf_asks_more_cells_until_there_are_enough():
    vectors = unit(np.random.default_rng(8).normal(size=(400, 4)))
    table = farthest_candidates(vectors, np.arange(400), 390, index=IvfIndex(vectors))
    assert all(len(set(row)) == 390 for row in table.tolist())
