"""WFDB headers that have lost a piece around their first line break: record line and first signal line are one.

CSN 1.0.0 has two. ``JS01052 12 500 500000/mV 16 0 15 31255 0 I`` should be ``JS01052 12 500 5000`` and
``JS01052.mat 16+24 1000/mV 16 0 15 31255 0 I``. What is lost stands in the other signal lines and in the size of the
signal file; the result counts only when the checksums of all leads agree.
"""

import re

from ecgtext_plugins.corpora.raw_folder import RawFolder, safe_name
from ecgtext_plugins.corpora.record import RecordEntry
from ecgtext_plugins.corpora.wfdb_header import LARGEST_HEADER, parse_header
from ecgtext_plugins.corpora.wfdb_records import WfdbSignals, read_wfdb
from ecgtext_plugins.errors import BadRecord

_JOINED = re.compile(r"(?P<record>\S+ +(?P<leads>\d{1,3}) +[\d.]+)\s.*?\s(?P<tail>[-+]?\d+ [-+]?\d+ \d+ \S+)")
_FIELDS = 5  # of a signal line that all leads of such a record share: file, format, gain, resolution, zero


def read_wfdb_or_joined(raw: RawFolder, entry: RecordEntry) -> WfdbSignals:
    """Read the recording of `entry` as :func:`read_wfdb` does, also one whose first two header lines are one.

    Raises
    ------
    BadRecord
        Those of :func:`read_wfdb`; ``header`` when the lines cannot be told apart so that all checksums agree.
    """
    try:
        return read_wfdb(raw, entry)
    except BadRecord as error:
        text = _separated(raw, entry) if error.reason == "header" else None
        if text is None:
            raise
        try:
            header = parse_header(text.encode("utf-8"), f"record {entry.record_id}")
            read = read_wfdb(raw, entry, header)
        except BadRecord:
            raise error from None
        if read.checksum_error or any(line.checksum is None for line in header.signals):
            raise
        return read


def _separated(raw: RawFolder, entry: RecordEntry) -> str | None:
    """Return the header with its first line in two, the record line without length; None where it has another form."""
    name = safe_name(entry.source_path, f"record {entry.record_id}")
    text = raw.read(f"{name}.hea", count=LARGEST_HEADER).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    comments = [line for line in lines if line.startswith("#")]
    first, *others = [line for line in lines if not line.startswith("#")] or [""]
    match = _JOINED.fullmatch(first)
    shared = {tuple(line.split()[:_FIELDS]) for line in others}
    if match is None or int(match["leads"]) != len(others) + 1 or len(shared) != 1:
        return None
    return "\n".join([match["record"], f"{' '.join(shared.pop())} {match['tail']}", *others, *comments])
