"""BERT masking: shares, untouched places, independence of everything but the generator."""

import numpy as np

from ecgtext_plugins.data.lead_masking import draw_lead_mask
from ecgtext_plugins.data.randomness import generator
from ecgtext_plugins.data.token_masking import IGNORED, mask_tokens


def test_shares_of_the_three_kinds():
    ids = np.arange(1000, 41000)
    maskable = ids % 4 != 0
    masked, labels = mask_tokens(ids, maskable, 0.25, 7, np.arange(10, 20), np.random.default_rng(0))
    scored = labels != IGNORED
    assert not scored[~maskable].any()
    assert np.array_equal(labels[scored], ids[scored])
    assert np.array_equal(masked[~scored], ids[~scored])
    assert abs(scored[maskable].mean() - 0.25) < 0.01
    kinds = masked[scored]
    assert abs((kinds == 7).mean() - 0.8) < 0.02
    assert abs(((kinds >= 10) & (kinds < 20)).mean() - 0.1) < 0.02
    assert abs((kinds == ids[scored]).mean() - 0.1) < 0.02


def test_generators_depend_on_every_key_and_on_nothing_else():
    np.random.seed(0)
    first = generator("token_mask", 1, 2, 3).random()
    np.random.seed(5)
    assert first == generator("token_mask", 1, 2, 3).random()
    others = [("lead_mask", 1, 2, 3), ("token_mask", 2, 2, 3), ("token_mask", 1, 3, 3), ("token_mask", 1, 2, 4)]
    assert len({generator(*key).random() for key in others} | {first}) == 5


def test_lead_mask_share_and_keep_one():
    rng = np.random.default_rng(0)
    hidden = np.stack([draw_lead_mask(rng, 0.5) for _ in range(4000)])
    assert abs(hidden.mean() - 0.5) < 0.01
    assert draw_lead_mask(rng, 1.0).all()
    kept = np.stack([draw_lead_mask(rng, 1.0, keep_one=True) for _ in range(500)])
    assert (kept.sum(1) == 11).all() and (~kept).any(0).all()
