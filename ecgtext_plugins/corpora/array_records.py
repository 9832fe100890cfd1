"""Records from plain arrays: leads in a known order, numbers in a known unit."""

from collections.abc import Sequence

import numpy as np

from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.corpora.wfdb_records import LARGEST_MILLIVOLT, LARGEST_RECORD, MISSING_16
from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.signals.leads import arrange_leads, lead_positions, missing_mask

PER_MILLIVOLT = {"mV": 1.0, "uV": 1000.0, "V": 0.001, "1e-4V": 10.0}  # what one millivolt is in these units


def array_record(
    entry: RecordEntry, values: np.ndarray, leads: Sequence[str], rate: float, per_millivolt: float
) -> EcgRecord:
    """Return the record of `entry` from its samples.

    Parameters
    ----------
    values : ndarray (n, T)
        Real numbers; NaN is missing, and so is -32768 where they are int16.
    leads : sequence of n str
        Names of the rows.
    rate : float
        Hz.
    per_millivolt : float
        What one millivolt is in the unit of `values`.

    Raises
    ------
    BadRecord
        ``samples`` for anything but real numbers, ``shape``, ``too_long``, ``amplitude``, and what ``lead_positions``
        raises.
    """
    source = f"record {entry.record_id}"
    if values.dtype.kind not in "iuf":
        raise BadRecord(
            "samples", f"{source} holds {values.dtype}: expected real numbers; write it as float32 or int16"
        )
    if values.ndim != 2 or len(values) != len(leads):
        raise BadRecord(
            "shape",
            f"{source} has an array of shape {values.shape}: expected {len(leads)} leads ({', '.join(leads)}) by "
            "samples; correct leads or layout in the recipe, or the file",
        )
    refuse_too_long(values.size, source)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    positions = lead_positions(leads, source)
    signal = arrange_leads(_millivolts(values, per_millivolt), positions)
    _refuse_amplitude(signal, source)
    is_integer = values.dtype.kind in "iu"
    exact = values.dtype == np.int16 and (positions >= 0).all()
    return EcgRecord(
        entry,
        signal,
        rate,
        1000.0 / per_millivolt if is_integer else None,
        missing_mask(positions),
        np.ascontiguousarray(values[positions]) if exact else None,
    )


def refuse_too_long(samples: int, source: str) -> None:
    """Raise BadRecord ``too_long`` for more `samples` over all leads than a recording can have."""
    if samples > LARGEST_RECORD:
        raise BadRecord(
            "too_long",
            f"{source} has {samples} samples over its leads: expected at most {LARGEST_RECORD}; cut it into shorter "
            "records",
        )


def _millivolts(values: np.ndarray, per_millivolt: float) -> np.ndarray:
    """Return `values` (n, T) as float32 millivolt."""
    with np.errstate(over="ignore"):  # what overflows shows up as amplitude
        signal = (values if per_millivolt == 1 else values / per_millivolt).astype(np.float32)
    if values.dtype == np.int16:
        signal[values == MISSING_16] = np.nan
    return signal


def _refuse_amplitude(signal: np.ndarray, source: str) -> None:
    peak = np.fmax.reduce(np.abs(signal), axis=None, initial=0.0)
    if peak > LARGEST_MILLIVOLT:
        raise BadRecord(
            "amplitude",
            f"{source} reaches {peak:g} mV: expected at most {LARGEST_MILLIVOLT:g} mV; correct unit in the recipe's "
            "options",
        )
