"""The released D-BETA checkpoints: weights and nothing else, their sizes read off the shapes."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from ecgtext_plugins.checkpoints.source import RELEASE, Source
from ecgtext_plugins.errors import BadCheckpoint
from ecgtext_plugins.modules.dbeta_config import DBetaConfig

SAMPLE_RATE, N_SAMPLES, MAX_TEXT_TOKENS = 500.0, 5000, 254
HEADS_KEY = "encoder_attention_heads"
HEAD_WIDTH = 64  # of every attention of the release; shapes do not tell it
DROPPED = ("ecg_encoder.mask_emb",)
SIGNS = ("ecg_encoder.", "multi_modal_ecg_proj.")
CONFIG_FILE = "config.json"
T5_BLOCK = "language_encoder.encoder.block.0.layer"


def is_release(state: dict[str, Any]) -> bool:
    """Tell a release from a training checkpoint: D-BETA's weights under ``model``, without a training config."""
    weights, config = state.get("model"), state.get("cfg")
    if not isinstance(weights, dict) or "task_state" in state or (isinstance(config, dict) and "model" in config):
        return False
    return all(any(str(key).startswith(sign) for key in weights) for sign in SIGNS)


def release_weights(state: dict[str, Any]) -> dict[str, Tensor]:
    """Return the state dict without what the release itself drops."""
    return {key: value for key, value in state["model"].items() if key not in DROPPED}


def release_config(path: Path, weights: dict[str, Tensor], given: str | Path | dict | None = None) -> DBetaConfig:
    """Sizes from the weights' shapes; values of a config come before them.

    Parameters
    ----------
    path : Path
        Of the checkpoint; a config.json beside it is read when none is given.
    weights : dict of Tensor
    given : path-like or dict, optional
        The release's config.json: values under ``model``, or without that level.

    Raises
    ------
    BadCheckpoint
        When a weight is missing that sizes are read from, the config cannot be read, or the heads are not known.
    """
    beside = path.parent / CONFIG_FILE
    if given is None and beside.is_file():
        given = beside
    told = {} if given is None else _config_values(given)
    values = _ShapeReader(path, weights).sizes() | told
    for key, width in (
        (HEADS_KEY, "encoder_embed_dim"),
        ("num_heads", "hidden_dim"),
        ("mem_decoder_num_heads", "mem_decoder_hidden_dim"),
    ):
        if key not in values and width in values:
            if values[width] % HEAD_WIDTH:
                raise BadCheckpoint(
                    f"checkpoint {path} does not tell {key}, and {width}={values[width]} is no multiple of "
                    f"{HEAD_WIDTH}, the release's width of a head; give config=, the config.json that came with it"
                )
            values[key] = values[width] // HEAD_WIDTH
    return DBetaConfig(**values)


def release_text_config(path: Path, weights: dict[str, Tensor]) -> dict[str, Any]:
    """Return the T5 encoder's config, read off its weights."""
    shapes = _ShapeReader(path, weights)
    vocabulary, width = shapes.of("language_encoder.shared.weight", 2)
    buckets, heads = shapes.of(f"{T5_BLOCK}.0.SelfAttention.relative_attention_bias.weight", 2)
    gated = f"{T5_BLOCK}.1.DenseReluDense.wi_0.weight" in weights
    return {
        "model_type": "t5",
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": shapes.of(f"{T5_BLOCK}.0.SelfAttention.q.weight", 2)[0] // heads,
        "d_ff": shapes.of(f"{T5_BLOCK}.1.DenseReluDense.wo.weight", 2)[1],
        "num_layers": shapes.count(r"language_encoder\.encoder\.block\.(\d+)\."),
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
        "feed_forward_proj": "gated-gelu" if gated else "relu",
        "tie_word_embeddings": False,
    }


def read_release(path: Path, state: dict[str, Any], config: str | Path | dict | None, ecg_only: bool) -> Source:
    """Read a released checkpoint of D-BETA; `config` as in :func:`release_config`.

    Raises
    ------
    BadCheckpoint
        As :func:`release_config`, and when the text encoder's sizes cannot be read.
    """
    weights = release_weights(state)
    model_config = release_config(path, weights, config)
    return Source(
        family="dbeta",
        layout=RELEASE,
        model_config=model_config,
        config={
            "model": {"_name": "dbeta", **dataclasses.asdict(model_config)},
            "task": {"max_text_tokens": MAX_TEXT_TOKENS},
        },
        sample_rate=SAMPLE_RATE,
        n_samples=N_SAMPLES,
        text_config=None if ecg_only else release_text_config(path, weights),
        weights=weights,
    )


class _ShapeReader:
    """Sizes of a network from its state dict."""

    def __init__(self, path: Path, weights: dict[str, Tensor]):
        self.path, self.weights = path, weights

    def of(self, key: str, dimensions: int) -> tuple[int, ...]:
        """Return the shape of a weight."""
        if key not in self.weights:
            raise BadCheckpoint(
                f"checkpoint {self.path} lacks {key}, from which sizes are read: expected a state dict of D-BETA "
                "under the key model; download it again"
            )
        shape = tuple(getattr(self.weights[key], "shape", ()))
        if len(shape) != dimensions or 0 in shape:
            raise BadCheckpoint(
                f"checkpoint {self.path}: {key} has shape {shape}, expected {dimensions} dimensions; download it again"
            )
        return shape

    def count(self, pattern: str) -> int:
        """Return one more than the highest number that stands where the pattern has its group."""
        found = (re.match(pattern, str(key)) for key in self.weights)
        return 1 + max((int(match[1]) for match in found if match), default=-1)

    def sizes(self) -> dict[str, Any]:
        """Return all keys of `DBetaConfig` that shapes tell; of an ECG tower alone, its own."""
        encoder = "ecg_encoder"
        convolution = f"{encoder}.feature_extractor.conv_layers"
        n_conv = self.count(rf"{re.escape(convolution)}\.(\d+)\.")
        kernels = [self.of(f"{convolution}.{place}.0.weight", 3) for place in range(n_conv)]
        width = self.of(f"{encoder}.post_extract_proj.weight", 2)[0]
        _, group_width, kernel = self.of(f"{encoder}.conv_pos.pos_conv.0.weight_v", 3)
        values = {
            "in_d": self.of(f"{convolution}.0.0.weight", 3)[1],
            # strides are the kernels' lengths: frames do not overlap
            "conv_feature_layers": str([(channels, length, length) for channels, _, length in kernels]),
            "conv_bias": f"{convolution}.0.0.bias" in self.weights,
            "conv_pos": kernel,
            "conv_pos_groups": max(1, width // group_width),
            "encoder_layers": self.count(rf"{encoder}\.encoder\.layers\.(\d+)\."),
            "encoder_embed_dim": width,
            "encoder_ffn_embed_dim": self.of(f"{encoder}.encoder.layers.0.fc1.weight", 2)[0],
            "hidden_dim": self.of("multi_modal_ecg_proj.weight", 2)[0],
        }
        fusion = self.count(r"multi_modal_ecg_layers\.(\d+)\.")
        if fusion:
            values |= {"num_top_layer": fusion, "mem_layer": min(DBetaConfig.mem_layer, fusion)}
        if any(str(key).startswith("mim_head.") for key in self.weights):
            values["mem_decoder_hidden_dim"] = self.of("mim_head.decoder_embed.weight", 2)[0]
            values["mem_decoder_num_layers"] = self.count(r"mim_head\.decoder\.resblocks\.(\d+)\.")
        return values


def _config_values(given: str | Path | dict) -> dict[str, Any]:
    """Return the values of a release's config that D-BETA here knows."""
    found = given
    if not isinstance(given, dict):
        try:
            found = json.loads(Path(given).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadCheckpoint(
                f"config {given} cannot be read ({error}): expected the release's config.json"
            ) from error
    values = found.get("model", found) if isinstance(found, dict) else None
    names = {field.name for field in dataclasses.fields(DBetaConfig)}
    if not isinstance(values, dict) or HEADS_KEY not in values:  # other config.json files have num_heads too
        source = "given" if isinstance(given, dict) else given
        raise BadCheckpoint(
            f"config {source} has no {HEADS_KEY}: expected the release's config.json, which has it under the key "
            "model; give that one with config="
        )
    return {key: value for key, value in values.items() if key in names}
