"""The order of the twelve leads, and how a file's leads are brought into it by name."""

from collections.abc import Sequence

import numpy as np

from ecgtext_plugins.errors import BadRecord

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_LIMB_ALIASES = {"I": ("i", "di", "d1", "l1"), "II": ("ii", "dii", "d2", "l2"), "III": ("iii", "diii", "d3", "l3")}


def _aliases() -> dict[str, str]:
    table = {alias: lead for lead, aliases in _LIMB_ALIASES.items() for alias in aliases}
    for lead in LEADS[3:]:
        table[lead.lower()] = lead
    table.update({f"c{n}": f"V{n}" for n in range(1, 7)})
    return table


ALIASES = _aliases()


def canonical_lead(name: str) -> str | None:
    """Return the canonical name of a lead (``"AVR"`` -> ``"aVR"``, ``"lead DII"`` -> ``"II"``), or None if unknown."""
    key = "".join(name.lower().replace("_", " ").split())
    return ALIASES.get(key) or ALIASES.get(key.removeprefix("lead").removeprefix("ecg"))


def lead_positions(names: Sequence[str], source: str) -> np.ndarray:
    """Find each canonical lead among a file's leads.

    Parameters
    ----------
    names : sequence of str
        Lead names in the file's order. Further leads (Frank's vx, say) are left out while all twelve are there.
    source : str
        What the error names, e.g. ``"record 40689238"``.

    Returns
    -------
    ndarray (12,) int64
        Index into `names` of I, II, III, aVR, aVL, aVF, V1..V6; -1 for a missing lead.

    Raises
    ------
    BadRecord
        ``duplicate_lead``; ``lead_names`` when none is known, or some are missing while others are unknown.
    """
    positions = np.full(len(LEADS), -1, dtype=np.int64)
    unknown = []
    for index, name in enumerate(names):
        lead = canonical_lead(name)
        if lead is None:
            unknown.append(name)
            continue
        place = LEADS.index(lead)
        if positions[place] >= 0:
            raise BadRecord(
                "duplicate_lead",
                f"{source} has lead {lead} twice (as '{names[positions[place]]}' and '{name}'): expected each lead "
                "once; correct its header",
            )
        positions[place] = index
    missing = [lead for lead, position in zip(LEADS, positions, strict=True) if position < 0]
    if len(missing) == len(LEADS) or (missing and unknown):
        raise BadRecord(
            "lead_names",
            f"{source} has leads it names {', '.join(repr(name) for name in unknown[:12])} and lacks "
            f"{', '.join(missing)}: expected the names {', '.join(LEADS)}; correct its header",
        )
    return positions


def arrange_leads(signal: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Bring `signal` (n, T) into canonical order by :func:`lead_positions`: float32 (12, T), missing leads NaN."""
    if len(signal) == len(LEADS) and np.array_equal(positions, np.arange(len(LEADS))):
        return np.ascontiguousarray(signal, dtype=np.float32)
    arranged = np.full((len(LEADS), signal.shape[1]), np.nan, dtype=np.float32)
    present = positions >= 0
    arranged[present] = signal[positions[present]]
    return arranged


def missing_mask(positions: np.ndarray) -> int:
    """Return the bit mask of missing leads, bit 0 for lead I."""
    return int(sum(1 << place for place in np.flatnonzero(positions < 0)))
