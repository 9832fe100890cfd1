"""Timing that stands other load: repeats of all functions interleaved, medians."""

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def medians(functions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Call every function once to warm up, then all of them in turn `repeats` times; return median seconds by name."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            taken[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in taken.items()}


def peak_memory_mb() -> float:
    """Most memory that this process has held so far, in 10^6 bytes; Linux only."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):  # ru_maxrss would begin with that of the process that started this one
            return int(line.split()[1]) * 1024 / 1e6
    return float("nan")
