"""Random draws that depend on seed, epoch and item alone: never on workers, batch order or a resume."""

from collections.abc import Sequence

import numpy as np

PURPOSES = (
    "batch_order",
    "lead_mask",
    "crop",
    "token_mask",
    "swap_rows",
    "swap_report",
    "shuffle_reports",
    "patch_mask",
    "perturbation",
    "bucket_lead",
    "time_mask",
)
GAMMA = np.uint64(0x9E3779B97F4A7C15)


def generator(purpose: str, seed: int, epoch: int, *keys: int) -> np.random.Generator:
    """Return the generator for one purpose.

    Parameters
    ----------
    purpose : str
        One of `PURPOSES`, so that two draws for the same item are independent.
    seed, epoch : int
        Non-negative.
    keys : int
        What the draw is for: the index of an item, or all indices of a batch.
    """
    return np.random.default_rng([PURPOSES.index(purpose), seed, epoch, *keys])


def words(purpose: str, seed: int, epoch: int, indices: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    """Draw 64 random bits `count` times for each of many items at once, (len(indices), count) uint64.

    An item's draws are a stream of SplitMix64 (Steele, Lea and Flood 2014) of its own, whose seed is the output at
    place `index` of the SplitMix64 that (purpose, seed, epoch) seed. So they depend on nothing but these and the index,
    and the first draws are the same for every `count`. Making a numpy generator for each item costs a hundred times as
    much.
    """
    first = np.random.SeedSequence([PURPOSES.index(purpose), seed, epoch]).generate_state(1, np.uint64)
    streams = _mixed(first + (np.asarray(indices, dtype=np.uint64) + np.uint64(1)) * GAMMA)
    return _mixed(streams[:, None] + np.arange(1, count + 1, dtype=np.uint64) * GAMMA)


def uniforms(purpose: str, seed: int, epoch: int, indices: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    """Draw from [0, 1) as :func:`words` does, (len(indices), count) float64."""
    return (words(purpose, seed, epoch, indices, count) >> np.uint64(11)) * 2.0**-53


def _mixed(state: np.ndarray) -> np.ndarray:
    """Return SplitMix64's output for each state; uint64 wraps around."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
