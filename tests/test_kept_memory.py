"""Freed memory stays with the process."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from ecgtext_plugins.kept_memory import keep_freed_memory

signals = torch.ones(16_000_000)

def faults(repeats):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(repeats):
        signals + 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(1)
churned, told = faults(10), keep_freed_memory()
faults(1)
print(told, churned, faults(10))
"""


def _run(**more: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    program = [sys.executable, "-c", PROGRAM]
    return subprocess.run(program, env=environment | more, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_memory_that_was_freed_is_not_fetched_again():
    told, churned, kept = _run()
    assert told == "True"
    assert int(kept) < int(churned) / 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_the_users_own_settings_stay():
    assert _run(MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"
