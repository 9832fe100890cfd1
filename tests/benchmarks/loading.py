"""Records a second from a store to batches, one process, one thread: `python tests/benchmarks/loading.py`."""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
from synthetic_store import WORDS, write_store
from timing import medians, peak_memory_mb

from ecgtext_plugins.data.ecg_text_dataset import EcgTextDataset, EcgTextOptions
from ecgtext_plugins.negatives.sampler import NegativeSampler
from ecgtext_plugins.negatives.table import NegativesTable
from ecgtext_plugins.store.manifest import Manifest, read_manifest
from ecgtext_plugins.text.encoders import load_tokenizer
from ecgtext_plugins.text.scratch import build_scratch_text_encoder

BATCH, SAMPLES, CROP = 128, 5000, 2500
ALLOCATED = "the same into a new batch each time"
FLOOR = "floor: bare int16 row -> float32 row of a batch"
PREALLOCATED = np.zeros((BATCH, 12, SAMPLES), dtype=np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=2560, help="12 x 5000 ECGs in the temporary store (120 kB each)")
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run(write_store(Path(folder), args.records, SAMPLES, with_signals=True), args.repeats)


def run(store: Path, repeats: int) -> None:
    """Measure all paths on the store and print them."""
    manifests = {split: read_manifest(store / "manifests" / f"{split}.tsv") for split in ("train", "valid")}
    build_scratch_text_encoder([f"{word} ecg {n}" for n, word in enumerate(WORDS)] * 20, store / "text_encoder", 200)
    tokenizer = load_tokenizer(str(store / "text_encoder"))
    whole = EcgTextOptions()
    negatives = random_negatives(store, manifests["train"].store.n_reports)
    data = EcgTextDataset(manifests["train"], tokenizer, whole, negatives)
    lacking = EcgTextDataset(manifests["valid"], tokenizer, whole, negatives)
    cropped = EcgTextDataset(manifests["train"], tokenizer, EcgTextOptions(crop_samples=CROP), negatives)
    order = np.random.default_rng(0).permutation(len(data))[: 8 * BATCH].tolist()
    few = (list(range(len(lacking))) * (8 * BATCH // len(lacking) + 1))[: len(order)]
    paths = {
        FLOOR: lambda: bare(data.manifest, order, reuse=True),
        ALLOCATED: lambda: bare(data.manifest, order, reuse=False),
        "net_input.ecg alone": lambda: ecgs(data, order, with_original=False),
        "net_input.ecg alone, every record lacks samples": lambda: ecgs(lacking, few, with_original=False),
        f"net_input.ecg alone, random crop to {CROP}": lambda: ecgs(cropped, order, with_original=False),
        "with ecg_original": lambda: ecgs(data, order, with_original=True),
        "with ecg_original, every record lacks samples": lambda: ecgs(lacking, few, with_original=True),
        "whole batches, with reports, negatives and masks": lambda: batches(data, order),
    }
    seconds = medians(paths, repeats)
    rates = {name: len(order) / value for name, value in seconds.items()}
    print(f"{len(data)} training records of 12 x {SAMPLES}, batch {BATCH}, one process, one thread")
    for name, rate in rates.items():
        print(f"{name:52s}{rate:10,.0f} records/s{rate / rates[FLOOR]:8.2f} of the floor")
    print(f"peak memory {peak_memory_mb():,.0f} MB")


def random_negatives(store: Path, n_reports: int) -> NegativeSampler:
    """Make a sampler with a table of 64 random reports for each: its draws cost what those of a real one do."""
    folder = store / "negatives"
    folder.mkdir()
    np.save(folder / "farthest.npy", np.random.default_rng(0).integers(0, n_reports, (n_reports, 64), dtype=np.int32))
    return NegativeSampler(np.arange(n_reports), NegativesTable(folder, {}))


def in_batches(order: list[int]) -> list[list[int]]:
    """Cut into whole batches."""
    return [order[start : start + BATCH] for start in range(0, len(order) - BATCH + 1, BATCH)]


def bare(manifest: Manifest, order: list[int], reuse: bool) -> None:
    """Read rows of a memory map into preallocated batches, and nothing else."""
    shards = sorted((manifest.store.folder / "signals").glob("*.npy"))
    rows = [np.load(path, mmap_mode="r").reshape(-1, 12, SAMPLES) for path in shards]
    step, per_shard = np.float32(0.005), len(rows[0])
    out = PREALLOCATED
    for place, index in enumerate(order):
        if not reuse and place % BATCH == 0:
            out = np.empty_like(PREALLOCATED)
        row = int(manifest.rows[index])
        np.multiply(rows[row // per_shard][row % per_shard], step, out=out[place % BATCH], dtype=np.float32)


def ecgs(data: EcgTextDataset, order: list[int], with_original: bool) -> None:
    """Make the ECGs of batches as `collater` does."""
    for indices in in_batches(order):
        samples = [data[index] for index in indices]
        data.ecg_batch(indices, [sample["ecg"] for sample in samples], with_original)


def batches(data: EcgTextDataset, order: list[int]) -> None:
    """Make whole batches."""
    for indices in in_batches(order):
        data.collater([data[index] for index in indices])


if __name__ == "__main__":
    main()
