"""A disk that is full in the middle of a build: told by name, nothing half done looks whole, the build continues."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import builders

CHECKOUT = Path(__file__).parents[2]
# RLIMIT_FSIZE makes a write beyond the limit fail with EFBIG, as a full disk makes it fail with ENOSPC.
COMMAND = "import sys; from ecgtext_plugins.cli.main import main; sys.exit(main())"


def build(arguments, largest_file=None):
    def limit():
        if largest_file is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))

    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", COMMAND, *arguments]
    return subprocess.run(command, env=environment, preexec_fn=limit, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("largest_file", [100, 30_000, 120_200])
def test_a_write_that_the_system_refuses(tmp_path, largest_file):
    builders.write_mimic_tree(tmp_path / "raw", 11, seed=5, n_samples=1000)
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(builders.demo_recipe()))
    command = ["manifest", "build", str(recipe), "--raw", str(tmp_path / "raw"), "--json", "--workers", "1", "--dest"]
    assert build([*command, str(tmp_path / "whole")]).returncode == 0
    data = tmp_path / "data"
    refused = build([*command, str(data)], largest_file)
    if largest_file < 120_128:  # a shard of five records
        assert refused.returncode == 1 and "File too large" in refused.stderr and str(data) in refused.stderr
        assert "run the same command again" in refused.stderr and "Traceback" not in refused.stderr
        assert not (data / "corpus.json").exists()
        marked = {path.stem for path in (data / "signals").glob("*.done")}
        assert marked <= {path.stem for path in (data / "signals").glob("*.npy")}
    else:
        assert refused.returncode == 0
    finished = build([*command, str(data)])
    assert finished.returncode == 0 and json.loads(finished.stdout)["counts"]["kept"] == 11
    assert builders.tree_digest(data) == builders.tree_digest(tmp_path / "whole")
