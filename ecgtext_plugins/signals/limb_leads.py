"""The six limb leads are two measurements: what must hold among them, and how four of them follow from I and II.

Source: Einthoven (I + III = II) and Goldberger (the augmented leads are means of two of these).
"""

import numpy as np

from ecgtext_plugins.signals.quality import lead_flags, lead_mask

PERCENTILE = 98  # of the disagreement over time; QRS complexes, where a swap shows, last longer than 2 % of a record
FEWEST_SAMPLES = 1250  # looked at; every k-th of a longer record


def limb_errors(signal: np.ndarray, missing_leads: int = 0) -> np.float32:
    """Return by how many millivolt the limb leads of `signal` (12, T) disagree with each other.

    At every k-th sample the largest of ``|II - I - III|``, ``|aVR + (I + II) / 2|``, ``|aVL - (I - III) / 2|`` and
    ``|aVF - (II + III) / 2|``, as far as the leads are there; of these the 98th percentile, so that artefacts of less
    than 2 % of the record do not count. A recording whose leads are in their places stays below 0.01 mV or so; with
    two leads in each other's place it exceeds 0.05 mV. Swapped electrodes do not show: all six leads follow them.

    Parameters
    ----------
    missing_leads : int
        Bit mask of leads to leave out. NaN is passed over as well.

    Returns
    -------
    float32
        NaN when no identity can be formed anywhere.
    """
    limbs = np.array(signal[:6, :: max(1, signal.shape[1] // FEWEST_SAMPLES)], dtype=np.float32)
    if missing_leads:
        limbs[lead_flags(missing_leads, 6)] = np.nan
    one, two, three, right, left, foot = limbs
    errors = np.stack([two - one - three, right + (one + two) / 2, left - (one - three) / 2, foot - (two + three) / 2])
    worst = np.sort(np.fmax.reduce(np.abs(errors), axis=0))  # NaN last; np.partition is slow where values repeat
    known = len(worst) - np.count_nonzero(np.isnan(worst))
    return worst[(known - 1) * PERCENTILE // 100] if known else np.float32(np.nan)


def derive_limb_leads(signal: np.ndarray, missing_leads: int) -> tuple[np.ndarray, int]:
    """Compute those of III, aVR, aVL and aVF that a file lacks from its leads I and II; nothing else is invented.

    Parameters
    ----------
    signal : ndarray (12, T)
        Millivolt. NaN in I or II is NaN in what is derived from it.
    missing_leads : int
        Bit mask of the leads that the file lacks.

    Returns
    -------
    signal : ndarray (12, T)
        A copy with the derived leads, or `signal` itself when nothing could be derived.
    derived : int
        Bit mask of the derived leads.
    """
    missing = lead_flags(missing_leads, len(signal))
    missing[6:] = False
    if missing[:2].any() or not missing.any():
        return signal, 0
    one, two = signal[:2]
    completed = signal.copy()
    for place, lead in ((2, two - one), (3, -(one + two) / 2), (4, one - two / 2), (5, two - one / 2)):
        if missing[place]:
            completed[place] = lead
    return completed, lead_mask(missing)
