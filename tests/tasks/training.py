"""Runs of the stock fairseq-hydra-train on a tiny model."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "model.conv_feature_layers='[(16, 2, 2)] * 4'",
    "model.conv_pos=8",
    "model.conv_pos_groups=4",
    "model.encoder_layers=1",
    "model.encoder_embed_dim=32",
    "model.encoder_ffn_embed_dim=64",
    "model.hidden_dim=32",
    "model.num_top_layer=1",
    "model.mem_layer=1",
    "model.mem_decoder_hidden_dim=16",
    "dataset.batch_size=8",
    "common.log_interval=1",
    "dataset.validate_interval_updates=0",
]


def training_command(data, out, *overrides, recipe=ROOT / "examples/dbeta/pretraining/demo.yaml"):
    return [
        str(Path(sys.executable).with_name("fairseq-hydra-train")),
        "--config-dir",
        str(recipe.parent),
        "--config-name",
        recipe.stem,
        f"task.data={data}/manifests",
        f"hydra.run.dir={out}",
        *TINY,
        *overrides,
    ]


def train(data, out, *overrides, **recipe):
    return subprocess.run(
        training_command(data, out, *overrides, **recipe), capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
