"""Gaps: runs of missing samples (NaN), how long they are, and straight lines over them."""

import numpy as np

from ecgtext_plugins.signals.quality import lead_flags
from ecgtext_plugins.signals.runs import find_runs


def longest_gap(signal: np.ndarray, missing_leads: int = 0) -> int:
    """Return the longest run of NaN in `signal` (12, T), in samples; leads of the mask `missing_leads` left out."""
    gaps = np.isnan(signal)
    if missing_leads:
        gaps = gaps[~lead_flags(missing_leads, len(signal))]
    if not gaps.any():
        return 0
    _, starts, ends = find_runs(gaps)
    return int((ends - starts).max())


def bridge_gaps(signal: np.ndarray, longest: int) -> tuple[np.ndarray, int]:
    """Draw straight lines over the short gaps of `signal` (12, T).

    Parameters
    ----------
    longest : int
        Samples of the longest gap to fill. Longer gaps and gaps at either end stay NaN.

    Returns
    -------
    signal : ndarray (12, T)
        A copy, or `signal` itself when there was nothing to fill.
    repaired : int
        Samples filled, over all leads.
    """
    gaps = np.isnan(signal)
    if not gaps.any():
        return signal, 0
    rows, starts, ends = find_runs(gaps)
    short = (ends - starts <= longest) & (starts > 0) & (ends < signal.shape[1])
    repaired = int((ends - starts)[short].sum())
    if not repaired:
        return signal, 0
    steps = np.zeros((len(signal), signal.shape[1] + 1), dtype=np.int8)
    steps[rows[short], starts[short]] = 1
    steps[rows[short], ends[short]] = -1
    fill = np.cumsum(steps[:, :-1], axis=1, dtype=np.int8).astype(bool)
    bridged = signal.copy()
    for row in np.unique(rows[short]):
        _draw_lines(bridged[row], fill[row], gaps[row])
    return bridged, repaired


def fill_gaps(signal: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Return a copy of `signal` (12, T) without NaN, for filters that cannot take any.

    Straight lines over the samples of `gaps` (12, T) bool, the first and last sample held at the ends; a lead of gaps
    only becomes 0.
    """
    filled = np.array(signal)
    for lead, gap in zip(filled, gaps, strict=True):
        if gap.all():
            lead[:] = 0.0
        elif gap.any():
            _draw_lines(lead, gap, gap)
    return filled


def _draw_lines(lead: np.ndarray, fill: np.ndarray, gap: np.ndarray) -> None:
    """Interpolate `lead` (T,) in place at the samples `fill` between those that are not `gap`."""
    lead[fill] = np.interp(np.flatnonzero(fill), np.flatnonzero(~gap), lead[~gap])
