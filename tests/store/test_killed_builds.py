import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests import builders

CHECKOUT = Path(__file__).parents[2]
COMMAND = "import sys; from ecgtext_plugins.cli.main import main; sys.exit(main())"
# A build that kills itself at its n-th rename, before or after it.
KILLED = """
import os, signal, sys
from ecgtext_plugins import atomic_files
from ecgtext_plugins.cli.main import main
point, when, count = int(sys.argv.pop(1)), sys.argv.pop(1), 0
replace = os.replace
def counting(source, target):
    global count
    count += 1
    if count == point and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
    if count == point:
        os.kill(os.getpid(), signal.SIGKILL)
atomic_files.os.replace = counting
sys.exit(main())
"""


@pytest.fixture
def job(tmp_path):
    builders.write_mimic_tree(tmp_path / "raw", 12, seed=5, n_samples=1000)
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(builders.demo_recipe(sample_rate=100, records_per_shard=4)))
    return ["manifest", "build", str(recipe), "--raw", str(tmp_path / "raw"), "--json", "--workers"]


def run(code: str, *arguments: str, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, **options)


def whole(tmp_path, job) -> dict[str, str]:
    assert run(COMMAND, *job, "1", "--dest", str(tmp_path / "whole")).returncode == 0
    return builders.tree_digest(tmp_path / "whole")


def test_killed_at_several_points_the_build_resumes_and_ends_byte_identical(tmp_path, job):
    """Renames: the plan; four a shard, of three; three tables, three manifests, checksums.json, corpus.json."""
    expected = whole(tmp_path, job)
    data = tmp_path / "data"
    for point, when in [(3, "after"), (4, "before"), (9, "before"), (8, "before")]:
        killed = run(KILLED, str(point), when, *job, "1", "--dest", str(data))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (data / "corpus.json").exists()
    killed = run(KILLED, "8", "after", *job, "1", "--dest", str(data))  # the last rename: corpus.json's
    assert killed.returncode == -signal.SIGKILL and (data / "corpus.json").exists()
    finished = run(COMMAND, *job, "1", "--dest", str(data))
    assert finished.returncode == 0 and '"was_finished": true' in finished.stdout
    assert builders.tree_digest(data) == expected


@pytest.mark.slow
def test_every_single_rename_is_a_safe_place_to_die(tmp_path, job):
    expected = whole(tmp_path, job)
    for point in range(1, 22):
        for when in ("before", "after"):
            data = tmp_path / f"data-{point}-{when}"
            assert run(KILLED, str(point), when, *job, "1", "--dest", str(data)).returncode == -signal.SIGKILL
            assert run(COMMAND, *job, "1", "--dest", str(data)).returncode == 0
            assert builders.tree_digest(data) == expected


@pytest.mark.slow
def test_killed_twenty_times_at_random_with_four_workers(tmp_path):
    raw, recipe = tmp_path / "raw", tmp_path / "tiny.yaml"
    builders.write_mimic_tree(raw, 400, seed=6, n_samples=5000)
    recipe.write_text(yaml.safe_dump(builders.demo_recipe(seconds=10, records_per_shard=20)))
    job = ["manifest", "build", str(recipe), "--raw", str(raw), "--json", "--workers"]
    began = time.monotonic()
    assert run(COMMAND, *job, "4", "--dest", str(tmp_path / "whole")).returncode == 0
    took = time.monotonic() - began
    rng = np.random.default_rng(7)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    data, kills = tmp_path / "data", 0
    for _ in range(20):
        command = [sys.executable, "-c", COMMAND, *job, "4", "--dest", str(data)]
        build = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(took * rng.uniform(0.3, 0.95))
        build.kill()  # the parent alone: its workers must end by themselves
        kills += build.wait() == -signal.SIGKILL
        build.stderr.close()
    finished = run(COMMAND, *job, "4", "--dest", str(data))
    assert finished.returncode == 0, finished.stderr
    assert kills >= 1
    time.sleep(2)
    assert builders.tree_digest(data) == builders.tree_digest(tmp_path / "whole")


def test_ctrl_c_ends_with_130_and_the_same_command_continues(tmp_path, job):
    """The whole group gets the signal, as it does from a terminal."""
    builders.write_mimic_tree(tmp_path / "raw", 60, seed=5, n_samples=5000)
    job[2] = str(tmp_path / "slow.yaml")
    Path(job[2]).write_text(yaml.safe_dump(builders.demo_recipe(seconds=10, records_per_shard=1, sample_rate=257)))
    expected = whole(tmp_path, job)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", COMMAND, *job, "2", "--dest", str(tmp_path / "data")]
    build = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not list((tmp_path / "data" / "signals").glob("*.done")):
        time.sleep(0.01)
        assert build.poll() is None
    os.killpg(build.pid, signal.SIGINT)
    said = build.communicate(timeout=60)[1]
    assert build.returncode == 130 and "same command" in said and "Traceback" not in said, said
    assert not (tmp_path / "data" / "corpus.json").exists()
    assert run(COMMAND, *job, "2", "--dest", str(tmp_path / "data")).returncode == 0
    assert builders.tree_digest(tmp_path / "data") == expected
