"""What every reader yields: an entry of the corpus (cheap, known without opening a signal) and the record itself."""

import hashlib
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """A recording that a corpus lists; what its tables say about it."""

    record_id: str
    patient_id: str
    source_path: str  # relative to the raw folder; of WFDB records without extension
    report: str | None = None  # raw text, lines joined; None without report
    labels: tuple[str, ...] = ()  # in the order of the corpus's label names
    codes: tuple[str, ...] = ()  # the dataset's own statements: "426783006", "NORM=100"
    age: float = float("nan")  # years
    sex: str = ""  # "M", "F" or ""
    recorded_at: str = ""  # as the dataset writes it
    device: str = ""  # cart or machine
    fold: int = 0  # of the dataset's own folds, from 1; 0 without
    split: str = ""  # "train", "valid" or "test" where the dataset or the recipe's tables say so
    position: int = -1  # row in a file of many records (HDF5); -1 where a record has files of its own


@dataclass(slots=True)
class EcgRecord:
    """A recording as read: nothing resampled, cropped or filtered.

    Parameters
    ----------
    entry : RecordEntry
        Completed with what the recording's own header says.
    signal : ndarray (12, T) float32
        Millivolt, leads I II III aVR aVL aVF V1..V6; missing samples and leads are NaN.
    native_rate : float
        Hz.
    step_uv : float or None
        Microvolt of one count of the file; None where the leads differ or the source is not of integers.
    missing_leads : int
        Bit mask of leads that the file lacks, bit 0 for lead I.
    counts : ndarray (12, T) int16 or None
        Where the file holds such: `signal` is counts * step_uv / 1000, -32768 is a missing sample.
    checksum_error : str
        What is wrong where the header's own checksums contradict the samples; the recipe decides what follows.
    checksum : str
        SHA-256 of the decoded signal, made when not given.
    """

    entry: RecordEntry
    signal: np.ndarray
    native_rate: float
    step_uv: float | None
    missing_leads: int = 0
    counts: np.ndarray | None = None
    checksum_error: str = ""
    checksum: str = field(default="")

    def __post_init__(self):
        if not self.checksum:
            self.checksum = signal_checksum(self.signal)


def signal_checksum(signal: np.ndarray) -> str:
    """Return the SHA-256 of `signal` (12, T) as little-endian float32 millivolt, NaN in one spelling."""
    values = np.ascontiguousarray(signal, dtype="<f4")
    missing = np.isnan(values)
    if missing.any():
        values = np.where(missing, np.float32(np.nan), values).astype("<f4")
    return hashlib.sha256(values.data).hexdigest()
