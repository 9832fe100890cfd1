"""Resampling: by an exact rational ratio with a polyphase filter, or by straight lines as fairseq-signals does."""

from fractions import Fraction
from functools import lru_cache

import numpy as np

from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.signals.gaps import fill_gaps

METHODS = ("polyphase", "linear")
LARGEST_TERM = 50_000  # of the ratio: the filter has 20 times as many taps


def resample_by(method: str, signal: np.ndarray, native_rate: float, rate: float, source: str) -> np.ndarray:
    """Resample `signal` (12, T) from `native_rate` to `rate`, both in Hz, by one of METHODS; float32 mV.

    Parameters
    ----------
    method : str
        ``polyphase`` (:func:`resample`) or ``linear`` (:func:`resample_linear`).
    source : str
        What an error names, e.g. ``"record 40689238"``.

    Raises
    ------
    ValueError
        For another method.
    BadRecord
        ``sampling_rate``, from :func:`rational_ratio`.
    """
    if method == "linear":
        return resample_linear(signal, native_rate, rate)
    if method == "polyphase":
        return resample(signal, rational_ratio(native_rate, rate, source))
    raise ValueError(f"the resampling method is {method!r}: expected one of {', '.join(METHODS)}")


@lru_cache(maxsize=64)
def _exact_ratio(native_rate: float, rate: float) -> Fraction:
    return Fraction(repr(rate)) / Fraction(repr(native_rate))


def rational_ratio(native_rate: float, rate: float, source: str) -> Fraction:
    """Return rate / native_rate exactly, both taken as the decimals that they print as (499.99 is 49999/100).

    Raises
    ------
    BadRecord
        ``sampling_rate``, when the ratio needs terms above 50,000.
    """
    ratio = _exact_ratio(float(native_rate), float(rate))
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
    from scipy.signal import firwin  # takes most of a second to import: only builds that resample pay for it

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
    filled = np.asarray(signal, dtype=np.float32)
    if has_gaps:
        filled = fill_gaps(filled, gaps)
    from scipy.signal import resample_poly

    up, down = ratio.numerator, ratio.denominator
    resampled = resample_poly(filled, up, down, axis=1, window=_low_pass(up, down), padtype="line")
    resampled = resampled.astype(np.float32, copy=False)
    if has_gaps:
        places = np.arange(resampled.shape[1], dtype=np.int64) * down
        below, above = places // up, -(-places // up)
        last = signal.shape[1] - 1
        resampled[gaps[:, np.minimum(below, last)] | gaps[:, np.minimum(above, last)]] = np.nan
    return resampled


def resample_linear(
    signal: np.ndarray, native_rate: float, rate: float, dtype: np.typing.DTypeLike = np.float32
) -> np.ndarray:
    """Resample `signal` (12, T) to (12, int(T * rate / native_rate)) by straight lines between its samples; T >= 1.

    No filter against aliasing: going down, what lies above the new Nyquist frequency folds into the result. First
    and last sample stay first and last, so the time axis is stretched a little and depends on T: crop afterwards, not
    before. A value next to a missing sample is missing.

    Source: ``resample`` in fairseq_signals/data/ecg/preprocess/preprocess.py of fairseq-signals, to the last bit when
    `signal` and `dtype` are float64. Like that one it draws each line from the sample below a point, also where the
    point falls on a sample, which may differ from np.interp in the last bit.

    Parameters
    ----------
    native_rate, rate : float
        Hz, as they are and as they shall be.
    dtype : dtype
        Of the result; the computation is in float64.
    """
    if rate == native_rate:
        return np.asarray(signal, dtype=dtype)
    length = int(signal.shape[1] * (rate / native_rate))
    if min(length, signal.shape[1]) < 2:
        return np.repeat(signal[:, :1], length, axis=1).astype(dtype)
    below, width, offset = _straight_lines(signal.shape[1], length)
    resampled = np.empty((len(signal), length), dtype=dtype)
    for lead, result in zip(signal, resampled, strict=True):
        lead = lead.astype(np.float64)
        start = lead.take(below)
        result[:] = (lead.take(below + 1) - start) / width * offset + start
    return resampled


@lru_cache(maxsize=4)
def _straight_lines(count: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spread `count` samples over the points 0 .. length - 1; of each point its line.

    Returns
    -------
    below, width, offset : ndarray (length,)
        The sample that the line starts from, the line's width, and how far from its start the point lies, in points.
    """
    places = np.linspace(0, length - 1, count)
    points = np.arange(length)
    below = np.searchsorted(places, points).clip(1, count - 1) - 1
    return below, places[below + 1] - places[below], points - places[below]
