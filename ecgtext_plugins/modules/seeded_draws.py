"""Random numbers of each row of a batch from its own seed: the same on every device, in every batch and process."""

import torch
from torch import Tensor

STREAMS = ("seeds", "frame_mask", "channel_mask", "negatives", "cross_negatives", "codebook_negatives")
# As signed 64-bit integers, whose sums and products wrap around as unsigned ones do.
GAMMA = 0x9E3779B97F4A7C15 - 2**64
FACTORS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)


def words(seeds: Tensor, stream: str, count: int) -> Tensor:
    """Draw `count` times 63 random bits for each row: (B,) int64 -> (B, count) int64, not negative.

    SplitMix64 (Steele, Lea and Flood 2014), as in `data.randomness`; a row's generator is seeded by the output at place
    `stream` of the one that its seed seeds, so that the streams of a row have nothing to do with one another.
    """
    steps = torch.arange(1, count + len(STREAMS) + 1, device=seeds.device) * GAMMA
    states = _mixed(seeds[:, None] + steps[STREAMS.index(stream)])
    return _shifted(_mixed(states + steps[:count]), 1)


def uniforms(seeds: Tensor, stream: str, count: int) -> Tensor:
    """Draw from [0, 1): (B,) int64 -> (B, count) float64."""
    return (words(seeds, stream, count) >> 10).double() * 2.0**-53


def fresh_seeds(rows: int, device: torch.device) -> Tensor:
    """Draw seeds from torch's global generator where a batch brings none: (B,) int64."""
    return torch.randint(2**62, (rows,)).to(device)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros, as for unsigned integers."""
    return (x >> bits) & (2 ** (64 - bits) - 1)


def _mixed(state: Tensor) -> Tensor:
    state = (state ^ _shifted(state, 30)) * FACTORS[0]
    state = (state ^ _shifted(state, 27)) * FACTORS[1]
    return state ^ _shifted(state, 31)
