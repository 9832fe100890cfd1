"""Which of the twelve leads the network gets: all, a named subset, a list, or one drawn from a bucket."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.signals.leads import LEADS, canonical_lead

PRESETS = {
    "12": LEADS,
    "6": LEADS[:6],
    "3": ("I", "II", "V2"),
    "2": ("I", "II"),
    "1": ("I",),
}
BUCKET_SELECTIONS = ("uniform",)


@dataclass(frozen=True)
class LeadSelection:
    """The leads that are shown.

    Attributes
    ----------
    leads : tuple of int
        Places in I, II, III, aVR, aVL, aVF, V1..V6, in the order of the channels.
    bucket : tuple of int
        Where not empty, one more lead is drawn from it for each ECG.
    padded : bool
        Twelve channels, the other leads zero (`enable_padding_leads`); else one channel a lead.
    """

    leads: tuple[int, ...] = tuple(range(12))
    bucket: tuple[int, ...] = ()
    padded: bool = False

    @property
    def channels(self) -> int:
        """Number of channels of the network's input."""
        return 12 if self.padded else len(self.leads) + bool(self.bucket)

    def shown(self, draw: float) -> np.ndarray:
        """Return the places of the leads that an ECG shows, (n,) int64; `draw` in [0, 1) chooses from the bucket."""
        drawn = (self.bucket[int(draw * len(self.bucket))],) if self.bucket else ()
        return np.array(self.leads + drawn, dtype=np.int64)


def lead_selection(
    preset: str | None = None,
    leads: Sequence[str | int] | str | None = None,
    bucket: Sequence[str | int] | str | None = None,
    bucket_selection: str = "uniform",
    padded: bool = False,
) -> LeadSelection:
    """Read the options of a task.

    Parameters
    ----------
    preset : str or None
        A key of `PRESETS`: 12; 6 (the limb leads); 3 (I, II, V2); 2 (I, II); 1 (I), as in the Challenge of 2021, whose
        four-lead set is given by `leads`.
    leads, bucket : list of names or of places from 0, or such a list as text ("['I', 'II', 'V2']"), or None
        Lead names in any case. Without `leads` and with a `bucket`, the lead drawn is the only one.

    Raises
    ------
    BadConfig
        Naming the option and the value that is no lead, is there twice, or is not a list.
    """
    if preset is not None and leads is not None:
        raise BadConfig(f"task.leads_preset={preset} and task.leads_to_load={leads}: expected one of them")
    if preset is not None and str(preset) not in PRESETS:
        raise BadConfig(f"task.leads_preset={preset}: expected one of {', '.join(PRESETS)}, or null")
    if bucket_selection not in BUCKET_SELECTIONS:
        raise BadConfig(f"task.bucket_selection={bucket_selection}: expected {' or '.join(BUCKET_SELECTIONS)}")
    drawn = lead_places(bucket, "task.leads_bucket") if bucket is not None else ()
    if preset is not None:
        chosen = lead_places(PRESETS[str(preset)], "task.leads_preset")
    elif leads is not None:
        chosen = lead_places(leads, "task.leads_to_load")
    else:
        chosen = () if drawn else tuple(range(12))
    if set(chosen) & set(drawn):
        both = ", ".join(LEADS[place] for place in sorted(set(chosen) & set(drawn)))
        raise BadConfig(f"task.leads_bucket holds {both}, which are loaded anyway: expected other leads")
    return LeadSelection(chosen, drawn, padded)


def lead_places(leads: Sequence[str | int] | str, option: str) -> tuple[int, ...]:
    """Return the places of leads given by name or place; a text is read as a Python list, never evaluated.

    Raises
    ------
    BadConfig
        See :func:`lead_selection`.
    """
    given = leads
    if isinstance(leads, str):
        try:
            leads = ast.literal_eval(leads)
        except (ValueError, SyntaxError):
            leads = leads.split(",")
    if isinstance(leads, str | int) or not isinstance(leads, Sequence) or not len(leads):
        raise BadConfig(f"{option}={given!r}: expected a list of lead names, or of numbers from 0 to 11")
    places = tuple(_place(lead, option) for lead in leads)
    if len(set(places)) < len(places):
        raise BadConfig(f"{option}={given!r} names a lead twice: expected each once")
    return places


def _place(lead: str | int, option: str) -> int:
    if isinstance(lead, str) and not lead.strip().isdigit():
        name = canonical_lead(lead)
        if name is not None:
            return LEADS.index(name)
    elif not isinstance(lead, bool) and isinstance(lead, str | int) and 0 <= int(lead) < len(LEADS):
        return int(lead)
    raise BadConfig(f"{option} holds {lead!r}: expected lead names ({', '.join(LEADS)}) or numbers from 0 to 11")
