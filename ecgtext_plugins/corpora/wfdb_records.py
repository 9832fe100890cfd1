"""Signals of WFDB records: format 16 (MIMIC-IV-ECG's .dat, the Challenge's .mat) by numpy, other formats through wfdb.

wfdb verifies nothing when it reads, so that sizes, checksums, gains and lead names are checked here.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
    212: (1.5, -2048),
    310: (4 / 3, -512),
    311: (4 / 3, -512),
    508: (1e-3, -128),
    516: (1e-3, -32768),
    524: (1e-3, -(1 << 23)),
}


@dataclass(slots=True)
class WfdbSignals:
    """Decoded signals: (12, T) float32 millivolt in canonical order, NaN where missing, and what the header says."""

    signal: np.ndarray
    rate: float
    step_uv: float | None
    missing_leads: int
    comments: tuple[str, ...]


def read_wfdb(path: Path, source: str) -> WfdbSignals:
    """Read the record at `path` (without extension) and check it.

    Parameters
    ----------
    path : Path
    source : str
        What errors call it, e.g. ``"record 40689238"``.

    Raises
    ------
    BadRecord
        Reasons of :func:`read_header` and of ``lead_positions``; ``missing_signal_file``, ``truncated``,
        ``size_mismatch``, ``checksum``, ``too_long``, ``amplitude``, ``unsupported_format``, ``unreadable``.
    """
    header = read_header(path.with_name(path.name + ".hea"), source)
    positions = lead_positions([line.lead for line in header.signals], source)
    counts, missing = _read_counts(path, header, source)
    _check_sums(counts, header, source)
    gains = np.array([line.gain for line in header.signals])
    baselines = np.array([line.baseline for line in header.signals])
    signal = _millivolts(counts, missing, gains, baselines)
    used = gains[positions[positions >= 0]]
    arranged = arrange_leads(signal, positions)
    _check_amplitude(arranged, source)
    step_uv = 1000.0 / float(used[0]) if (used == used[0]).all() else None
    return WfdbSignals(arranged, header.rate, step_uv, missing_mask(positions), header.comments)


def _millivolts(counts: np.ndarray, missing: np.ndarray, gains: np.ndarray, baselines: np.ndarray) -> np.ndarray:
    """Return (n, T) float32; counts (n, T) integers, `missing` (n,) the count that means missing."""
    lost = counts == missing[:, None]
    if (baselines == 0).all():
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


def _read_counts(path: Path, header: WfdbHeader, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts (n, T) of all signals and the counts (n,) that mean missing."""
    simple = len({(s.file, s.offset) for s in header.signals}) == 1 and all(
        (s.format, s.per_frame, s.skew) == (16, 1, 0) for s in header.signals
    )
    if simple:
        return _format_16(path, header, source), np.full(len(header.signals), MISSING_16)
    return _through_wfdb(path, header, source)


def _too_long(source: str, samples: int) -> BadRecord:
    return BadRecord(
        "too_long",
        f"{source} has {samples} samples over its leads: expected at most {LARGEST_RECORD}; cut it into shorter "
        "records",
    )


def _missing_file(file: Path, source: str) -> BadRecord:
    return BadRecord(
        "missing_signal_file",
        f"{source}: its signal file {file.name} is not in {file.parent}: expected beside the header; download it again",
    )


def _unreadable(file: Path, source: str, error: Exception) -> BadRecord:
    return BadRecord("unreadable", f"{source}: {file} cannot be read ({error}); check the disk and permissions")


def _format_16(path: Path, header: WfdbHeader, source: str) -> np.ndarray:
    """Read interleaved little-endian int16 counts, (n, T) int16; nothing is allocated before the size is checked."""
    line, leads = header.signals[0], len(header.signals)
    file = path.with_name(line.file)
    try:
        with open(file, "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            length = _length_by_size(header, size, source)
            if length * leads > LARGEST_RECORD:
                raise _too_long(source, length * leads)
            handle.seek(line.offset)
            counts = np.fromfile(handle, dtype="<i2", count=length * leads)
    except FileNotFoundError:
        raise _missing_file(file, source) from None
    except (OSError, ValueError) as error:
        raise _unreadable(file, source, error) from None
    if len(counts) != length * leads:
        raise _unreadable(file, source, OSError("it became shorter while being read"))
    return np.ascontiguousarray(counts.reshape(length, leads).T)


def _length_by_size(header: WfdbHeader, size: int, source: str) -> int:
    """Return the number of samples a lead, from the header and checked against the file's size in bytes."""
    line, frame = header.signals[0], 2 * len(header.signals)
    length = header.length
    if length is None:  # the checksums, which named leads always have, tell a file cut short
        length = max(0, size - line.offset) // frame
    expected = line.offset + length * frame
    if size < expected or length == 0:
        raise BadRecord(
            "truncated",
            f"{source}: {line.file} has {size} bytes: expected {max(expected, line.offset + frame)}; download it again",
        )
    if size > expected:
        raise BadRecord(
            "size_mismatch",
            f"{source}: {line.file} has {size} bytes: expected {expected} by its header; download both again",
        )
    return length


def _check_sums(counts: np.ndarray, header: WfdbHeader, source: str) -> None:
    """Compare the 16-bit sums of the counts with the header's."""
    sums = counts.sum(axis=1, dtype=np.int64)
    for line, total in zip(header.signals, sums.tolist(), strict=True):
        if line.checksum is not None and (total - line.checksum) % 65536:
            raise BadRecord(
                "checksum",
                f"{source}: the samples of lead '{line.lead}' sum to {total % 65536}: expected the header's "
                f"{line.checksum % 65536}; download {line.file} again",
            )


def _through_wfdb(path: Path, header: WfdbHeader, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Read any other format with the wfdb package, after checks that keep it from allocating what is not there."""
    missing = np.array([_check_for_wfdb(path, line, header, source) for line in header.signals])
    import wfdb

    try:
        record = wfdb.rdrecord(str(path.absolute()), physical=False, smooth_frames=True)
    except (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(
            "truncated",
            f"{source}: wfdb cannot decode it ({type(error).__name__}: {error}): expected {header.length} samples a "
            "lead; download it again",
        ) from None
    return np.ascontiguousarray(record.d_signal.T), missing


def _check_for_wfdb(path: Path, line: SignalLine, header: WfdbHeader, source: str) -> int:
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
    file = path.with_name(line.file)
    least, missing = _VIA_WFDB.get(line.format, (2.0, MISSING_16))
    sharing = sum(other.file == line.file for other in header.signals)
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        raise _missing_file(file, source) from None
    except (OSError, ValueError) as error:
        raise _unreadable(file, source, error) from None
    needed = int(line.offset + least * header.length * sharing)
    if size < needed:
        raise BadRecord(
            "truncated",
            f"{source}: {line.file} has {size} bytes: expected at least {needed} for {header.length} samples a lead; "
            "download it again",
        )
    return missing
