"""Seconds and memory of the searches for negatives, and of drawing: `python tests/benchmarks/negatives.py`.

Vectors are random and isotropic. The floor is the multiplication that every exact search needs, in blocks, by torch; a
part of it is timed right before and right after each search, and scaled up.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from timing import medians, peak_memory_mb

from ecgtext_plugins.negatives.band import band_candidates
from ecgtext_plugins.negatives.capped import capped_candidates
from ecgtext_plugins.negatives.farthest import farthest_candidates
from ecgtext_plugins.negatives.sampler import STRATEGIES, NegativeSampler
from ecgtext_plugins.negatives.table import NegativesTable

BATCH, DRAWS = 128, 200
FLOOR_ROWS, FLOOR_BLOCKS = 256, 40
SEARCHES = {
    "farthest": "farthest, exact (faiss)",
    "capped": "farthest with a hub cap of 10 k",
    "band": "band 0.5,0.9",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reports", type=int, default=180_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--k", type=int, default=64)
    parser.add_argument(
        "--searches", default="farthest", help="of farthest,capped,band, with commas (default: %(default)s)"
    )
    parser.add_argument("--search", choices=SEARCHES, help="do this one in this process, and print seconds and MB")
    args = parser.parse_args()
    if args.search:
        print(*measure(args))
        return
    report_draws(args.reports, args.k)
    report_searches(args)


def report_searches(args: argparse.Namespace) -> None:
    """Run each search in a process of its own, so that each has its own peak memory."""
    print(f"{args.reports:,} x {args.width}, k={args.k}, {torch.get_num_threads()} threads")
    same = [f"--{name}={value}" for name, value in vars(args).items() if name not in ("searches", "search")]
    for name in args.searches.split(","):
        command = [sys.executable, __file__, *same, f"--search={name}"]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        seconds, floor, memory, before = (float(word) for word in output)
        print(
            f"{SEARCHES[name]:32s}{seconds:8.1f} s, floor {floor:.1f} s: {seconds / floor:.2f} of the floor; ", end=""
        )
        print(f"peak memory {memory:,.0f} MB, {before:,.0f} of it before the search")


def measure(args: argparse.Namespace) -> tuple[float, float, float, float]:
    """Return the seconds of one search and of the floor, this process's peak memory, and that before the search."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((args.reports, args.width), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    candidates, k = np.arange(args.reports), args.k
    before, floor = peak_memory_mb(), multiply(vectors)
    began = time.perf_counter()
    if args.search == "farthest":
        farthest_candidates(vectors, candidates, k)
    elif args.search == "capped":
        capped_candidates(vectors, candidates, k, 10 * k)
    else:
        band_candidates(vectors, candidates, k, 0.5, 0.9)
    seconds = time.perf_counter() - began
    return seconds, (floor + multiply(vectors)) / 2, peak_memory_mb(), before


def multiply(vectors: np.ndarray) -> float:
    """Return the seconds that multiplying all vectors with all takes, from some blocks, into the same memory."""
    everything = torch.from_numpy(vectors)
    blocks = everything.split(FLOOR_ROWS)[:FLOOR_BLOCKS]
    out = torch.empty(FLOOR_ROWS, len(vectors))
    torch.mm(blocks[0], everything.T, out=out[: len(blocks[0])])  # to warm up
    began = time.perf_counter()
    for block in blocks:
        torch.mm(block, everything.T, out=out[: len(block)])
    return (time.perf_counter() - began) * len(vectors) / sum(map(len, blocks))


def report_draws(n_reports: int, k: int) -> None:
    """Print what drawing for a batch costs, from tables of random reports."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("farthest", "band"):
            np.save(Path(folder) / f"{name}.npy", rng.integers(0, n_reports, (n_reports, k), dtype=np.int32))
        table = NegativesTable(Path(folder), {"band": {"low": 0.5, "high": 0.9}})
        own, uniforms = rng.integers(0, n_reports, BATCH), rng.random((BATCH, 3))
        samplers = {name: NegativeSampler(np.arange(n_reports), table, name) for name in STRATEGIES}
        seconds = medians({name: lambda s=sampler: draw(s, own, uniforms) for name, sampler in samplers.items()}, 15)
    for name, value in seconds.items():
        print(f"draw {name:9s} for a batch of {BATCH}{1000 * value / DRAWS:9.3f} ms")


def draw(sampler: NegativeSampler, own: np.ndarray, uniforms: np.ndarray) -> None:
    for epoch in range(DRAWS):
        sampler.draw(own, uniforms, epoch)


if __name__ == "__main__":
    main()
