"""Cleaning filters: baseline wander, noise above the ECG's band, and mains hum are taken out without moving a wave."""

import math
from functools import lru_cache

import numpy as np

from ecgtext_plugins.signals.gaps import fill_gaps

NOTCH_Q = 30.0  # centre frequency by width: 50 Hz loses what lies between 49.2 and 50.8 Hz
HIGHEST_ORDER = 10


def clean(
    signal: np.ndarray,
    rate: float,
    high_pass: float | None = 0.5,
    low_pass: float | None = 100.0,
    notch: float | None = None,
    order: int = 2,
) -> np.ndarray:
    """Filter `signal` (12, T) mV forward and backward, so that no wave is delayed; None leaves a filter out.

    Gaps (NaN) are bridged by straight lines for the filter and are NaN again in the result. What lies beyond the ends
    is taken to mirror what lies before them, so some baseline wander and hum is left in the first and last half
    second.

    Parameters
    ----------
    rate : float
        Samples per second.
    high_pass, low_pass : float, optional
        Cut-offs of Butterworth filters in Hz; as they run twice, half of the amplitude is left there.
    notch : float, optional
        Mains frequency in Hz, 50 or 60.
    order : int
        Of the Butterworth filters; running twice doubles it: 2 gives slopes of 24 dB an octave.

    Returns
    -------
    ndarray (12, T) float32

    Raises
    ------
    ValueError
        From :func:`check_filters`, or when T is not above :func:`padding`.
    """
    check_filters(rate, high_pass, low_pass, notch, order)
    if high_pass is None and low_pass is None and notch is None:
        return np.asarray(signal, dtype=np.float32)
    pad = padding(rate, high_pass, low_pass, notch)
    if signal.shape[1] <= pad:
        raise ValueError(
            f"the signal has {signal.shape[1]} samples: expected more than {pad} ({pad / rate:.3g} s at {rate:g} Hz) "
            f"for the filters high_pass: {high_pass}, low_pass: {low_pass}, notch: {notch}; leave it out, or filter "
            "less narrowly"
        )
    from scipy.signal import sosfiltfilt  # takes most of a second to import

    gaps = np.isnan(signal)
    has_gaps = bool(gaps.any())
    filled = fill_gaps(signal, gaps) if has_gaps else signal
    sections = _sections(rate, high_pass, low_pass, notch, order)
    cleaned = sosfiltfilt(sections, filled.astype(np.float64), axis=1, padtype="even", padlen=pad)
    cleaned = cleaned.astype(np.float32)
    if has_gaps:
        cleaned[gaps] = np.nan
    return cleaned


def check_filters(
    rate: float, high_pass: float | None, low_pass: float | None, notch: float | None, order: int = 2
) -> None:
    """Check the keys of :func:`clean` before a signal is there.

    Raises
    ------
    ValueError
        For a frequency that is not between 0 and half of `rate`, a high_pass not below low_pass, or an order that is
        no whole number from 1 to 10.
    """
    for key, frequency in (("high_pass", high_pass), ("low_pass", low_pass), ("notch", notch)):
        if frequency is not None and not 0 < frequency < rate / 2:
            raise ValueError(
                f"{key} is {frequency:g} Hz for signals of {rate:g} samples a second: expected more than 0 and less "
                f"than {rate / 2:g} Hz, half the rate; change it, or set it to null"
            )
    if high_pass is not None and low_pass is not None and high_pass >= low_pass:
        raise ValueError(
            f"high_pass is {high_pass:g} Hz and low_pass {low_pass:g} Hz: expected high_pass below low_pass, as what "
            "lies between them is kept; change one of them"
        )
    if not (isinstance(order, int) and 1 <= order <= HIGHEST_ORDER):
        raise ValueError(f"order is {order!r}: expected a whole number from 1 to {HIGHEST_ORDER}; 2 is usual")


def padding(rate: float, high_pass: float | None, low_pass: float | None, notch: float | None) -> int:
    """Return by how many samples a signal is extended at each end while the filters of :func:`clean` settle.

    One cycle of the high-pass, three of the low-pass or 30 of the notch, whichever lasts longest.
    """
    cycles = ((1.0, high_pass), (3.0, low_pass), (NOTCH_Q, notch))
    return math.ceil(rate * max((count / frequency for count, frequency in cycles if frequency is not None), default=0))


@lru_cache(maxsize=8)
def _sections(
    rate: float, high_pass: float | None, low_pass: float | None, notch: float | None, order: int
) -> np.ndarray:
    """Design all filters as one chain of second-order sections (S, 6)."""
    from scipy.signal import butter, iirnotch, tf2sos

    chain = []
    if high_pass is not None:
        chain.append(butter(order, high_pass, "highpass", fs=rate, output="sos"))
    if low_pass is not None:
        chain.append(butter(order, low_pass, "lowpass", fs=rate, output="sos"))
    if notch is not None:
        chain.append(tf2sos(*iirnotch(notch, NOTCH_Q, fs=rate)))
    return np.concatenate(chain)
