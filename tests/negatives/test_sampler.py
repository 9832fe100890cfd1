"""Draws of negatives: uniform, never the own, by strategy and epoch."""

import pickle

import numpy as np
import pytest

from ecgtext_plugins.errors import BadNegatives
from ecgtext_plugins.negatives.sampler import NegativeSampler
from ecgtext_plugins.negatives.table import NegativesTable

REPORTS, K = 30, 4
CANDIDATES = np.arange(0, REPORTS, 3)  # 10 of them


@pytest.fixture
def table(tmp_path):
    """Farthest are the reports 10 to 13 further on, band those 20 to 23 further on."""
    folder = tmp_path / "data" / "negatives"
    folder.mkdir(parents=True)
    own = np.arange(REPORTS)[:, None]
    for name, first in (("farthest", 10), ("band", 20)):
        np.save(folder / f"{name}.npy", ((own + first + np.arange(K)) % REPORTS).astype(np.int32))
    return NegativesTable(folder, {"k": K, "text_encoder": "t5", "band": {"low": 0.5, "high": 0.9, "seed": 0}})


def uniforms(rows, seed=0):
    return np.random.default_rng(seed).random((rows, 3))


def chi_square(values, expected):
    counts = np.array([(values == value).sum() for value in expected])
    assert counts.sum() == len(values)
    return ((counts - len(values) / len(expected)) ** 2 / (len(values) / len(expected))).sum()


@pytest.mark.parametrize(("strategy", "first"), [("farthest", 10), ("band", 20)])
def test_table_draws_are_uniform_over_the_row(table, strategy, first):
    sampler = NegativeSampler(CANDIDATES, table, strategy)
    drawn = sampler.draw(np.full(4000, 25), uniforms(4000), epoch=1)
    assert drawn.dtype == np.int64 and drawn.shape == (4000,)
    assert chi_square(drawn, [(25 + first + n) % REPORTS for n in range(K)]) < 16.3  # 0.1 %, 3 degrees of freedom


@pytest.mark.parametrize("own", [0, 12, 27, 1, 29])
def test_random_draws_are_uniform_over_the_other_candidates(own):
    sampler = NegativeSampler(CANDIDATES, None, "random")
    drawn = sampler.draw(np.full(6000, own), uniforms(6000), epoch=1)
    others = CANDIDATES[CANDIDATES != own]
    assert chi_square(drawn, others) < 27.9  # 0.1 %, 9 degrees of freedom
    extremes = sampler.draw(np.array([own, own]), np.array([[0, 0, 0.0], [0, 0, np.nextafter(1, 0)]]), 1)
    assert extremes.tolist() == [others[0], others[-1]]


def test_mixed_has_its_shares_and_never_shows_the_own(table):
    sampler = NegativeSampler(CANDIDATES, table, "mixed", mixture=(2, 1, 1))
    own = np.random.default_rng(1).integers(0, REPORTS, 20_000)
    drawn = sampler.draw(own, uniforms(20_000), epoch=1)
    assert (drawn != own).all()
    further = (drawn - own) % REPORTS
    by_chance = 0.25 * np.mean(np.isin((own[:, None] + 10 + np.arange(K)) % REPORTS, CANDIDATES).sum(1)) / 9.67
    for first, share in ((10, 0.5), (20, 0.25)):
        found = np.isin(further, first + np.arange(K)).mean()
        assert found == pytest.approx(share + by_chance, abs=0.02)


def test_mixed_takes_each_row_as_its_part_would(table):
    own, numbers = np.arange(REPORTS), uniforms(REPORTS)
    mixed = NegativeSampler(CANDIDATES, table, "mixed", (0.5, 0.25, 0.25)).draw(own, numbers, 1)
    alone = {
        name: NegativeSampler(CANDIDATES, table, name).draw(own, numbers, 1) for name in ("farthest", "random", "band")
    }
    expected = np.select(
        [numbers[:, 0] < 0.5, numbers[:, 0] < 0.75], [alone["farthest"], alone["random"]], alone["band"]
    )
    np.testing.assert_array_equal(mixed, expected)


def test_a_share_of_nothing_needs_no_table():
    own = np.arange(REPORTS)
    drawn = NegativeSampler(CANDIDATES, None, "mixed", (0, 3, 0)).draw(own, uniforms(REPORTS), 1)
    np.testing.assert_array_equal(drawn, NegativeSampler(CANDIDATES, None, "random").draw(own, uniforms(REPORTS), 1))


def test_same_numbers_same_draws_also_in_a_worker_and_one_by_one(table):
    sampler = NegativeSampler(CANDIDATES, table, "mixed")
    own, numbers = np.arange(REPORTS), uniforms(REPORTS)
    drawn = sampler.draw(own, numbers, 3)
    data = pickle.dumps(sampler)
    assert len(data) < 2000 and b"memmap" not in data
    np.testing.assert_array_equal(pickle.loads(data).draw(own, numbers, 3), drawn)
    singly = [sampler.draw(own[row : row + 1], numbers[row : row + 1], 3)[0] for row in range(REPORTS)]
    np.testing.assert_array_equal(singly, drawn)
    assert sampler.draw(own[:0], numbers[:0], 3).shape == (0,)


def test_schedule(table):
    sampler = NegativeSampler(CANDIDATES, table, "mixed", schedule=["2:random", "5:band"])
    assert [sampler.strategy_at(epoch) for epoch in (0, 1, 2, 4, 5, 99)] == [
        *("mixed", "mixed", "random", "random", "band", "band")
    ]
    drawn = sampler.draw(np.full(50, 3), uniforms(50), 5)
    assert set(drawn) <= {23, 24, 25, 26}
    np.testing.assert_array_equal(
        sampler.draw(np.full(50, 3), uniforms(50), 2),
        NegativeSampler(CANDIDATES, None, "random").draw(np.full(50, 3), uniforms(50), 1),
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"strategy": "hardest"}, "strategy 'hardest' is unknown: expected one of farthest, random, band, mixed"),
        ({"schedule": ["3:nearest"]}, "entry '3:nearest', 'nearest' is unknown"),
        ({"schedule": ["random"]}, "entry 'random' .*expected EPOCH:STRATEGY"),
        ({"schedule": ["x:random"]}, "entry 'x:random' .*expected EPOCH:STRATEGY"),
        ({"schedule": ["0:random"]}, "entry '0:random' .*epoch from 1"),
        ({"schedule": ["5:random", "5:band"]}, "entry '5:band' .*follows epoch 5: expected ascending"),
        ({"strategy": "mixed", "mixture": (1, 1)}, "expected 3 shares"),
        ({"strategy": "mixed", "mixture": (0, 0, 0)}, "not all 0"),
        ({"strategy": "mixed", "mixture": (1, -1, 1)}, "expected 3 shares from 0"),
        ({"candidates": np.array([4])}, "1 report may be shown"),
    ],
)
def test_bad_options(table, options, sentence):
    with pytest.raises(BadNegatives, match=sentence):
        NegativeSampler(**{"candidates": CANDIDATES, "table": table} | options)


def test_strategies_that_need_a_table(table):
    with pytest.raises(BadNegatives, match="strategy farthest needs a table .*build DATA --text-encoder NAME`"):
        NegativeSampler(CANDIDATES, None)
    with pytest.raises(BadNegatives, match="strategy band needs a table .*--band LOW,HIGH`"):
        NegativeSampler(CANDIDATES, None, "random", schedule=["4:band"])
    without = NegativesTable(table.folder, {"text_encoder": "t5"})
    remedy = f"build {table.folder.parent} --text-encoder t5 --band LOW,HIGH`"
    with pytest.raises(BadNegatives, match=f"strategy mixed needs a band, .*{remedy}"):
        NegativeSampler(CANDIDATES, without, "mixed")
    NegativeSampler(CANDIDATES, without, "mixed", mixture=(0.5, 0.5, 0))


def test_shapes_are_checked(table):
    sampler = NegativeSampler(CANDIDATES, table)
    for own, numbers in ((np.arange(3), uniforms(4)), (np.array([-1]), uniforms(1)), (np.arange(3), np.zeros(3))):
        with pytest.raises(ValueError, match="expected"):
            sampler.draw(own, numbers, 1)
    with pytest.raises(ValueError, match="ascending"):
        NegativeSampler(np.array([3, 1]), None, "random")
