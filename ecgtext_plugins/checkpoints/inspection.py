"""What a checkpoint is, told without building anything of it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ecgtext_plugins.atomic_files import file_sha256
from ecgtext_plugins.checkpoints.ecg_fm import training_config
from ecgtext_plugins.checkpoints.folder import WEIGHTS, is_own_folder
from ecgtext_plugins.checkpoints.locate import locate_checkpoint
from ecgtext_plugins.checkpoints.read import WEIGHTS_SUFFIX, read_source
from ecgtext_plugins.checkpoints.resume import updates_of
from ecgtext_plugins.checkpoints.safe_load import load_checkpoint_file
from ecgtext_plugins.checkpoints.source import unheeded_note
from ecgtext_plugins.checkpoints.weights import parameter_count
from ecgtext_plugins.errors import BadCheckpoint

SIZES = (
    *("in_d", "conv_feature_layers", "conv_pos", "conv_pos_groups", "encoder_layers", "encoder_embed_dim"),
    *("encoder_ffn_embed_dim", "encoder_attention_heads", "layer_norm_first", "num_labels", "final_dim"),
    *("latent_vars", "latent_groups", "hidden_dim", "num_top_layer"),
)


def inspect_checkpoint(
    path: str | Path,
    config: str | Path | None = None,
    labels: list[str] | None = None,
    allow_types: Sequence = (),
) -> dict[str, Any]:
    """Tell what a checkpoint holds; of a family that is not known here, what its tensors tell.

    Parameters
    ----------
    path, config, labels, allow_types
        As in `read.read_source`; a folder counts as the checkpoint in it.

    Returns
    -------
    dict
        ``path``, ``sha256``, ``layout``, ``family``, ``problem`` (why the family is not known, else None), ``tensors``,
        ``parameters``, ``dtypes``, ``sizes``, ``labels``, ``sample_rate``, ``n_samples``, ``standardize``, ``updates``,
        ``notes``, ``training`` (the training config).

    Raises
    ------
    BadCheckpoint
        When the file is unreadable or unsafe.
    """
    path = Path(path)
    if path.is_dir():
        path = path / WEIGHTS if is_own_folder(path) else locate_checkpoint(path)
    try:
        source = read_source(path, config=config, labels=labels, allow_types=allow_types)
    except BadCheckpoint as error:
        if path.suffix == WEIGHTS_SUFFIX or labels:
            raise
        return _unknown(path, load_checkpoint_file(path, allow_types, mmap=True), str(error))
    values = source.config["model"] | vars(source.model_config)
    return _told(path, source.weights) | {
        "layout": source.layout,
        "family": source.family,
        "problem": None,
        "sizes": {key: values[key] for key in SIZES if key in values},
        "labels": source.labels,
        "sample_rate": source.sample_rate,
        "n_samples": source.n_samples,
        "standardize": source.standardize,
        "updates": source.updates,
        "notes": [*source.notes, *(unheeded_note(key) for key in source.unheeded)],
        "training": source.config,
    }


def _unknown(path: Path, state: dict[str, Any], problem: str) -> dict[str, Any]:
    weights = state["model"] if isinstance(state.get("model"), dict) else state
    config = training_config(state)
    model = config.get("model") if isinstance(config.get("model"), dict) else {}
    return _told(path, weights) | {
        "layout": f"a dictionary of {', '.join(map(str, list(state)[:8]))}",
        "family": None,
        "problem": problem,
        "sizes": {key: model[key] for key in SIZES if key in model},
        "labels": None,
        "sample_rate": None,
        "n_samples": None,
        "standardize": None,
        "updates": updates_of(state),
        "notes": [],
        "training": config,
    }


def _told(path: Path, weights: dict[str, Any]) -> dict[str, Any]:
    tensors = {str(key): value for key, value in weights.items() if isinstance(value, Tensor)}
    return {
        "path": str(path),
        "sha256": file_sha256(path),
        "tensors": len(tensors),
        "parameters": parameter_count(tensors),
        "dtypes": dict(Counter(str(value.dtype).removeprefix("torch.") for value in tensors.values())),
    }
