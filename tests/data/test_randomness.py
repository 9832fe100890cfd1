"""Draws by (purpose, seed, epoch, index): against plain integers, and without visible pattern."""

import numpy as np
import pytest

from ecgtext_plugins.data.randomness import PURPOSES, generator, uniforms, words

KEYS = ("token_mask", 1, 2, 3)
OTHERS = [("lead_mask", 1, 2, 3), ("token_mask", 2, 2, 3), ("token_mask", 1, 3, 3), ("token_mask", 1, 2, 4)]


def test_generators_depend_on_every_key_and_on_nothing_else():
    np.random.seed(0)
    first = generator(*KEYS).random()
    np.random.seed(5)
    assert first == generator(*KEYS).random()
    assert len({generator(*key).random() for key in OTHERS} | {first}) == 5


def splitmix64(state, count):
    """Yield `count` outputs as its authors define them, in Python's own integers."""
    whole = 2**64 - 1
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & whole
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & whole
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & whole
        yield z ^ (z >> 31)


def test_the_reference_gives_the_published_numbers():
    assert list(splitmix64(1234567, 3)) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_words_against_plain_integers():
    first = int(np.random.SeedSequence([PURPOSES.index("crop"), 7, 8]).generate_state(1, np.uint64)[0])
    seeds = list(splitmix64(first, 6))
    expected = [list(splitmix64(seeds[index], 4)) for index in (5, 0, 3)]
    assert words("crop", 7, 8, [5, 0, 3], 4).tolist() == expected
    assert uniforms("crop", 7, 8, [5], 1)[0, 0] == (expected[0][0] >> 11) / 2**53


def test_a_draw_depends_on_its_own_keys_alone():
    alone = uniforms(*KEYS[:3], [3], 5)
    np.testing.assert_array_equal(uniforms(*KEYS[:3], np.array([9, 3, 800_000]), 8)[1:2, :5], alone)
    assert len({uniforms(*key[:3], [key[3]], 1)[0, 0] for key in OTHERS} | {alone[0, 0]}) == 5
    assert uniforms(*KEYS[:3], [], 5).shape == (0, 5)


@pytest.mark.parametrize("purpose", ["lead_mask", "patch_mask"])
def test_draws_are_uniform_and_independent_along_every_key(purpose):
    by_epoch = np.stack([uniforms(purpose, 1, epoch, np.arange(20_000), 4) for epoch in range(3)])
    assert by_epoch.min() >= 0 and by_epoch.max() < 1
    counts = np.histogram(by_epoch, bins=64, range=(0, 1))[0]
    expected = by_epoch.size / 64
    assert ((counts - expected) ** 2 / expected).sum() < 63 + 5 * np.sqrt(2 * 63)  # chi-square, 5 deviations
    bits = np.unpackbits(words(purpose, 1, 1, np.arange(20_000), 1).view(np.uint8)).reshape(-1, 64)
    assert np.abs(bits.mean(0) - 0.5).max() < 5 * 0.5 / np.sqrt(20_000)
    for one, other in [
        (by_epoch[0, :-1, 0], by_epoch[0, 1:, 0]),
        (by_epoch[0, :, 0], by_epoch[0, :, 1]),
        (by_epoch[0, :, 0], by_epoch[1, :, 0]),
    ]:
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(len(one))
