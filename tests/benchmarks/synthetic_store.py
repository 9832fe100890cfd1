"""A record store without a download: tables written directly, signals random."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.store.manifest import write_manifest
from ecgtext_plugins.store.recipe_keys import FORMAT
from ecgtext_plugins.store.tables import RECORDS, REPORTS, write_table

RATE, STEP_UV, MISSING = 500.0, 5.0, -32768
WORDS = ("sinus rhythm", "atrial fibrillation", "left axis deviation", "anterior infarct age undetermined", "normal")


def write_store(folder: Path, n_records: int, n_samples: int, with_signals: bool, seed: int = 0) -> Path:
    """Write a store of `n_records` of two a patient, one report for four records, split 90/5/5; return its folder.

    With signals, each record of the splits valid and test lacks a lead and some samples of another.
    """
    rng = np.random.default_rng(seed)
    numbers = np.arange(n_records)
    ids = pc.binary_join_element_wise("4", pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 7, "0"), "")
    split = np.array(["train"] * 18 + ["valid", "test"])[(numbers // 2) % 20]
    n_reports = max(n_records // 4, 1)
    shorts = np.where(split == "train", 0, 1)
    per_shard = min(n_records, 4096)
    columns = {
        "record_id": ids,
        "patient_id": pa.array(10_000_000 + numbers // 2).cast(pa.string()),
        "source_path": pc.binary_join_element_wise("files/p1000/p", ids, ""),
        "sample_rate": np.full(n_records, RATE),
        "native_rate": np.full(n_records, RATE),
        "n_samples": np.full(n_records, n_samples),
        "report_id": rng.permutation(numbers % n_reports),
        "recorded_at": pa.array(np.full(n_records, "2150-01-01 10:00:00")),
        "labels": pa.array([[]] * n_records, RECORDS.field("labels").type),
        "shard": numbers // per_shard,
        "offset": (numbers % per_shard) * 12 * n_samples,
        "step_uv": np.full(n_records, STEP_UV),
        "missing_leads": shorts,
        "missing_share": shorts * 0.1,
        "checksum": pa.array([rng.bytes(32).hex() for _ in range(n_records)]),
        "split": pa.array(split),
    }
    arrays = [
        pa.array(columns[field.name]).cast(field.type) if field.name in columns else pa.nulls(n_records, field.type)
        for field in RECORDS
    ]
    write_table(folder / "records.parquet", pa.table(arrays, schema=RECORDS))
    texts = [_report(rng, number) for number in range(n_reports)]
    reports = [np.arange(n_reports), texts, np.full(n_reports, 4)]
    write_table(folder / "reports.parquet", pa.table(reports, schema=REPORTS))
    for name in ("train", "valid", "test"):
        chosen = np.flatnonzero(split == name)
        write_manifest(folder / "manifests" / f"{name}.tsv", ids.take(pa.array(chosen)), [n_samples] * len(chosen))
    if with_signals:
        _write_signals(folder / "signals", rng, split, n_samples, per_shard)
    corpus = {
        "format": FORMAT,
        "recipe": {"name": "synthetic"},
        "fingerprint": "0" * 64,
        "reports_fingerprint": "1" * 64,
        "counts": {"found": n_records, "kept": n_records, "failed": 0},
        "label_names": [],
        "sample_rate": RATE,
    }
    (folder / "corpus.json").write_text(json.dumps(corpus))
    return folder


def _report(rng: np.random.Generator, number: int) -> str:
    return f"{'. '.join(WORDS[place] for place in rng.integers(0, len(WORDS), 8))}. ecg {number}"


def _write_signals(folder: Path, rng: np.random.Generator, split: np.ndarray, n_samples: int, per_shard: int) -> None:
    folder.mkdir()
    for number, first in enumerate(range(0, len(split), per_shard)):
        of_shard = split[first : first + per_shard]
        counts = rng.integers(-2000, 2000, (len(of_shard), 12, n_samples), dtype=np.int16)
        shorts = np.flatnonzero(of_shard != "train")
        counts[shorts, 6] = MISSING
        counts[shorts, 1, 100:200] = MISSING
        np.save(folder / f"shard-{number:05d}.npy", counts.reshape(-1))
