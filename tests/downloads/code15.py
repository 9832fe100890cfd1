"""CODE-15% as its zips unpack: exams.csv and exams_part*.hdf5, whose last row is a filler with exam_id 0."""

from pathlib import Path

import h5py
import numpy as np

from tests.downloads.code_test import CANONICAL, signals, tracing, write_csv

LABELS = ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")
COLUMNS = (
    "exam_id",
    "age",
    "is_male",
    "nn_predicted_age",
    *LABELS,
    "patient_id",
    "death",
    "timey",
    "normal_ecg",
    "trace_file",
)


def write_download(raw: Path, n_records: int = 9, seed: int = 0, parts: int = 3) -> list[dict]:
    """Write the dataset into `raw`; return the rows of exams.csv, each with its `signal` (12, T) float32 mV."""
    rng = np.random.default_rng(seed + 1)
    raw.mkdir(parents=True, exist_ok=True)
    exam_ids = rng.choice(np.arange(3, 4_000_000), n_records, replace=False).tolist()
    rows = []
    for number, (exam_id, signal) in enumerate(zip(exam_ids, signals(n_records, seed), strict=True)):
        flags = dict(zip(LABELS, (rng.random(len(LABELS)) < 0.2).tolist(), strict=True))
        rows.append(
            {
                "exam_id": exam_id,
                "age": int(rng.integers(17, 101)),
                "is_male": bool(rng.integers(2)),
                "nn_predicted_age": round(float(rng.uniform(17, 100)), 5),
                **flags,
                "patient_id": 1000 + number // 2,
                "death": "" if number % 3 == 0 else False,
                "timey": "" if number % 3 == 0 else 2.5,
                "normal_ecg": not any(flags.values()) and bool(rng.integers(2)),
                "trace_file": f"exams_part{number % parts}.hdf5",
                "signal": signal.astype(np.float32),
            }
        )
    for part in range(parts):
        name = f"exams_part{part}.hdf5"
        write_part(raw / name, [row for row in rows if row["trace_file"] == name])
    write_exams(raw, rows)
    return rows


def write_part(path: Path, rows: list[dict]) -> None:
    """Write one file: its exams in another order than the table's, then the filler."""
    rows = sorted(rows, key=lambda row: row["exam_id"])
    tracings = [tracing(row["signal"], CANONICAL) for row in rows]
    with h5py.File(path, "w") as file:
        file["exam_id"] = np.array([*(row["exam_id"] for row in rows), 0], dtype=np.int64)
        file["tracings"] = np.stack([*tracings, np.zeros((4096, 12))]).astype(np.float32)


def write_exams(raw: Path, rows: list[dict], columns=COLUMNS) -> None:
    """Write exams.csv."""
    write_csv(raw / "exams.csv", [columns, *([row[column] for column in columns] for row in rows)])
