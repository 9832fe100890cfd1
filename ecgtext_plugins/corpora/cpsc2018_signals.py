"""Recordings of CPSC 2018 as first published: a struct ECG {sex, age, data (12, T)} in millivolt, 500 Hz."""

import math
from typing import NamedTuple

import numpy as np

from ecgtext_plugins.corpora.header_comments import age_of, sex_of
from ecgtext_plugins.corpora.mat_struct import LARGEST_FILE, read_struct
from ecgtext_plugins.corpora.raw_folder import RawFolder, safe_name
from ecgtext_plugins.corpora.record import RecordEntry
from ecgtext_plugins.corpora.wfdb_records import LARGEST_MILLIVOLT
from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.signals.leads import LEADS

RATE = 500.0  # Hz; the files do not say it
STRUCT = "ECG"


class MatRecording(NamedTuple):
    """Signal (12, T) float32 in millivolt, sampling rate in Hz, age in years (NaN unknown) and sex "M", "F" or ""."""

    signal: np.ndarray
    rate: float
    age: float
    sex: str


def read_mat(raw: RawFolder, entry: RecordEntry) -> MatRecording:
    """Read the recording of `entry`; the files name no leads, and have them in the order I II III aVR aVL aVF V1..V6.

    Raises
    ------
    BadRecord
        ``missing_signal_file``, ``unreadable``, ``too_long``, ``unsafe_path``; ``mat_file`` for a file that is damaged
        or holds no such struct; ``shape`` for other data than 12 leads of numbers; ``amplitude``.
    """
    source = f"record {entry.record_id}"
    name = safe_name(entry.source_path, source)
    fields = _struct(_content(raw, name, source), name, source)
    data = fields.get("data")
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[0] != len(LEADS) or not data.shape[1]:
        what = " x ".join(map(str, data.shape)) if isinstance(data, np.ndarray) else "no array of numbers"
        raise BadRecord(
            "shape",
            f"{source}: {name} has {what} in {STRUCT}.data: expected 12 leads x samples; download it again",
        )
    with np.errstate(over="ignore"):
        signal = np.ascontiguousarray(data, dtype=np.float32)
    peak = float(np.fmax.reduce(np.abs(signal), axis=None))
    if peak > LARGEST_MILLIVOLT:
        raise BadRecord(
            "amplitude", f"{source} reaches {peak:g} mV: expected at most {LARGEST_MILLIVOLT:g} mV; download it again"
        )
    age, sex = fields.get("age"), fields.get("sex")
    years = age_of(str(age.flat[0])) if isinstance(age, np.ndarray) and age.size == 1 else math.nan
    return MatRecording(signal, RATE, years, sex_of(sex.strip()) if isinstance(sex, str) else "")


def _content(raw: RawFolder, name: str, source: str) -> bytes:
    try:
        size = raw.size(name)
        if size > LARGEST_FILE:
            raise BadRecord(
                "too_long", f"{source}: {name} has {size} bytes: expected at most {LARGEST_FILE}; download it again"
            )
        return raw.read(name)
    except FileNotFoundError:
        raise BadRecord(
            "missing_signal_file", f"{source}: there is no file {raw}/{name}: expected it; download it again"
        ) from None
    except (OSError, ValueError) as error:
        raise BadRecord(
            "unreadable", f"{source}: {raw}/{name} cannot be read ({error}); check the disk and permissions"
        ) from None


def _struct(content: bytes, name: str, source: str) -> dict[str, np.ndarray | str | None]:
    try:
        return read_struct(content, STRUCT)
    except ValueError as error:
        raise BadRecord(
            "mat_file",
            f"{source}: {name} cannot be used, {error}: expected a MATLAB 5 file with a struct {STRUCT} of sex, age "
            "and data; download it again",
        ) from None
