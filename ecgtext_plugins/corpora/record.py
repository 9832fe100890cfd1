"""What every reader yields: an entry of the corpus (cheap, known without opening a signal) and the record itself."""

import hashlib
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """A recording that a corpus lists; what its tables say about it."""

    record_id: str
    patient_id: str
    source_path: str  # relative to the raw folder, without extension
    report: str | None = None
    labels: tuple[str, ...] = ()
    age: float = float("nan")
    sex: str = ""


@dataclass(slots=True)
class EcgRecord:
    """A recording as read: nothing resampled, cropped or filtered.

    Parameters
    ----------
    signal : ndarray (12, T) float32
        Millivolt, leads I II III aVR aVL aVF V1..V6; missing samples and leads are NaN.
    native_rate : float
        Hz.
    step_uv : float or None
        Microvolt of one count of the file; None where the leads differ or the source is not of integers.
    missing_leads : int
        Bit mask of leads that the file lacks, bit 0 for lead I.
    report : str or None
        Raw text, lines joined; None without report.
    sex : str
        ``"M"``, ``"F"`` or ``""``.
    """

    record_id: str
    patient_id: str
    source_path: str
    signal: np.ndarray
    native_rate: float
    step_uv: float | None
    missing_leads: int = 0
    report: str | None = None
    labels: tuple[str, ...] = ()
    age: float = float("nan")
    sex: str = ""
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
    return hashlib.sha256(values.tobytes()).hexdigest()
