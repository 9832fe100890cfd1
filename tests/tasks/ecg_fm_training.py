"""Runs of ECG-FM's recipes with the stock fairseq-hydra-train, on a tiny encoder."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from ecgtext_plugins.checkpoints.safe_load import load_checkpoint_file

ROOT = Path(__file__).resolve().parents[2]
RECIPES = {
    "pretraining": ROOT / "examples/ecg_fm/pretraining/w2v_cmsc_rlm.yaml",
    "diagnosis": ROOT / "examples/ecg_fm/finetuning/diagnosis.yaml",
    "identification": ROOT / "examples/ecg_fm/finetuning/identification.yaml",
}
ENCODER = {
    "conv_feature_layers": "'[(32, 2, 2)] * 4'",
    "encoder_layers": 2,
    "encoder_embed_dim": 48,
    "encoder_ffn_embed_dim": 96,
    "encoder_attention_heads": 4,
    "conv_pos": 16,
    "conv_pos_groups": 4,
}
TINY = [f"model.{key}={value}" for key, value in ENCODER.items()]
OF_PRETRAINING = ["model.final_dim=16", "model.latent_vars=20", "model.num_negatives=20"]
SMALL_BATCHES = ["dataset.batch_size=8", "dataset.batch_size_valid=8", "dataset.num_workers=0", "common.log_interval=1"]


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def command(recipe: str, data, out, *overrides) -> list[str]:
    """Return the command of a recipe with the manifests in `data` and everything of the run below `out`."""
    path = RECIPES[recipe]
    options = ["--config-dir", str(path.parent), "--config-name", path.stem, f"task.data={data}"]
    own = OF_PRETRAINING if recipe == "pretraining" else []
    return [program("fairseq-hydra-train"), *options, f"hydra.run.dir={out}", *TINY, *own, *SMALL_BATCHES, *overrides]


def run(words: list[str], **options) -> subprocess.CompletedProcess:
    return subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)


def trained(recipe: str, data, out, *overrides) -> dict:
    """Run a recipe that must succeed; return the state of its last checkpoint."""
    done = run(command(recipe, data, out, *overrides))
    assert done.returncode == 0, done.stderr[-3000:]
    return load_checkpoint_file(Path(out) / "checkpoint_last.pt")


def on_two(words: list[str]) -> list[str]:
    """Return the command on two processes that talk through gloo."""
    return [program("torchrun"), "--nproc_per_node", "2", "--master_port", "29741", *words]


def last_line(done: subprocess.CompletedProcess) -> str:
    return done.stderr.strip().splitlines()[-1]


def metrics_rows(folder) -> list[dict[str, str]]:
    path = Path(folder) / "metrics.csv"
    if not path.exists():
        return []
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def killed(words: list[str], out, updates: int) -> None:
    """Start a run and kill -9 it, with all of its workers, after so many updates."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if any(int(row["num_updates"] or 0) >= updates for row in metrics_rows(out)):
            break
        time.sleep(0.01)
    assert process.poll() is None, "training ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def assert_same_run(one, other) -> None:
    """Parameters are the same bit for bit, metrics.csv is line for line."""
    ours, theirs = (load_checkpoint_file(Path(folder) / "checkpoint_last.pt")["model"] for folder in (one, other))
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []
    assert metrics_rows(one) == metrics_rows(other)
