"""Our own strict parser of WFDB headers (.hea): anything doubtful is a BadRecord, nothing is guessed."""

import math
import re
from dataclasses import dataclass

from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.errors import BadRecord

LARGEST_HEADER = 1 << 20  # bytes
RATES = (20.0, 20_000.0)  # Hz, beyond any surface ECG
LARGEST_LENGTH = 10**15

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RECORD_LINE = re.compile(
    rf"(?P<name>[^\s/]+)(?P<segments>/\d+)?\s+(?P<leads>\d{{1,6}})"
    rf"(?:\s+(?P<rate>{_NUMBER})(?:/{_NUMBER}(?:\({_NUMBER}\))?)?(?:\s+(?P<length>\d{{1,18}})(?:\s.*)?)?)?\s*"
)
_SIGNAL_LINE = re.compile(
    r"(?P<file>\S+)\s+(?P<format>\d{1,4})(?:x(?P<per_frame>\d{1,6}))?(?::(?P<skew>\d{1,9}))?(?:\+(?P<offset>\d{1,15}))?"
    rf"(?:\s+(?P<gain>{_NUMBER})(?:\((?P<baseline>[-+]?\d{{1,10}})\))?(?:/(?P<units>\S+))?"
    r"(?:\s+(?P<resolution>\d{1,4})(?:\s+(?P<zero>[-+]?\d{1,10})(?:\s+(?P<first>[-+]?\d{1,10})"
    r"(?:\s+(?P<checksum>[-+]?\d{1,10})(?:\s+(?P<block>\d{1,10})(?:\s+(?P<lead>.*?))?)?)?)?)?)?)?\s*"
)
_MILLIVOLTS = {"v": 1e3, "mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "nv": 1e-6}


@dataclass(frozen=True, slots=True)
class SignalLine:
    """One signal of a header; `gain` is counts per millivolt."""

    file: str
    format: int
    per_frame: int
    skew: int
    offset: int
    gain: float
    baseline: int
    checksum: int | None
    lead: str


@dataclass(frozen=True, slots=True)
class WfdbHeader:
    """A parsed header; `rate` in Hz, `length` in samples or None where the header does not say."""

    rate: float
    length: int | None
    signals: tuple[SignalLine, ...]
    comments: tuple[str, ...]


def read_header(raw: RawFolder, name: str, source: str) -> WfdbHeader:
    """Read and check the header `name`; `source` names the record in errors.

    Raises
    ------
    BadRecord
        ``missing_header``, ``unreadable``, ``header``, ``sampling_rate``, ``gain``, ``unit``, ``unsupported_format``.
    """
    try:
        content = raw.read(name, count=LARGEST_HEADER + 1)
    except FileNotFoundError:
        raise BadRecord(
            "missing_header",
            f"{source}: there is no header {raw}/{name}: expected one beside its signals; download it again",
        ) from None
    except (OSError, ValueError) as error:
        raise BadRecord(
            "unreadable", f"{source}: {raw}/{name} cannot be read ({error}); check the disk and permissions"
        ) from None
    if len(content) > LARGEST_HEADER:
        raise _bad(source, f"{name} is larger than {LARGEST_HEADER} bytes")
    return parse_header(content, source)


def parse_header(content: bytes, source: str) -> WfdbHeader:
    """Parse a header's bytes (UTF-8 or Latin-1, any line ends); see :func:`read_header` for what is raised."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = [line.strip() for line in re.split(r"\r\n|\n|\r", text)]
    comments = tuple(line[1:].strip() for line in lines if line.startswith("#"))
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise _bad(source, "its header is empty")
    match = _RECORD_LINE.fullmatch(lines[0])
    if match is None:
        raise _bad(source, f"its header begins with {lines[0][:80]!r}")
    if match["segments"]:
        raise BadRecord(
            "unsupported_format",
            f"{source} is a multi-segment record: expected one segment; write it as one record first (wfdb.wrsamp)",
        )
    count = int(match["leads"])
    if not 1 <= count <= 256 or count != len(lines) - 1:
        raise _bad(source, f"its header announces {count} signals and describes {len(lines) - 1}")
    signals = tuple(_signal_line(line, source) for line in lines[1:])
    return WfdbHeader(_rate(match["rate"], source), _length(match["length"], source), signals, comments)


def _bad(source: str, found: str) -> BadRecord:
    return BadRecord("header", f"{source}: {found}: expected a WFDB header; download it again")


def _rate(text: str | None, source: str) -> float:
    rate = float(text) if text is not None else math.nan
    if not RATES[0] <= rate <= RATES[1]:
        raise BadRecord(
            "sampling_rate",
            f"{source}: its header says a sampling rate of {text} Hz: expected {RATES[0]:g} to {RATES[1]:g}; correct "
            "it",
        )
    return rate


def _length(text: str | None, source: str) -> int | None:
    length = int(text) if text is not None else 0
    if length > LARGEST_LENGTH:
        raise _bad(source, f"its header announces {length} samples")
    return length or None


def _signal_line(line: str, source: str) -> SignalLine:
    match = _SIGNAL_LINE.fullmatch(line)
    if match is None:
        raise _bad(source, f"its header has the signal line {line[:80]!r}")
    lead = match["lead"] or ""
    units = match["units"] or "mV"
    if units.lower() not in _MILLIVOLTS:
        raise BadRecord(
            "unit", f"{source}: lead '{lead}' is in '{units[:20]}': expected mV, uV, nV or V; correct its header"
        )
    gain = float(match["gain"] or 0.0) / _MILLIVOLTS[units.lower()]
    if not (gain > 0 and math.isfinite(gain)):
        raise BadRecord(
            "gain",
            f"{source}: lead '{lead}' has gain {match['gain']}, so it is not calibrated: expected counts per {units} "
            "above 0; correct its header",
        )
    file = match["file"]
    if "/" in file or "\\" in file or "\0" in file or file in ("~", ".", "..", "-"):
        raise BadRecord(
            "unsafe_path",
            f"{source}: its header points to '{file[:80]}': expected a file name in the header's own folder; correct "
            "it",
        )
    zero = int(match["zero"] or 0)
    return SignalLine(
        file=file,
        format=int(match["format"]),
        per_frame=int(match["per_frame"] or 1),
        skew=int(match["skew"] or 0),
        offset=int(match["offset"] or 0),
        gain=gain,
        baseline=int(match["baseline"]) if match["baseline"] else zero,
        checksum=int(match["checksum"]) if match["checksum"] else None,
        lead=lead,
    )
