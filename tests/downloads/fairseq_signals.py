"""Trees as fairseq-signals' own scripts leave them, made with scipy alone: the newer pipeline's and the older ones'."""

import csv
from pathlib import Path

import numpy as np
from scipy.io import loadmat, savemat

from tests.builders import ecg_counts

LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
LABELS = ["is_male", "1dAVb", "RBBB", "AF"]
REPORTS = ["Sinus rhythm", "Atrial fibrillation; rapid ventricular response", "*** PACED EKG ***", "Sinus bradycardia"]


def write_csv(path: Path, names, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(names)
        writer.writerows(rows)


def straight_lines(signal: np.ndarray, size: int) -> np.ndarray:
    """Spread `signal` (12, T) over `size` points, with the arithmetic of scipy's interp1d up to scipy 1.17.

    That is what fairseq-signals calls; scipy 1.18 rounds the last bit otherwise.
    """
    grid, points = np.linspace(0, size - 1, signal.shape[-1]), np.arange(size)
    above = np.clip(np.searchsorted(grid, points), 1, len(grid) - 1)
    slope = (signal[:, above] - signal[:, above - 1]) / (grid[above] - grid[above - 1])
    return slope * (points - grid[above - 1]) + signal[:, above - 1]


def standardised(org: dict, rate: int = 500) -> dict:
    """Return the variables of the preprocessed file to those of an org file, as loaded by scipy."""
    feats, old = org["feats"], org["curr_sample_rate"][0, 0]
    if old != rate:
        size = int(feats.shape[-1] * (rate / old))
        feats = straight_lines(feats, size)
    mean = feats.mean(axis=1, keepdims=True)
    centred = feats - mean
    std = centred.std(axis=1, keepdims=True)
    scaled = centred / np.where(std == 0, 1, std)
    scaled[np.broadcast_to(std == 0, scaled.shape)] = 0
    kept = {name: value for name, value in org.items() if not name.startswith("__")}
    return {
        **kept,
        "feats": scaled,
        "curr_sample_rate": rate,
        "curr_sample_size": scaled.shape[-1],
        "mean": mean,
        "std": std,
    }


def write_download(raw: Path, n_records: int = 8, seed: int = 0, rate: int = 400, n_samples: int = 2934) -> list[dict]:
    """Write a tree of the newer pipeline (org, preprocessed, segmented, tables, labels) from CODE-15-like records.

    Records have 2934 or 4096 samples in turn; the last one lacks lead V6 and is in no split.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for stage in ("org", "preprocessed", "segmented"):
        (raw / stage).mkdir(parents=True, exist_ok=True)
    for idx in range(n_records):
        size = n_samples if idx % 2 == 0 else 4096
        feats = (ecg_counts(rng, size, rate) / 200).astype(np.float32)
        last = idx == n_records - 1
        feats = np.where(np.arange(12)[:, None] == 11, np.nan, feats) if last else feats
        name = f"code_15_{1000 + 7 * idx}"
        sizes = {"org_sample_rate": rate, "curr_sample_rate": rate, "org_sample_size": size, "curr_sample_size": size}
        savemat(raw / "org" / f"{name}.mat", {**sizes, "feats": feats, "idx": idx})
        done = standardised(loadmat(raw / "org" / f"{name}.mat"))
        savemat(raw / "preprocessed" / f"{name}.mat", done)
        windows = done["feats"].shape[1] // 2500
        for place in range(windows):
            window = done["feats"][:, 2500 * place : 2500 * (place + 1)]
            part = {**done, "feats": window, "curr_sample_size": 2500, "segment_i": place}
            savemat(raw / "segmented" / f"{name}_{place}.mat", part)
        split = "" if last else ("train", "train", "valid", "test")[idx % 4]
        rows.append(
            {
                "idx": idx,
                "name": name,
                "feats": feats,
                "patient_id": str(500 + idx % 4),
                "age": 40 + idx,
                "is_male": idx % 3 == 0,
                "split": split,
                "labels": [idx % 3 == 0, *(rng.random(3) < 0.5)],
                "windows": windows,
                "report": REPORTS[idx % len(REPORTS)],
            }
        )
    _write_tables(raw, rows, rate)
    return rows


def _write_tables(raw: Path, rows: list[dict], rate: int) -> None:
    meta = [
        "idx",
        "exam_id",
        "age",
        "is_male",
        "patient_id",
        "path",
        "save_file",
        "source",
        "dataset",
        "machine_report",
    ]
    meta += ["lead_order", "sample_rate", "sample_size"]
    cells = (
        [row["idx"], row["name"][8:], row["age"], row["is_male"], row["patient_id"], row["name"][8:]]
        + [f"{row['name']}.mat", "code_15", "code_15", row["report"], str(LEADS), rate, row["feats"].shape[1]]
        for row in rows
    )
    write_csv(raw / "meta.csv", meta, cells)
    write_csv(raw / "labels" / "labels.csv", ["idx", *LABELS], ([row["idx"], *row["labels"]] for row in rows))
    np.save(raw / "labels" / "y.npy", np.array([row["labels"] for row in rows], dtype=np.float64))
    counts = np.sum([row["labels"] for row in rows], axis=0)
    definition = ([name, count, count / len(rows)] for name, count in zip(LABELS, counts, strict=True))
    write_csv(raw / "labels" / "label_def.csv", ["name", "pos_count_all", "pos_percent_all"], definition)
    split = [[row["idx"], f"{row['name']}.mat", row["split"]] for row in rows if row["split"]]
    write_csv(raw / "meta_split.csv", ["idx", "save_file", "split"], split)
    segments = [
        [str(raw / "segmented" / f"{row['name']}_{place}.mat"), f"{row['name']}.mat", 2500]
        for row in rows
        for place in range(row["windows"])
    ]
    write_csv(raw / "segmented.csv", ["path", "save_file", "sample_size"], segments)


def write_manifests(raw: Path, folder: Path, rows: list[dict], root: str, newline: str = "\n") -> None:
    """Write plain manifests of the segmented files, and of CMSC below cmsc/, with `root` as line 1."""
    for split in ("train", "valid", "test"):
        plain, pairs = [root], [root.strip(), "mat"]
        for row in rows:
            if row["split"] == split:
                plain += [f"{row['name']}_{place}.mat\t2500" for place in range(row["windows"])]
                pairs += [f"{row['name']}\t2500\t0\t{i},{i + 1}" for i in range(0, row["windows"] - 1, 2)]
        for place, lines in ((folder, plain), (folder / "cmsc", pairs)):
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{split}.tsv").write_bytes("".join(f"{line}{newline}" for line in lines).encode())


def write_text_tree(folder: Path, n_records: int = 24, seed: int = 0, rate: int = 500, n_samples: int = 1000):
    """Write what the older pipelines make of PTB-XL or MIMIC-IV-ECG: .mat files with text, and their manifests.

    Returns one row a file; manifests are {folder}/manifests/{train,valid,test}.tsv with a bare absolute root.
    """
    rng = np.random.default_rng(seed)
    (folder / "mat").mkdir(parents=True, exist_ok=True)
    (folder / "manifests").mkdir(exist_ok=True)
    rows = []
    for number in range(n_records):
        feats = ecg_counts(rng, n_samples, rate) / 200
        text = f"{REPORTS[number % len(REPORTS)]}, rate {40 + number % 9}"
        savemat(folder / "mat" / f"{4000 + number}.mat", {"curr_sample_rate": rate, "feats": feats, "text": text})
        split = "train" if number < n_records * 2 // 3 else ("valid", "test")[number % 2]
        rows.append({"name": f"{4000 + number}", "feats": feats, "text": text, "split": split})
    for split in ("train", "valid", "test"):
        lines = [str(folder / "mat"), *(f"{r['name']}.mat\t{n_samples}" for r in rows if r["split"] == split)]
        (folder / "manifests" / f"{split}.tsv").write_text("".join(f"{line}\n" for line in lines))
    return rows


def write_old_physionet(folder: Path, n_records: int = 3, seed: int = 0) -> list[dict]:
    """Write what the older pipeline makes of PhysioNet 2021: two windows a record with label, age, sex, patient_id."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(n_records):
        label = rng.random(26) < 0.2
        for window in range(2):
            values = {"age": 0 if number == 0 else 50 + number, "sex": number % 2, "label": label, "patient_id": number}
            feats = ecg_counts(rng, 2500, 500.0) / 1000
            name = f"E{number:05d}_{window}"
            savemat(folder / f"{name}.mat", {**values, "curr_sample_rate": 500, "feats": feats})
            rows.append({"name": name, "feats": feats, **values})
    return rows
