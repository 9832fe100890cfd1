"""How fast training goes: ECGs a second, the share of time spent waiting for data, and of the card's matrix rate."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

MATRIX = 8192


class StepClock:
    """Counts between two readings."""

    def __init__(self):
        self.flops_per_ecg, self.peak_flops = 0.0, 0.0
        self._restart()

    def _restart(self) -> None:
        self._since, self._waited, self._ecgs = time.perf_counter(), 0.0, 0

    def waiting(self, iterator: Iterator) -> Iterator:
        """Pass an iterator's items on and note how long each takes to come."""
        while True:
            began = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self._waited += time.perf_counter() - began
            yield item

    def add(self, ecgs: int) -> None:
        """Count the ECGs of a step."""
        self._ecgs += ecgs

    def counting(self, step: Callable[[], Any], ecgs: int, device: torch.device) -> Any:
        """Run the first step on a GPU and count the floating-point operations of its products, backward included."""
        with FlopCounterMode(display=False) as counter:
            result = step()
        self.flops_per_ecg = counter.get_total_flops() / ecgs
        self.peak_flops = matrix_rate(device, MATRIX)
        self._restart()
        return result

    def read(self) -> dict[str, float]:
        """Return the figures since the last reading, and begin anew."""
        elapsed = time.perf_counter() - self._since
        values = {"ecg_per_s": self._ecgs / elapsed, "data_wait": self._waited / elapsed}
        if self.peak_flops:
            values["mfu"] = values["ecg_per_s"] * self.flops_per_ecg / self.peak_flops
        self._restart()
        return values


def matrix_rate(device: torch.device, size: int, repeats: int = 10) -> float:
    """Measure a device's rate for square bfloat16 products, in floating-point operations a second."""
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)

    def seconds(count: int) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        began = time.perf_counter()
        for _ in range(count):
            a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    seconds(2)
    return 2.0 * size**3 * repeats / seconds(repeats)
