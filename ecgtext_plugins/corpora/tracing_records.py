"""Records from HDF5 tracings, and the options of the readers that make them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ecgtext_plugins.corpora.array_records import PER_MILLIVOLT, array_record
from ecgtext_plugins.corpora.hdf5_tracings import read_tracing
from ecgtext_plugins.corpora.option_checks import check_leads, check_word
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.signals.leads import LEADS

RATE = 400.0  # Hz, of the CODE datasets
OPTIONS = {
    "strip_padding": ((bool,), True),  # leave out the zeros that fill a tracing up at both ends
    "unit": ((str,), "mV"),  # one of PER_MILLIVOLT
    "leads": ((list, type(None)), None),  # the file's order; null: found by the identities of the limb leads
}


@dataclass(frozen=True, slots=True)
class TracingEntry(RecordEntry):
    """A tracing: `position` is its row, `leads` the file's order of leads."""

    leads: tuple[str, ...] = LEADS


def read_tracing_entry(raw: RawFolder, entry: TracingEntry, recipe: dict[str, Any]) -> EcgRecord:
    """Read the tracing of `entry`.

    Raises
    ------
    BadRecord
        ``flat_signal`` for one of zeros alone; what :func:`read_tracing` and :func:`array_record` raise.
    """
    options, source = recipe["options"], f"record {entry.record_id}"
    values = read_tracing(raw, entry.source_path, entry.position, source)
    if options["strip_padding"]:
        values = strip_padding(values)
        if not values.shape[1]:
            raise BadRecord("flat_signal", f"{source} is zero throughout: expected an ECG; leave it out")
    return array_record(entry, values, entry.leads, RATE, PER_MILLIVOLT[options["unit"]])


def strip_padding(values: np.ndarray) -> np.ndarray:
    """Return `values` (n, T) without the columns at both ends in which all leads are exactly zero."""
    filled = np.flatnonzero((values != 0).any(axis=0))
    return values[:, filled[0] : filled[-1] + 1] if len(filled) else values[:, :0]


def check_options(recipe: dict[str, Any], where: str) -> None:
    """Raise BadRecipe for a unit or an order of leads that cannot be."""
    options = recipe["options"]
    check_word(options["unit"], PER_MILLIVOLT, f"{where}: options.unit")
    if options["leads"] is not None:
        check_leads(options["leads"], f"{where}: options.leads", all_twelve=True)
