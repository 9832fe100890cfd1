"""Clipping: waves cut off flat at the limit of the amplifier or converter."""

import math

import numpy as np

from ecgtext_plugins.signals.quality import lead_mask
from ecgtext_plugins.signals.runs import find_runs

HELD_SECONDS, HELD_SAMPLES = 0.010, 3  # shortest plateau, the longer of the two
LEAST_SWING = 0.5  # mV between the plateau and the lead's median
SHOULDER = 0.1  # of that swing: how far below the plateau its shoulders are looked for
BROADEST_SHOULDER = 2.0  # times the plateau; a round wave of 0.5 mV stored in steps up to 15 microvolt is broader


def clipped_leads(signal: np.ndarray, rate: float) -> int:
    """Return the bit mask of leads of `signal` (12, T) mV that are cut off at their highest or lowest value.

    A lead is clipped when that value is held for at least 10 ms (and 3 samples), lies at least 0.5 mV away from the
    lead's median, and is reached abruptly: at a tenth of the distance to the median the wave is less than twice as
    broad as the plateau. The last condition spares round T waves, whose tops coarse steps make flat. NaN is passed
    over. A lead at its limit for most of the record is not found, as its median is the limit.

    Parameters
    ----------
    rate : float
        Samples per second.
    """
    held = max(HELD_SAMPLES, math.ceil(round(HELD_SECONDS * rate, 6)))
    if signal.shape[1] < held:
        return 0
    clipped = np.zeros(len(signal), dtype=bool)
    tops, bottoms = np.fmax.reduce(signal, axis=1), np.fmin.reduce(signal, axis=1)
    for lead in _held_leads(signal, tops, held):
        clipped[lead] = _is_cut_off(signal[lead], tops[lead], held)
    for lead in _held_leads(signal, bottoms, held):
        clipped[lead] |= _is_cut_off(-signal[lead], -bottoms[lead], held)
    return lead_mask(clipped)


def _held_leads(signal: np.ndarray, extremes: np.ndarray, held: int) -> np.ndarray:
    """Return the leads of `signal` (12, T) that stay at their value of `extremes` (12,) for `held` samples in a row."""
    places = np.flatnonzero(signal == extremes[:, None])
    firsts = places[: 1 - held][places[held - 1 :] - places[: 1 - held] == held - 1]
    leads, samples = np.divmod(firsts, signal.shape[1])
    return np.unique(leads[samples + held <= signal.shape[1]])


def _is_cut_off(lead: np.ndarray, top: float, held: int) -> bool:
    """Tell whether `lead` (T,) has a plateau at its maximum `top` that is cut off, not the top of a round wave."""
    swing = top - np.median(lead[~np.isnan(lead)])
    if swing < LEAST_SWING:
        return False
    _, starts, ends = find_runs(lead[None] == top)
    long = ends - starts >= held
    starts, ends = starts[long], ends[long]
    _, left, right = find_runs(lead[None] >= top - SHOULDER * swing)
    wave = np.searchsorted(left, starts, side="right") - 1
    return bool(np.any((right - left)[wave] < BROADEST_SHOULDER * (ends - starts)))
