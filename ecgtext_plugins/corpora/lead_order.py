"""The order of the leads in a file of tracings, told by the identities that hold among limb leads."""

import logging
from collections.abc import Sequence
from itertools import permutations

import numpy as np

from ecgtext_plugins.corpora.hdf5_tracings import open_tracings, read_tracing
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.tracing_records import strip_padding
from ecgtext_plugins.errors import BadRawData
from ecgtext_plugins.signals.leads import LEADS, arrange_leads, canonical_lead, lead_positions
from ecgtext_plugins.signals.limb_leads import limb_errors

logger = logging.getLogger(__name__)

LOOKED_AT = 64  # tracings, from the whole file
CLEARLY = 0.5  # the disagreement in the best order over that in the next best one, at most


def lead_order(raw: RawFolder, name: str, given: Sequence[str] | None, what: str) -> tuple[str, ...]:
    """Find the order of the leads of a file's tracings.

    CODE-15% stores aVR, aVL, aVF, CODE-test aVL, aVF, aVR, and what their pages say has changed. So the order of these
    three is the one in which Einthoven's and Goldberger's identities hold best, over some tracings from the whole file.

    Parameters
    ----------
    given : sequence of 12 lead names or None
        An order that the recipe gives: taken as it is where the tracings do not tell, refused where they contradict it.

    Raises
    ------
    BadRawData
        When the tracings tell no order and none is given, or they contradict the given one.
    BadRecord
        As :func:`open_tracings`.
    """
    errors = _identity_errors(raw, name, what)
    best, second = sorted(errors, key=errors.get)[:2]
    if not errors[best] < CLEARLY * errors[second]:
        if given is not None:
            return tuple(given)
        raise BadRawData(
            f"the limb leads of {raw}/{name} agree with Einthoven's and Goldberger's identities in no order of aVR, "
            "aVL and aVF better than in another: expected one; give the order of the twelve leads as options.leads"
        )
    if given is not None and [canonical_lead(lead) for lead in given[:6]] != list(best[:6]):
        raise BadRawData(
            f"{raw}/{name} has its limb leads in the order {', '.join(best[:6])}, as Einthoven's and Goldberger's "
            f"identities show, and options.leads says {', '.join(given[:6])}: expected the file's order; correct it, "
            "or leave options.leads null"
        )
    logger.info("the leads of %s/%s are in the order %s", raw, name, ", ".join(best))
    return tuple(given) if given is not None else best


def _identity_errors(raw: RawFolder, name: str, what: str) -> dict[tuple[str, ...], float]:
    """Return by how much the limb leads disagree in each order of aVR, aVL and aVF: a median over tracings."""
    orders = [(*LEADS[:3], *augmented, *LEADS[6:]) for augmented in permutations(LEADS[3:6])]
    found: dict[tuple[str, ...], list[float]] = {order: [] for order in orders}
    length = len(open_tracings(raw, name, what))
    for row in range(0, length, max(1, length // LOOKED_AT)):
        values = strip_padding(read_tracing(raw, name, row, what))
        if not values.shape[1]:
            continue
        with np.errstate(over="ignore", invalid="ignore"):  # of tracings with absurd values
            for order in orders:
                found[order].append(float(limb_errors(arrange_leads(values, lead_positions(order, what)))))
    known = {order: [error for error in errors if not np.isnan(error)] for order, errors in found.items()}
    return {order: float(np.median(errors)) if errors else np.nan for order, errors in known.items()}
