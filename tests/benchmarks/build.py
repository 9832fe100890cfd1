"""How fast a store is built from MIMIC-IV-ECG's files, against reading them with wfdb and with numpy alone.

    python tests/benchmarks/build.py [--records 8000] [--workers 1,2]

Writes its own records (format 16, 12 x 5000, 500 Hz) to a temporary folder; they are read from the page cache.
"""

import argparse
import json
import platform
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.recipe import load_recipe
from tests import builders

REPEATS = 3


def write_raw(raw: Path, records: int) -> list[Path]:
    """Write `records` records, 250 different ones; return their paths."""
    rng = np.random.default_rng(0)
    different = [builders.ecg_counts(rng, 5000) for _ in range(min(250, records))]
    rows = []
    for index in range(records):
        subject, study = str(10_000_000 + index // 5), str(40_000_000 + index)
        path = f"files/p{subject[:4]}/p{subject}/s{study}/{study}"
        builders.write_record((raw / path).parent, study, different[index % len(different)])
        rows.append({"study_id": study, "subject_id": subject, "path": path, "findings": ["sinus_rhythm"]})
    builders.write_tables(raw, rows)
    return [raw / row["path"] for row in rows]


def wfdb_rate(paths: list[Path]) -> float:
    """Return records a second of wfdb.rdsamp in one process."""
    import wfdb

    began = time.perf_counter()
    for path in paths:
        wfdb.rdsamp(str(path))
    return len(paths) / (time.perf_counter() - began)


def numpy_rate(paths: list[Path]) -> float:
    """Return records a second of np.fromfile, transposition and scaling: the least that reading takes."""
    began = time.perf_counter()
    for path in paths:
        counts = np.fromfile(path.with_suffix(".dat"), dtype="<i2").reshape(-1, 12).T
        np.multiply(counts, np.float32(0.005), dtype=np.float32)
    return len(paths) / (time.perf_counter() - began)


def build_rate(raw: Path, dest: Path, workers: int, records: int) -> float:
    """Return records a second of a whole build, start of the workers and all files flushed to disk included."""
    shutil.rmtree(dest, ignore_errors=True)
    recipe = load_recipe("mimic_iv_ecg")
    began = time.perf_counter()
    store = build_store(recipe, raw, dest, workers).store
    rate = records / (time.perf_counter() - began)
    assert store.corpus["counts"] == {"found": records, "kept": records, "failed": 0}
    return rate


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--records", type=int, default=8000)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    workers = [int(number) for number in args.workers.split(",")]
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        raw, dest = Path(folder, "raw"), Path(folder, "data")
        paths = write_raw(raw, args.records)
        for _ in range(REPEATS):
            rates.setdefault("wfdb.rdsamp, one process", []).append(wfdb_rate(paths[:500]))
            rates.setdefault("np.fromfile + scale, one process", []).append(numpy_rate(paths[:4000]))
            for number in workers:
                rates.setdefault(f"build, {number} workers", []).append(build_rate(raw, dest, number, args.records))
        size = sum(path.stat().st_size for path in dest.rglob("*") if path.is_file()) / args.records
    medians = {name: statistics.median(values) for name, values in rates.items()}
    floor = medians["wfdb.rdsamp, one process"]
    if args.json:
        print(json.dumps({"rates": rates, "bytes_per_record": size}, indent=2))
        return
    print(f"{args.records} records of 12 x 5000, {platform.processor() or platform.machine()}, medians of {REPEATS}")
    for name, median in medians.items():
        spread = f"{min(rates[name]):,.0f} - {max(rates[name]):,.0f}"
        print(f"{name:<36}{median:>10,.0f} records/s  [{spread}]  {median / floor:6.2f} x wfdb.rdsamp")
    print(f"{'on disk':<36}{size:>10,.0f} bytes a record")


if __name__ == "__main__":
    main()
