"""Signals of WFDB records: formats 16 (MIMIC-IV-ECG's .dat, the Challenge's .mat) and 212 by numpy, others by wfdb.

wfdb verifies nothing when it reads, so that sizes, checksums, gains and lead names are checked here.
"""

from dataclasses import dataclass

import numpy as np

from ecgtext_plugins.corpora import format_212
from ecgtext_plugins.corpora.raw_folder import RawFolder, safe_name
from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.corpora.wfdb_header import SignalLine, WfdbHeader, read_header
from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.signals.leads import arrange_leads, lead_positions, missing_mask

LARGEST_RECORD = 1 << 28  # samples over all leads
LARGEST_MILLIVOLT = 1000.0  # beyond it a unit or gain is wrong
MISSING_16 = -32768
# Formats left to wfdb: least bytes a sample takes, and the count that means missing.
_VIA_WFDB = {
    24: (3.0, -(1 << 23)),
    32: (4.0, -(1 << 31)),
    61: (2.0, -32768),
    80: (1.0, -128),
    160: (2.0, -32768),
    212: (1.5, format_212.MISSING),
    310: (4 / 3, -512),
    311: (4 / 3, -512),
    508: (1e-3, -128),
    516: (1e-3, -32768),
    524: (1e-3, -(1 << 23)),
}


@dataclass(slots=True)
class WfdbSignals:
    """Decoded signals and what the header says; fields as in :class:`EcgRecord`."""

    signal: np.ndarray
    rate: float
    step_uv: float | None
    missing_leads: int
    counts: np.ndarray | None
    checksum_error: str
    comments: tuple[str, ...]

    def record(self, entry: RecordEntry) -> EcgRecord:
        """Return the record of `entry` with these signals."""
        return EcgRecord(
            entry, self.signal, self.rate, self.step_uv, self.missing_leads, self.counts, self.checksum_error
        )


def read_wfdb(raw: RawFolder, entry: RecordEntry, header: WfdbHeader | None = None) -> WfdbSignals:
    """Read the recording of `entry`, whose path is a record's name without extension, and check it.

    A `header` that is given stands for the file's.

    Raises
    ------
    BadRecord
        Reasons of :func:`read_header` and of ``lead_positions``; ``unsafe_path``, ``missing_signal_file``,
        ``truncated``, ``size_mismatch``, ``too_long``, ``amplitude``, ``unsupported_format``, ``unreadable``. A wrong
        checksum is told in the result.
    """
    source = f"record {entry.record_id}"
    name = safe_name(entry.source_path, source)
    header = header or read_header(raw, f"{name}.hea", source)
    positions = lead_positions([line.lead for line in header.signals], source)
    counts, missing = _read_counts(raw, name, header, source)
    checksum_error = _wrong_sum(counts, header, source)
    gains = np.array([line.gain for line in header.signals])
    baselines = np.array([line.baseline for line in header.signals])
    signal = _millivolts(counts, missing, gains, baselines)
    used = gains[positions[positions >= 0]]
    arranged = arrange_leads(signal, positions)
    _check_amplitude(arranged, source)
    step_uv = 1000.0 / float(used[0]) if (used == used[0]).all() else None
    exact = step_uv is not None and counts.dtype == np.int16 and not baselines.any() and (positions >= 0).all()
    exact = exact and (missing == MISSING_16).all()
    kept = counts[positions] if exact else None
    return WfdbSignals(arranged, header.rate, step_uv, missing_mask(positions), kept, checksum_error, header.comments)


def _millivolts(counts: np.ndarray, missing: np.ndarray, gains: np.ndarray, baselines: np.ndarray) -> np.ndarray:
    """Return (n, T) float32; counts (n, T) integers, `missing` (n,) the count that means missing."""
    lost = counts == missing[:, None]
    if not baselines.any() and counts.dtype == np.int16 and (gains.astype(np.float32) == gains).all():
        # one rounding: the same as dividing in double precision and rounding that, and faster
        signal = np.divide(counts, gains.astype(np.float32)[:, None], dtype=np.float32)
    elif not baselines.any():
        signal = (counts / gains[:, None]).astype(np.float32)
    else:
        with np.errstate(over="ignore"):  # a hostile baseline shows up as amplitude
            signal = ((counts - baselines[:, None].astype(np.float64)) / gains[:, None]).astype(np.float32)
    if lost.any():
        signal[lost] = np.nan
    return signal


def _check_amplitude(signal: np.ndarray, source: str) -> None:
    peak = max(float(np.fmax.reduce(signal, axis=None)), -float(np.fmin.reduce(signal, axis=None)))
    if peak > LARGEST_MILLIVOLT:
        raise BadRecord(
            "amplitude",
            f"{source} reaches {peak:g} mV: expected at most {LARGEST_MILLIVOLT:g} mV; correct the gain or unit in its "
            "header",
        )


def _read_counts(raw: RawFolder, name: str, header: WfdbHeader, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts (n, T) of all signals and the counts (n,) that mean missing."""
    kinds = {(s.file, s.offset, s.format, s.per_frame, s.skew) for s in header.signals}
    form = header.signals[0].format
    if len(kinds) == 1 and form in (16, 212) and (header.signals[0].per_frame, header.signals[0].skew) == (1, 0):
        missing = MISSING_16 if form == 16 else format_212.MISSING
        return _interleaved(raw, name, header, source), np.full(len(header.signals), missing)
    return _through_wfdb(raw, name, header, source)


def _too_long(source: str, samples: int) -> BadRecord:
    return BadRecord(
        "too_long",
        f"{source} has {samples} samples over its leads: expected at most {LARGEST_RECORD}; cut it into shorter "
        "records",
    )


def _missing_file(raw: RawFolder, file: str, source: str) -> BadRecord:
    return BadRecord(
        "missing_signal_file",
        f"{source}: its signal file {file} is not in {raw}: expected beside the header; download it again",
    )


def _unreadable(raw: RawFolder, file: str, source: str, error: Exception) -> BadRecord:
    return BadRecord("unreadable", f"{source}: {raw}/{file} cannot be read ({error}); check the disk and permissions")


def _interleaved(raw: RawFolder, name: str, header: WfdbHeader, source: str) -> np.ndarray:
    """Read formats 16 and 212, (n, T) int16; nothing is allocated before the file's size is checked."""
    line, leads = header.signals[0], len(header.signals)
    file = _beside(name, line.file)
    try:
        length = _length_by_size(header, raw.size(file), source)
        samples = length * leads
        if samples > LARGEST_RECORD:
            raise _too_long(source, samples)
        data = raw.read(file, line.offset, _packed_size(line.format, samples))
        counts = np.frombuffer(data, dtype="<i2") if line.format == 16 else format_212.unpack(data, samples)
    except FileNotFoundError:
        raise _missing_file(raw, file, source) from None
    except (OSError, ValueError) as error:
        raise _unreadable(raw, file, source, error) from None
    if len(counts) != samples:
        raise _unreadable(raw, file, source, OSError("it became shorter while being read"))
    return np.ascontiguousarray(counts.reshape(length, leads).T)


def _packed_size(form: int, samples: int) -> int:
    return 2 * samples if form == 16 else format_212.packed_size(samples)


def _beside(name: str, file: str) -> str:
    """Return the name of a file in the folder of the record `name`."""
    folder, slash, _ = name.rpartition("/")
    return f"{folder}{slash}{file}"


def _length_by_size(header: WfdbHeader, size: int, source: str) -> int:
    """Return the number of samples a lead, from the header and checked against the file's size in bytes."""
    line, leads = header.signals[0], len(header.signals)
    length, there = header.length, max(0, size - line.offset)
    if length is None:  # the checksums, which named leads always have, tell a file cut short
        length = (there // 2 if line.format == 16 else 2 * there // 3) // leads
    needed = _packed_size(line.format, length * leads)
    if there < needed or length == 0:
        least = line.offset + max(needed, _packed_size(line.format, leads))
        raise BadRecord("truncated", f"{source}: {line.file} has {size} bytes: expected {least}; download it again")
    spare = 1 if line.format == 212 else 0  # writers fill up the last three bytes
    if there > needed + spare:
        raise BadRecord(
            "size_mismatch",
            f"{source}: {line.file} has {size} bytes: expected {line.offset + needed} by its header; download both "
            "again",
        )
    return length


def _wrong_sum(counts: np.ndarray, header: WfdbHeader, source: str) -> str:
    """Compare the 16-bit sums of the counts with the header's; return what is wrong, or an empty text."""
    sums = counts.sum(axis=1, dtype=np.int64)
    for line, total in zip(header.signals, sums.tolist(), strict=True):
        if line.checksum is not None and (total - line.checksum) % 65536:
            return (
                f"{source}: the samples of lead '{line.lead}' sum to {total % 65536}: expected the header's "
                f"{line.checksum % 65536}; download {line.file} again"
            )
    return ""


def _through_wfdb(raw: RawFolder, name: str, header: WfdbHeader, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Read any other format with the wfdb package, after checks that keep it from allocating what is not there."""
    missing = np.array([_check_for_wfdb(raw, name, line, header, source) for line in header.signals])
    import wfdb

    files = {f"{name}.hea", *(_beside(name, line.file) for line in header.signals)}
    try:
        with raw.local_copies(sorted(files)) as folder:
            record = wfdb.rdrecord(str(folder / name), physical=False, smooth_frames=True)
    except (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(
            "truncated",
            f"{source}: wfdb cannot decode it ({type(error).__name__}: {error}): expected {header.length} samples a "
            "lead; download it again",
        ) from None
    return np.ascontiguousarray(record.d_signal.T), missing


def _check_for_wfdb(raw: RawFolder, name: str, line: SignalLine, header: WfdbHeader, source: str) -> int:
    """Return the count that means missing in this signal's format."""
    if line.per_frame != 1 or line.format not in {16, *_VIA_WFDB}:
        raise BadRecord(
            "unsupported_format",
            f"{source}: lead '{line.lead}' is in WFDB format {line.format} with {line.per_frame} samples a frame: "
            f"expected one sample a frame in format 16 or {', '.join(map(str, _VIA_WFDB))}; convert it with "
            "wfdb.wrsamp",
        )
    if header.length is None:
        raise BadRecord("header", f"{source}: its header gives no length: expected one in format {line.format}; add it")
    if header.length * len(header.signals) > LARGEST_RECORD or line.skew > header.length:
        raise _too_long(source, header.length * len(header.signals))
    file = _beside(name, line.file)
    least, missing = _VIA_WFDB.get(line.format, (2.0, MISSING_16))
    sharing = sum(other.file == line.file for other in header.signals)
    try:
        size = raw.size(file)
    except FileNotFoundError:
        raise _missing_file(raw, file, source) from None
    except (OSError, ValueError) as error:
        raise _unreadable(raw, file, source, error) from None
    needed = int(line.offset + least * header.length * sharing)
    if size < needed:
        raise BadRecord(
            "truncated",
            f"{source}: {line.file} has {size} bytes: expected at least {needed} for {header.length} samples a lead; "
            "download it again",
        )
    return missing
