"""Clipping: waves cut off flat at the limit of the amplifier or converter."""

import math

import numpy as np

from ecgtext_plugins.signals.quality import lead_mask
from ecgtext_plugins.signals.runs import find_runs

HELD_SECONDS, HELD_SAMPLES = 0.010, 3  # shortest plateau, the longer of the two
LEAST_SWING = 0.5  # mV between the plateau and the lead's median
SHOULDER = 0.07  # of that swing: how far below the plateau its shoulders are looked for
BROADEST_SHOULDER = 2.0  # times the plateau; a round wave of 0.5 mV in steps of 5 microvolt is broader
MEDIAN_SAMPLES = 1250  # that a median is taken of


def clipped_leads(signal: np.ndarray, rate: float) -> int:
    """Return the bit mask of leads of `signal` (12, T) mV that are cut off at their highest or lowest value.

    A lead is clipped when that value is held for at least 10 ms (and 3 samples), lies at least 0.5 mV away from the
    lead's median, and is reached abruptly: 7 % of the way down to the median the wave is less than twice as broad as
    the plateau. The last condition spares round T waves, whose tops are flat by the steps they are stored in; a wave
    that lost only a few per cent of its height may pass with them. NaN is passed over. A lead at its limit for most of
    the record is not found, as its median is the limit.

    Parameters
    ----------
    rate : float
        Samples per second.
    """
    held = max(HELD_SAMPLES, math.ceil(round(HELD_SECONDS * rate, 6)))
    if signal.shape[1] < held:
        return 0
    tops, bottoms = np.fmax.reduce(signal, axis=1), np.fmin.reduce(signal, axis=1)
    clipped = np.zeros(len(signal), dtype=bool)
    high, low = _held_leads(signal, tops, held), _held_leads(signal, bottoms, held)
    if len(high):
        clipped[high] = _are_cut_off(signal[high], tops[high], held)
    if len(low):
        clipped[low] |= _are_cut_off(-signal[low], -bottoms[low], held)
    return lead_mask(clipped)


def _held_leads(signal: np.ndarray, extremes: np.ndarray, held: int) -> np.ndarray:
    """Return, as a cheap first look, the leads of `signal` (12, T) with `held` samples in a row at `extremes` (12,)."""
    places = np.flatnonzero(signal == extremes[:, None])
    firsts = places[: 1 - held][places[held - 1 :] - places[: 1 - held] == held - 1]
    return np.unique(firsts // signal.shape[1])


def _are_cut_off(signal: np.ndarray, tops: np.ndarray, held: int) -> np.ndarray:
    """Tell which leads of `signal` (L, T) have a plateau at their maximum `tops` (L,) that no round wave has; (L,)."""
    swings = tops - np.array([_median(lead) for lead in signal])
    cut_off = np.zeros(len(signal), dtype=bool)
    far = np.flatnonzero((swings >= LEAST_SWING) & (swings < np.inf))
    if not len(far):
        return cut_off
    signal, tops, swings = signal[far], tops[far, None], swings[far, None]
    rows, starts, ends = find_runs(signal == tops)
    wave_rows, wave_starts, wave_ends = find_runs(signal >= tops - SHOULDER * swings)
    samples = signal.shape[1]
    wave = np.searchsorted(wave_rows * samples + wave_starts, rows * samples + starts, side="right") - 1
    lengths = ends - starts
    found = (lengths >= held) & ((wave_ends - wave_starts)[wave] < BROADEST_SHOULDER * lengths)
    cut_off[far[rows[found]]] = True
    return cut_off


def _median(lead: np.ndarray) -> float:
    """Return the median of `lead` (T,), NaN passed over; from every k-th sample of a long one."""
    present = lead[~np.isnan(lead)]
    some = np.sort(present[:: max(1, len(present) // MEDIAN_SAMPLES)])  # np.partition is slow where values repeat
    return some[len(some) // 2]
