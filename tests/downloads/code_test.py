"""CODE-test as Zenodo's data.zip unpacks: ecg_tracings.hdf5, attributes.csv, annotations/*.csv, all by row."""

import csv
from pathlib import Path

import h5py
import numpy as np

from tests import builders

LABELS = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
READERS = ("gold_standard", "cardiologist1", "dnn")
STORED = ("I", "II", "III", "aVL", "aVF", "aVR", "V1", "V2", "V3", "V4", "V5", "V6")
CANONICAL = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
ROW = 4096


def tracing(signal: np.ndarray, leads=STORED) -> np.ndarray:
    """Return `signal` (12, T) mV in canonical order as a stored row (4096, 12), zeros at both ends."""
    row = np.zeros((ROW, 12))
    start = (ROW - signal.shape[1]) // 2
    row[start : start + signal.shape[1]] = np.stack([signal[CANONICAL.index(lead)] for lead in leads], axis=1)
    return row


def signals(n_records: int, seed: int) -> list[np.ndarray]:
    """Return (12, T) mV in canonical order: 7.3, 10 and 10.24 s at 400 Hz in turn, no sample zero in all leads."""
    rng = np.random.default_rng(seed)
    return [
        builders.ecg_counts(rng, (2934, 4000, ROW)[number % 3], 400.0, step_uv=1) / 1000 for number in range(n_records)
    ]


def write_download(raw: Path, n_records: int = 6, seed: int = 0, leads=STORED) -> list[dict]:
    """Write the dataset into `raw`; return id, signal (12, T) mV, gold labels, age and sex of each record."""
    rng = np.random.default_rng(seed + 1)
    (raw / "annotations").mkdir(parents=True)
    found = signals(n_records, seed)
    with h5py.File(raw / "ecg_tracings.hdf5", "w") as file:
        file["tracings"] = np.stack([tracing(signal, leads) for signal in found])
    rows = [
        {
            "id": f"test{number:04d}",
            "signal": signal,
            "age": int(rng.integers(17, 98)),
            "sex": "MF"[rng.integers(2)],
            **{reader: (rng.random(len(LABELS)) < 0.3).astype(int).tolist() for reader in READERS},
        }
        for number, signal in enumerate(found)
    ]
    write_tables(raw, rows)
    return rows


def write_tables(raw: Path, rows: list[dict]) -> None:
    """Write attributes.csv and the annotations of `rows`."""
    for reader in READERS:
        write_csv(raw / "annotations" / f"{reader}.csv", [LABELS, *(row[reader] for row in rows)])
    write_csv(raw / "attributes.csv", [("age", "sex"), *((row["age"], row["sex"]) for row in rows)])


def write_csv(path: Path, lines) -> None:
    """Write `lines` as the dataset does, with \\n at their ends."""
    with open(path, "w", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows(lines)
