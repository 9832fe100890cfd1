"""WFDB format 212: two 12-bit samples in three bytes."""

import numpy as np

MISSING = -2048


def packed_size(samples: int) -> int:
    """Return how many bytes `samples` 12-bit samples take."""
    return (3 * samples + 1) // 2


def unpack(data: bytes, samples: int) -> np.ndarray:
    """Return the first `samples` samples of `data`, (samples,) int16; -2048 means missing.

    Of each three bytes the first and the low half of the second are one sample, the third and the high half of the
    second the next one, both two's complement. An odd last sample takes two bytes.
    """
    raw = np.frombuffer(data, dtype=np.uint8, count=packed_size(samples))
    padded = np.zeros(3 * ((samples + 1) // 2), dtype=np.int16)
    padded[: len(raw)] = raw
    first, middle, last = padded.reshape(-1, 3).T
    counts = np.empty((len(first), 2), dtype=np.int16)
    counts[:, 0] = first | (middle & 0x0F) << 8
    counts[:, 1] = last | (middle & 0xF0) << 4
    flat = counts.reshape(-1)[:samples]
    return flat - ((flat & 0x800) << 1)
