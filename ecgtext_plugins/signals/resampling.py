"""Resampling by an exact rational ratio with a polyphase filter."""

from fractions import Fraction
from functools import lru_cache

import numpy as np
from scipy.signal import firwin, resample_poly

from ecgtext_plugins.errors import BadRecord

LARGEST_TERM = 50_000  # of the ratio: the filter has 20 times as many taps


def rational_ratio(native_rate: float, rate: float, source: str) -> Fraction:
    """Return rate / native_rate exactly, both taken as the decimals that they print as (499.99 is 49999/100).

    Raises
    ------
    BadRecord
        ``sampling_rate``, when the ratio needs terms above 50,000.
    """
    ratio = Fraction(repr(float(rate))) / Fraction(repr(float(native_rate)))
    if max(ratio.numerator, ratio.denominator) > LARGEST_TERM:
        raise BadRecord(
            "sampling_rate",
            f"{source} was sampled at {native_rate!r} Hz, whose ratio to {rate!r} Hz is {ratio}: expected a ratio with "
            f"terms up to {LARGEST_TERM}; resample the file to a rate such as 500 Hz first",
        )
    return ratio


@lru_cache(maxsize=8)
def _low_pass(up: int, down: int) -> np.ndarray:
    """Return a Kaiser-windowed low-pass of 20 * max(up, down) + 1 taps, cut off at the lower Nyquist frequency."""
    widest = max(up, down)
    return firwin(20 * widest + 1, 1.0 / widest, window=("kaiser", 5.0)).astype(np.float32)


def resample(signal: np.ndarray, ratio: Fraction) -> np.ndarray:
    """Resample `signal` (12, T) to float32 (12, ceil(T * ratio)); T >= 1.

    Gaps (NaN) are bridged by straight lines for the filter and are NaN again in the result.
    Source: scipy.signal.resample_poly, ends padded along the line through the first and last sample.
    """
    if ratio == 1:
        return np.asarray(signal, dtype=np.float32)
    gaps = np.isnan(signal)
    has_gaps = bool(gaps.any())
    filled = _bridge(signal, gaps) if has_gaps else np.asarray(signal, dtype=np.float32)
    up, down = ratio.numerator, ratio.denominator
    resampled = resample_poly(filled, up, down, axis=1, window=_low_pass(up, down), padtype="line")
    resampled = resampled.astype(np.float32, copy=False)
    if has_gaps:
        places = np.arange(resampled.shape[1], dtype=np.int64) * down
        below, above = places // up, -(-places // up)
        last = signal.shape[1] - 1
        resampled[gaps[:, np.minimum(below, last)] | gaps[:, np.minimum(above, last)]] = np.nan
    return resampled


def _bridge(signal: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Fill NaN by linear interpolation along each lead; a lead of NaN only becomes 0."""
    filled = np.array(signal, dtype=np.float32)
    for lead, gap in zip(filled, gaps, strict=True):
        if gap.all():
            lead[:] = 0.0
        elif gap.any():
            lead[gap] = np.interp(np.flatnonzero(gap), np.flatnonzero(~gap), lead[~gap])
    return filled
