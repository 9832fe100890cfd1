"""The main job: `ecgtext demo` from nothing, again, and whether the model learns."""

import json
import os
import subprocess
import sys

import pytest


def demo(out, *arguments):
    command = [sys.executable, "-m", "ecgtext_plugins.cli.main", "demo", "--out", str(out), "--json", *arguments]
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}  # all cores
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=env)


@pytest.mark.slow
def test_short_demo_with_controls_and_second_run(tmp_path):
    first = demo(tmp_path / "demo", "--records", "520", "--max-update", "3", "--controls")
    assert first.returncode == 0, first.stderr[-3000:]
    result = json.loads(first.stdout.splitlines()[-1])
    assert set(result["macro_auroc"]) == {"trained", "untrained", "shuffled"}
    for path in result["files"].values():
        assert (tmp_path / path).stat().st_size > 1000
    again = demo(tmp_path / "demo", "--records", "520", "--max-update", "3", "--controls")
    assert again.returncode == 0 and again.stdout.count("already trained for 3 updates") == 2
    assert json.loads(again.stdout.splitlines()[-1]) == result
    other = demo(tmp_path / "demo", "--records", "100", "--max-update", "3")
    assert other.returncode == 1 and other.stderr.strip().splitlines()[-1].startswith("ecgtext: error: step 1")


@pytest.mark.slow
def test_the_demo_learns(tmp_path):
    """On held-out patients; both controls stay at chance."""
    done = demo(tmp_path / "demo", "--controls")
    assert done.returncode == 0, done.stderr[-3000:]
    macro = json.loads(done.stdout.splitlines()[-1])["macro_auroc"]
    assert macro["trained"] >= 0.80
    assert abs(macro["untrained"] - 0.5) <= 0.10
    assert abs(macro["shuffled"] - 0.5) <= 0.10
