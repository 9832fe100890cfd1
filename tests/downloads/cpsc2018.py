"""CPSC 2018: as first published (.mat with a struct ECG, REFERENCE.csv), and as the Challenge 2021 has it (WFDB)."""

import csv
from pathlib import Path

import numpy as np
import scipy.io

from tests import builders
from tests.downloads.even_labels import EvenLabels
from tests.downloads.merl import split_of

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
# MERL's name: number in REFERENCE.csv, SNOMED CT code in the Challenge's headers
CLASSES = {
    "NORM": (1, 426783006),
    "AFIB": (2, 164889003),
    "1AVB": (3, 270492004),
    "CLBBB": (4, 164909002),
    "CRBBB": (5, 59118001),
    "PAC": (6, 284470004),
    "VPC": (7, 164884008),
    "STD": (8, 429622005),
    "STE": (9, 164931005),
}


def write_reference(path: Path, rows: list[dict]) -> None:
    """Write REFERENCE.csv: up to three classes by number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["Recording", "First_label", "Second_label", "Third_label"])
        for row in rows:
            numbers = [CLASSES[label][0] for label in row["labels"]]
            table.writerow([row["record_id"], *numbers, *[""] * (3 - len(numbers))])


def write_mat(path: Path, signal: np.ndarray, age=61, sex: str = "Male", compressed: bool = True) -> None:
    """Write a signal (12, T) in millivolt as MATLAB 5 file with a struct ECG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"ECG": {"sex": sex, "age": age, "data": signal}}, do_compression=compressed)


def write_download(raw: Path, n_records: int = 12, seed: int = 0, form: str = "mat", even: bool = False) -> list[dict]:
    """Write the download as `form` "mat", in TrainingSet1 to 3 and REFERENCE.csv, or "wfdb", in g1 and g2.

    Returns its rows: record_id, labels (one to three, by MERL's names), age, sex, and the signal (12, T) in millivolt.
    With `even`, labels are drawn evenly within each split of tests.downloads.merl.
    """
    rng = np.random.default_rng(seed)
    evenly, rows = EvenLabels(rng, CLASSES), []
    for index in range(n_records):
        if even:
            labels = evenly.draw(split_of(index), 1 + index % 3)
        else:
            labels = [str(name) for name in rng.choice(list(CLASSES), 1 + index % 3, replace=False)]
        counts = builders.ecg_counts(rng, 500 + 50 * index, 500, 1.0)
        row = {
            "record_id": f"A{index + 1:04d}",
            "labels": labels,
            "age": 30 + index,
            "sex": ("Male", "Female")[index % 2],
            "signal": counts / 1000 if form == "wfdb" else counts / 1000 + 1e-5 * rng.standard_normal(counts.shape),
        }
        rows.append(row)
        if form == "mat":
            place = raw / f"TrainingSet{1 + 3 * index // n_records}" / f"{row['record_id']}.mat"
            write_mat(place, row["signal"], row["age"], row["sex"], compressed=bool(index % 2))
            continue
        said = [f"Age: {row['age']}", f"Sex: {row['sex']}", f"Dx: {','.join(str(CLASSES[name][1]) for name in labels)}"]
        builders.write_record(
            raw / f"g{1 + index % 2}", row["record_id"], counts, LEADS, gain=1000, extension="mat", comments=said
        )
    if form == "mat":
        write_reference(raw / "REFERENCE.csv", rows)
    return rows
