"""torchrun with two gloo processes on the CPU: the run of one process with batches twice as large."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.tasks.training import train, training_command

SAME = (
    *("optimization.max_update=4", "dataset.disable_validation=true", "checkpoint.save_interval_updates=4"),
    *("dataset.batch_size=4", "optimization.lr=[1e-3]"),
)
MEM_ALONE = ("criterion.mlm_weight=0", "criterion.etm_weight=0", "criterion.ets_weight=0")  # it has no pairs of rows


def rows(out):
    with open(out / "metrics.csv", newline="") as handle:
        return list(csv.DictReader(handle))


def run_two(data, out, *overrides):
    torchrun = [str(Path(sys.executable).with_name("torchrun")), "--nproc_per_node", "2", "--master_port", "29731"]
    command = training_command(data, out, "run_config=torchrun", *SAME, *overrides)
    done = subprocess.run([*torchrun, *command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(out / "checkpoint_last.pt", weights_only=True)["model"]


def test_two_processes_train_as_one_that_sees_both_batches(demo_data, tmp_path):
    two = run_two(demo_data, tmp_path / "two", *MEM_ALONE)
    done = train(demo_data, tmp_path / "one", "optimization.update_freq=[2]", *SAME, *MEM_ALONE)
    assert done.returncode == 0, done.stderr[-3000:]
    one = torch.load(tmp_path / "one/checkpoint_last.pt", weights_only=True)["model"]
    trained = [name for name in one if name.startswith(("ecg_encoder.", "mim_head.", "class_embedding"))]
    assert len(trained) > 30
    for name in trained:  # legacy_ddp gives zero gradients to unused weights, which then decay; one process leaves them
        assert torch.allclose(two[name], one[name], atol=1e-5), name
    losses = [[float(row["mem_loss"]) for row in rows(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_all_losses_with_neighbour_exchange(demo_data, tmp_path):
    weights = run_two(demo_data, tmp_path / "two", "criterion.ets_exchange=neighbour", "task.nonfinite=skip")
    assert all(torch.isfinite(weight).all() for weight in weights.values())
    found = rows(tmp_path / "two")
    assert [row["num_updates"] for row in found] == ["1", "2", "3", "4"]
    assert all(row[name] for row in found for name in ("mlm_loss", "mem_loss", "etm_loss", "ets_loss", "gnorm"))
