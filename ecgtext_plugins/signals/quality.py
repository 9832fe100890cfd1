"""Plain measures of what is wrong with a recording: missing samples and flat leads; and bit masks of leads."""

import numpy as np

from ecgtext_plugins.signals.leads import LEADS


def lead_mask(flags: np.ndarray) -> int:
    """Pack (12,) booleans into a bit mask, bit 0 for lead I."""
    return int(sum(1 << int(place) for place in np.flatnonzero(flags)))


def lead_flags(mask: int, count: int = len(LEADS)) -> np.ndarray:
    """Unpack a bit mask into (count,) booleans, the first for lead I."""
    return np.array([mask >> place & 1 for place in range(count)], dtype=bool)


def lead_names(mask: int) -> list[str]:
    """Name the leads of a bit mask."""
    return [lead for place, lead in enumerate(LEADS) if mask >> place & 1]


def nan_share(signal: np.ndarray, missing_leads: int = 0) -> float:
    """Return the share of NaN among the samples of `signal` (12, T), leads of the mask `missing_leads` left out."""
    missing = np.isnan(signal)
    if missing_leads:
        missing = missing[~lead_flags(missing_leads, len(signal))]
    return np.count_nonzero(missing) / missing.size if missing.size else 0.0


def empty_leads(signal: np.ndarray) -> int:
    """Return the bit mask of leads of `signal` (12, T) without a single finite sample."""
    return lead_mask(np.isnan(signal).all(axis=1))


def flat_leads(signal: np.ndarray) -> int:
    """Return the bit mask of leads of `signal` (12, T) that hold one value only; NaN is passed over."""
    if not signal.shape[1]:
        return 0
    return lead_mask(np.fmax.reduce(signal, axis=1) == np.fmin.reduce(signal, axis=1))
