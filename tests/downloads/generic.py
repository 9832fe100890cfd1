"""A user's own data: records.csv and a file a record in one of the formats of the reader `generic`."""

import csv
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from scipy.io import savemat

from tests import builders

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
COLUMNS = ("path", "patient", "report", "labels", "age", "sex")
ENDINGS = {"wfdb": "", "mat73": ".mat"}


def write_download(raw: Path, n_records: int = 6, seed: int = 0, form: str = "npy", rate: int = 500) -> list[dict]:
    """Write `n_records` of 2 s in the format `form` (or mat73) and records.csv; return its rows with `signal` in mV."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n_records):
        signal = (builders.ecg_counts(rng, 2 * rate, rate, step_uv=1) / 1000).astype(np.float32)
        row = {
            "path": f"ecgs/r{number:03d}{ENDINGS.get(form, f'.{form}')}",
            "patient": f"p{number // 2}",
            "report": f"Sinus rhythm, case {number}",
            "labels": ";".join(label for label in ("AF", "NORM", "LBBB") if rng.random() < 0.5),
            "age": str(30 + number),
            "sex": "MF"[number % 2],
        }
        (raw / "ecgs").mkdir(parents=True, exist_ok=True)
        write_signal(raw / row["path"], signal, form, rate)
        rows.append({**row, "signal": signal})
    write_table(raw, rows)
    return rows


def write_signal(path: Path, signal: np.ndarray, form: str, rate: int = 500) -> None:
    """Write `signal` (12, T) mV."""
    if form == "wfdb":
        counts = np.rint(signal * 1000).astype(np.int16)
        builders.write_record(path.parent, path.name, counts, LEADS, rate, gain=1000)
    elif form == "npy":
        np.save(path, signal)
    elif form == "mat":
        savemat(path, {"ecg": signal, "note": "other variables are passed over"})
    elif form == "mat73":
        with h5py.File(path, "w", userblock_size=512) as file:
            file["ecg"] = signal.T
        with open(path, "r+b") as handle:
            handle.write(b"MATLAB 7.3 MAT-file")
    elif form == "csv":
        pa.csv.write_csv(_table(signal), path)
    elif form == "parquet":
        pq.write_table(_table(signal), path)


def _table(signal: np.ndarray) -> pa.Table:
    """Return a time and the leads as columns, the leads in another order and spelling than ours."""
    names = [f"lead {lead.lower()}" for lead in LEADS[::-1]]
    columns = signal[::-1].astype(np.float64)
    return pa.table([np.arange(signal.shape[1]), *columns], names=["time", *names])


def write_table(raw: Path, rows: list[dict], columns=COLUMNS, name: str = "records.csv", separator: str = ",") -> None:
    """Write the table of `rows`."""
    with open(raw / name, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, delimiter=separator)
        writer.writerow(columns)
        writer.writerows([row[column] for column in columns] for row in rows)
