"""Seeded draws against numpy's unsigned arithmetic, and their independence."""

import numpy as np
import torch

from ecgtext_plugins.data.randomness import GAMMA, _mixed
from ecgtext_plugins.modules.seeded_draws import STREAMS, uniforms, words

SEEDS = torch.tensor([0, 1, 2**63 - 1, 123456789012345678])


def test_equals_numpys_splitmix():
    for place, stream in enumerate(STREAMS):
        with np.errstate(over="ignore"):
            states = _mixed(SEEDS.numpy().astype(np.uint64) + np.uint64(place + 1) * GAMMA)
            expected = _mixed(states[:, None] + np.arange(1, 8, dtype=np.uint64) * GAMMA) >> np.uint64(1)
        assert np.array_equal(words(SEEDS, stream, 7).numpy(), expected.astype(np.int64))


def test_rows_streams_and_counts():
    draws = uniforms(SEEDS, "frame_mask", 5000)
    assert ((draws >= 0) & (draws < 1)).all()
    assert torch.equal(draws[2:3, :10], uniforms(SEEDS[2:3], "frame_mask", 10))
    assert (draws.mean(1) - 0.5).abs().max() < 0.02
    others = torch.stack([draws, uniforms(SEEDS, "negatives", 5000)]).flatten(0, 1)
    assert (torch.corrcoef(others) - torch.eye(8)).abs().max() < 0.06
