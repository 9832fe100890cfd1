"""The figures of speed, on a clock that the test sets."""

import pytest
import torch

from ecgtext_plugins.tasks import _step_clock
from ecgtext_plugins.tasks._step_clock import StepClock, matrix_rate


def test_rates_and_waiting(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(_step_clock.time, "perf_counter", lambda: now[0])
    clock = StepClock()

    def slow():
        for item in range(3):
            now[0] += 1.0  # the next batch takes a second to come
            yield item

    for _ in clock.waiting(slow()):
        now[0] += 3.0  # and the step three
        clock.add(8)
    assert clock.read() == pytest.approx({"ecg_per_s": 24 / 12, "data_wait": 3 / 12})
    now[0] += 2.0
    clock.add(6)
    assert clock.read() == pytest.approx({"ecg_per_s": 3.0, "data_wait": 0.0})


def test_counted_operations():
    clock, a = StepClock(), torch.randn(16, 32)
    weight = torch.randn(32, 8, requires_grad=True)
    clock.flops_per_ecg = 0.0
    monkey = _step_clock.MATRIX
    try:
        _step_clock.MATRIX = 64
        clock.counting(lambda: (a @ weight).sum().backward(), 4, torch.device("cpu"))
    finally:
        _step_clock.MATRIX = monkey
    assert clock.flops_per_ecg == 2 * (2 * 16 * 32 * 8) / 4  # forward, and the weight's gradient
    clock.add(4)
    assert clock.read()["mfu"] > 0
    assert matrix_rate(torch.device("cpu"), 64, repeats=2) > 0
