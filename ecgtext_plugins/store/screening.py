"""The checks of a record that a recipe asks for: what is rejected, what is marked, what is repaired."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecgtext_plugins.corpora.record import EcgRecord
from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.signals.gaps import bridge_gaps
from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.signals.limb_leads import derive_limb_leads
from ecgtext_plugins.signals.measures import Measures, measure
from ecgtext_plugins.signals.quality import lead_names

ALL_LEADS = (1 << len(LEADS)) - 1


@dataclass(frozen=True, slots=True)
class Screened:
    """A record that passed; `signal` (12, T) mV is the record's own array where nothing was derived or repaired.

    `measures` and `repaired_samples` are those of the window that is kept.
    """

    signal: np.ndarray
    measures: Measures
    derived_leads: int
    repaired_samples: int


def screen(record: EcgRecord, start: int, stop: int, recipe: Mapping[str, Any], source: str) -> Screened:
    """Check a record by the recipe; measures are taken from sample `start` to `stop`.

    Raises
    ------
    BadRecord
        ``checksum``, ``infinite_samples``, ``missing_leads``, ``missing_samples``, ``flat_signal``, ``flat_leads``,
        ``clipped_leads``, ``limb_leads``.
    """
    checks, signal, derived = recipe["checks"], record.signal, 0
    if record.checksum_error and checks["checksum"] == "reject":
        raise BadRecord("checksum", record.checksum_error)
    if record.counts is None and np.isinf(signal).any():
        raise BadRecord(
            "infinite_samples", f"{source} has infinite samples: expected numbers or NaN; correct it in the source"
        )
    if recipe["derive_limb_leads"]:
        signal, derived = derive_limb_leads(signal, record.missing_leads)
    missing = record.missing_leads & ~derived
    _refuse_missing_leads(missing, recipe, source)
    measures, repaired = measure(signal[:, start:stop], missing, record.native_rate), 0
    if measures.nan_share and checks["missing_samples"] == "repair":
        lost = int(np.isnan(signal[:, start:stop]).sum())
        signal, _ = bridge_gaps(signal, round(checks["longest_gap"] * record.native_rate))
        repaired = lost - int(np.isnan(signal[:, start:stop]).sum())
        measures = measure(signal[:, start:stop], missing, record.native_rate)
    _refuse_missing_samples(measures, checks, source)
    _refuse_marks(measures, missing, checks, source)
    return Screened(signal, measures, derived, repaired)


def _refuse_missing_leads(missing: int, recipe: Mapping[str, Any], source: str) -> None:
    lacking = lead_names(missing)
    if len(lacking) > recipe["max_missing_leads"]:
        raise BadRecord(
            "missing_leads",
            f"{source} lacks the leads {', '.join(lacking)}: expected at most {recipe['max_missing_leads']} missing; "
            "raise max_missing_leads in the recipe to keep it",
        )


def _refuse_missing_samples(measures: Measures, checks: Mapping[str, Any], source: str) -> None:
    most = 0.0 if checks["missing_samples"] == "reject" else checks["max_missing_share"]
    if not (measures.empty_leads or measures.nan_share > most):
        return
    if measures.empty_leads:
        found = f"nothing in {', '.join(lead_names(measures.empty_leads))}"
    else:
        found = f"{measures.nan_share:.2%} missing samples, {measures.longest_gap_seconds:.3g} s at a stretch"
    raise BadRecord(
        "missing_samples",
        f"{source} has {found}: expected at most {most:.2%} missing and no empty lead; set checks.missing_samples to "
        "mark or repair, or raise checks.max_missing_share in the recipe",
    )


def _refuse_marks(measures: Measures, missing: int, checks: Mapping[str, Any], source: str) -> None:
    if measures.flat_leads | missing == ALL_LEADS:
        raise BadRecord(
            "flat_signal", f"{source} is flat in every lead: expected an ECG; leave it out, or download it again"
        )
    marks = {"flat_leads": (measures.flat_leads, "flat"), "clipped_leads": (measures.clipped_leads, "clipped")}
    for check, (leads, word) in marks.items():
        if leads and checks[check] == "reject":
            raise BadRecord(
                check,
                f"{source} has the {word} leads {', '.join(lead_names(leads))}: expected none; set checks.{check} to "
                "mark in the recipe to keep it",
            )
    if checks["limb_leads"] == "reject" and measures.limb_error_mv > checks["limb_error_mv"]:
        raise BadRecord(
            "limb_leads",
            f"{source} has limb leads that contradict each other by {measures.limb_error_mv:.3g} mV: expected at most "
            f"{checks['limb_error_mv']} (II = I + III); correct its lead names, or set checks.limb_leads to mark",
        )
