"""Small raw datasets that tests write for themselves, with numpy alone, seeded."""

import csv
import hashlib
from pathlib import Path

import numpy as np

MIMIC_LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
LABELS = ("sinus_rhythm", "sinus_bradycardia", "atrial_fibrillation", "st_elevation")
PHRASES = {
    "sinus_rhythm": "Sinus rhythm",
    "sinus_bradycardia": "Sinus bradycardia",
    "atrial_fibrillation": "Atrial fibrillation",
    "st_elevation": "ST elevation, consider early repolarization",
}


def ecg_counts(rng: np.random.Generator, n_samples: int = 1000, rate: float = 500.0, step_uv: float = 5.0):
    """Return (12, T) int16: two limb leads and six chest leads of spikes and noise, the others derived from them."""
    time = np.arange(n_samples) / rate
    beat = np.exp(-((((time * rng.uniform(0.8, 1.6)) % 1.0) - 0.4) ** 2) / 0.0008)
    gains = rng.uniform(0.2, 1.5, size=8)[:, None]
    independent = gains * beat + 0.02 * rng.standard_normal((8, n_samples))
    i, ii = np.rint(independent[:2] * 1000 / step_uv)
    limb = [i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2]
    return np.rint(np.vstack([limb, independent[2:] * 1000 / step_uv])).astype(np.int16)


def write_record(
    folder: Path,
    name: str,
    counts: np.ndarray,
    leads=MIMIC_LEADS,
    rate: float = 500,
    gain: float = 200,
    units: str = "mV",
    extension: str = "dat",
    comments=(),
    order=("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"),
) -> Path:
    """Write counts (12, T), given in canonical order, as a WFDB record in format 16 with the file's `leads`."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = np.stack([counts[order.index(lead)] for lead in leads]).astype("<i2")
    offset = b"\0" * 24 if extension == "mat" else b""
    (folder / f"{name}.{extension}").write_bytes(offset + stored.T.tobytes())
    form = "16x1+24" if extension == "mat" else "16"
    lines = [f"{name} {len(leads)} {rate:g} {stored.shape[1]}"]
    for lead, row in zip(leads, stored, strict=True):
        checksum = int(row.sum(dtype=np.int64)) % 65536
        checksum -= 65536 if checksum >= 32768 else 0
        lines.append(f"{name}.{extension} {form} {gain:g}(0)/{units} 16 0 {row[0]} {checksum} 0 {lead}")
    lines += [f"# {comment}" for comment in comments]
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


def write_mimic_tree(
    raw: Path, n_records: int = 12, n_patients: int | None = None, seed: int = 0, n_samples: int = 1000, lines: int = 18
) -> list[dict]:
    """Write a tree in MIMIC-IV-ECG's layout with findings.csv; return what it wrote, a row a record."""
    rng = np.random.default_rng(seed)
    n_patients = n_patients or max(1, n_records // 2)
    rows = []
    for index in range(n_records):
        subject, study = str(10_000_000 + index % n_patients), str(40_000_000 + 37 * index)
        path = f"files/p{subject[:4]}/p{subject}/s{study}/{study}"
        counts = ecg_counts(rng, n_samples)
        write_record(raw / Path(path).parent, study, counts)
        present = rng.random(len(LABELS)) < 0.5
        present[rng.integers(len(LABELS))] = True
        findings = [label for label, there in zip(LABELS, present, strict=True) if there]
        rows.append({"study_id": study, "subject_id": subject, "path": path, "findings": findings, "counts": counts})
    write_tables(raw, rows, lines)
    return rows


def write_tables(raw: Path, rows: list[dict], lines: int = 18) -> None:
    """Write the three tables of `rows`; lines of a report default to the findings in words."""
    reports = [f"report_{n}" for n in range(lines)]
    with (
        open(raw / "record_list.csv", "w", newline="") as records,
        open(raw / "machine_measurements.csv", "w", newline="") as measurements,
        open(raw / "findings.csv", "w", newline="") as findings,
    ):
        tables = [csv.writer(handle) for handle in (records, measurements, findings)]
        tables[0].writerow(["subject_id", "study_id", "file_name", "ecg_time", "path"])
        tables[1].writerow(["subject_id", "study_id", "cart_id", "ecg_time", *reports, "rr_interval"])
        tables[2].writerow(["study_id", "findings"])
        for row in rows:
            report = row.get("report", [PHRASES[label] for label in row["findings"]])
            subject, study, time = row["subject_id"], row["study_id"], "2180-07-23 08:44:00"
            tables[0].writerow([subject, study, study, time, row["path"]])
            tables[1].writerow([subject, study, "6848296", time, *report, *[""] * (lines - len(report)), 659])
            tables[2].writerow([study, ";".join(row["findings"])])


def demo_recipe(**changes) -> dict:
    """Return a recipe's mapping for :func:`write_mimic_tree`, as a YAML file would give it."""
    recipe = {
        "name": "tiny",
        "reader": "mimic_iv_ecg",
        "sample_rate": 500,
        "seconds": 2,
        "records_per_shard": 5,
        "labels": {"file": "findings.csv", "id": "study_id", "column": "findings", "names": list(LABELS)},
        "split": {"by": "patient", "seed": 0, "fractions": {"train": 0.6, "valid": 0.2, "test": 0.2}},
    }
    return {**recipe, **changes}


def tree_digest(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file under `folder` by relative path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
