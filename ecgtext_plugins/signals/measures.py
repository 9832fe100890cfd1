"""All measures of a recording's quality at once, as a build asks for them."""

from dataclasses import dataclass

import numpy as np

from ecgtext_plugins.signals.clipping import clipped_leads
from ecgtext_plugins.signals.gaps import longest_gap
from ecgtext_plugins.signals.limb_leads import limb_errors
from ecgtext_plugins.signals.quality import empty_leads, flat_leads, nan_share


@dataclass(frozen=True, slots=True)
class Measures:
    """What is wrong with a recording, over the leads that its file has.

    Attributes
    ----------
    nan_share : float
        Share of missing samples, 0 .. 1.
    longest_gap_seconds : float
        Longest run of missing samples in a lead.
    empty_leads, flat_leads, clipped_leads : int
        Bit masks, bit 0 for lead I: leads without a sample, of one value only, and cut off at a limit.
    limb_error_mv : float
        Disagreement among the limb leads in millivolt, flat ones left out; NaN when too few are there to tell.
    """

    nan_share: float
    longest_gap_seconds: float
    empty_leads: int
    flat_leads: int
    clipped_leads: int
    limb_error_mv: float


def measure(signal: np.ndarray, missing_leads: int, rate: float) -> Measures:
    """Measure `signal` (12, T) float32 millivolt, sampled `rate` times a second.

    Parameters
    ----------
    missing_leads : int
        Bit mask of leads that the file lacks; they are left out of every measure.
    """
    present = ~missing_leads
    flat = flat_leads(signal) & present
    return Measures(
        nan_share=nan_share(signal, missing_leads),
        longest_gap_seconds=longest_gap(signal, missing_leads) / rate,
        empty_leads=empty_leads(signal) & present,
        flat_leads=flat,
        clipped_leads=clipped_leads(signal, rate) & present,
        limb_error_mv=float(limb_errors(signal, missing_leads | flat)),
    )
