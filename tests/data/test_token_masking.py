"""BERT masking and lead masking: shares, untouched places, every draw a function of its keys."""

import numpy as np

from ecgtext_plugins.data.lead_masking import lead_mask
from ecgtext_plugins.data.token_masking import DRAWS, IGNORED, mask_tokens


def test_shares_of_the_three_kinds():
    ids = np.arange(1000, 41000).reshape(4, 10000)
    maskable = ids % 4 != 0
    draws = np.random.default_rng(0).random((*ids.shape, DRAWS))
    masked, labels = mask_tokens(ids, maskable, 0.25, 7, np.arange(10, 20), draws)
    scored = labels != IGNORED
    assert not scored[~maskable].any()
    assert np.array_equal(labels[scored], ids[scored])
    assert np.array_equal(masked[~scored], ids[~scored])
    assert abs(scored[maskable].mean() - 0.25) < 0.01
    kinds = masked[scored]
    assert set(kinds[(kinds >= 10) & (kinds < 20)]) == set(range(10, 20))
    assert abs((kinds == 7).mean() - 0.8) < 0.02
    assert abs(((kinds >= 10) & (kinds < 20)).mean() - 0.1) < 0.02
    assert abs((kinds == ids[scored]).mean() - 0.1) < 0.02


def test_lead_mask_share_and_keep_one():
    draws = np.random.default_rng(0).random((4000, 13))
    hidden = lead_mask(draws, 0.5)
    assert hidden.shape == (4000, 12) and hidden.dtype == bool
    assert abs(hidden.mean() - 0.5) < 0.01 and np.abs(hidden.mean(0) - 0.5).max() < 0.04
    assert lead_mask(draws, 1.0).all() and not lead_mask(draws, 0.0).any()
    kept = lead_mask(draws, 1.0, keep_one=True)
    assert (kept.sum(1) == 11).all() and np.abs((~kept).mean(0) - 1 / 12).max() < 0.02
    rare = lead_mask(draws, 0.9, keep_one=True)
    some = ~lead_mask(draws, 0.9).all(1)
    assert np.array_equal(rare[some], lead_mask(draws, 0.9)[some]) and not rare.all(1).any()
