"""Plans of a batch's reports against all cuts tried, and against the batch itself."""

import itertools

import numpy as np
import pytest

from ecgtext_plugins.data.text_plan import length_groups, text_plan


def padded_tokens(runs):
    return sum((stop - start) * longest for start, stop, longest in runs)


@pytest.mark.parametrize("groups", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("seed", range(5))
def test_groups_have_the_least_padding_of_all_cuts(groups, seed):
    rng = np.random.default_rng(seed)
    lengths = np.sort(rng.integers(3, 12, rng.integers(1, 10)))
    runs = length_groups(lengths, groups)
    assert [run[0] for run in runs] == [0, *(run[1] for run in runs[:-1])] and runs[-1][1] == len(lengths)
    assert len(runs) <= groups and all(longest == lengths[stop - 1] for _, stop, longest in runs)
    inner = range(1, len(lengths))
    cuts = [c for n in range(min(groups, len(lengths))) for c in itertools.combinations(inner, n)]
    tried = [[0, *cut, len(lengths)] for cut in cuts]
    best = min(
        padded_tokens([(a, b, lengths[b - 1]) for a, b in zip(edges, edges[1:], strict=False)]) for edges in tried
    )
    assert padded_tokens(runs) == best


def test_rows_of_one_length_stay_together():
    lengths = np.array([4, 4, 4, 9, 9])
    assert length_groups(lengths, 4) == [(0, 3, 4), (3, 5, 9)]


def test_plan():
    lengths = np.array([3, 3, 3, 6])
    labels = np.full((4, 6), -100)
    labels[0, 1], labels[1, 1], labels[3, [2, 4]] = 7, 7, [8, 9]
    plan = text_plan(lengths, np.array([5, 5, 6, 2]), labels, groups=2)
    assert plan["groups"] == [(0, 3, 3, 0, 2), (3, 4, 6, 2, 3)]
    assert plan["rows"].tolist() == [0, 2, 3] and plan["place"].tolist() == [0, 0, 1, 2]
    assert plan["query"].tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0], [0, 2, 4]]
    rows = np.repeat(np.arange(4), plan["query"].shape[1])
    read = labels[rows, plan["query"].flatten()][plan["places"]]
    np.testing.assert_array_equal(read, labels[labels != -100])


def test_nothing_scored_and_a_single_row():
    plan = text_plan(np.array([5]), np.array([0]), np.full((1, 5), -100), groups=3)
    assert plan["groups"] == [(0, 1, 5, 0, 1)]
    assert plan["query"].tolist() == [[0]] and len(plan["places"]) == 0
