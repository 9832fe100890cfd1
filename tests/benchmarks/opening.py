"""Seconds and memory to open the manifests of a large store: `python tests/benchmarks/opening.py`."""

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow.parquet as pq
from synthetic_store import write_store
from timing import medians, peak_memory_mb

from ecgtext_plugins.store.manifest import Manifest, read_manifest, refuse_shared_patients, write_manifest

COLUMNS = ["record_id", "n_samples", "report_id", "offset", "shard", "step_uv"]
FLOOR = "floor: the same columns by pyarrow alone"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=800_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--worker", type=Path, help="open the store there in this process, and print its memory")
    args = parser.parse_args()
    if args.worker:
        report_worker(args.worker)
        return
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        store = write_store(Path(folder) / "data", args.records, 5000, with_signals=False)
        windows = write_windows(store)
        print(f"{args.records} records, written in {time.perf_counter() - begin:.1f} s")
        report_times(store, windows, args.repeats)
        command = [sys.executable, __file__, "--worker", str(store)]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")


def write_windows(store: Path) -> Path:
    """Write a manifest of two windows a training record, with the store's folder in each line."""
    listed = read_manifest(store / "manifests" / "train.tsv")
    ids = np.repeat(np.array(listed.record_ids, dtype=object), 2)
    starts = np.tile([0, 2500], len(listed))
    path = store / "manifests" / "windows" / "train.tsv"
    write_manifest(path, ids, np.full(len(ids), 2500), "../../..", starts, stores=["data"] * len(ids))
    return path


def report_times(store: Path, windows: Path, repeats: int) -> None:
    paths = {name: store / "manifests" / f"{name}.tsv" for name in ("train", "valid")}
    tables = pq.ParquetFile(store / "records.parquet")

    def floor():
        tables.read(COLUMNS)
        for path in paths.values():
            path.read_bytes()

    opened = [read_manifest(path) for path in paths.values()]
    functions = {
        FLOOR: floor,
        "train and valid opened, patients compared": lambda: open_all(paths.values()),
        "train.tsv": lambda: read_manifest(paths["train"]),
        "its columns for loading": lambda: columns(read_manifest(paths["train"])),
        "patients of train and valid compared": lambda: refuse_shared_patients(opened),
        "two windows a record, with a store column": lambda: read_manifest(windows),
    }
    seconds = medians(functions, repeats)
    for name, value in seconds.items():
        print(f"{name:45s}{value:7.2f} s{value / seconds[FLOOR]:7.1f} of the floor")


def columns(manifest: Manifest) -> None:
    """Read what loading reads of every record."""
    for name in COLUMNS[1:]:
        manifest.store.column(name)


def open_all(paths) -> list[Manifest]:
    """Open manifests as a training does."""
    manifests = [read_manifest(path) for path in paths]
    refuse_shared_patients(manifests)
    for manifest in manifests:
        columns(manifest)
    return manifests


def report_worker(store: Path) -> None:
    """Print the memory of this process once it has opened everything, and of a manifest sent to it."""
    before, begin = peak_memory_mb(), time.perf_counter()
    manifests = open_all([store / "manifests" / f"{name}.tsv" for name in ("train", "valid")])
    took = time.perf_counter() - begin
    print(f"first time in a new process {took:.2f} s, peak memory {peak_memory_mb():,.0f} MB ({before:,.0f} before)")
    sent = pickle.dumps(manifests[0])
    again = time.perf_counter()
    pickle.loads(sent).store.column("offset")
    print(f"train.tsv as sent to a worker {len(sent) / 1e6:.1f} MB, taken up in {time.perf_counter() - again:.2f} s")


if __name__ == "__main__":
    main()
