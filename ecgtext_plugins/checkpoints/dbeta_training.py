"""Training checkpoints of D-BETA written here: they carry their config, text encoder and rate."""

import json
from pathlib import Path
from typing import Any

from ecgtext_plugins.checkpoints.networks import DBETA, FAMILIES, model_config
from ecgtext_plugins.checkpoints.resume import updates_of
from ecgtext_plugins.checkpoints.source import TRAINING, Source
from ecgtext_plugins.errors import BadCheckpoint

TASK_KEYS = ("text_encoder_files", "sample_rate", "n_samples")


def read_training(path: Path, state: dict[str, Any]) -> Source:
    """Read a checkpoint of `fairseq-hydra-train` with task=ecg_text_pretraining.

    Raises
    ------
    BadCheckpoint
        When parts of it are missing, or it is of another model.
    """
    config, task_state = _parts(path, state)
    return Source(
        family=DBETA,
        layout=TRAINING,
        model_config=model_config(DBETA, config["model"]),
        config=config,
        sample_rate=float(task_state["sample_rate"]),
        n_samples=int(task_state["n_samples"]),
        text_config=json.loads(task_state["text_encoder_files"]["config.json"]),
        text_files=task_state["text_encoder_files"],
        weights=state["model"],
        updates=updates_of(state),
    )


def _parts(path: Path, state: dict) -> tuple[dict, dict]:
    missing = [key for key in ("model", "cfg", "task_state") if not isinstance(state.get(key), dict)]
    if missing:
        raise BadCheckpoint(
            f"checkpoint {path} lacks {', '.join(missing)} (found: {', '.join(map(str, state)) or 'nothing'}); "
            "expected one written by fairseq-hydra-train here or by fairseq-signals, or D-BETA's released weights"
        )
    config, task_state = state["cfg"], state["task_state"]
    family = config["model"].get("_name") if isinstance(config.get("model"), dict) else None
    if family != DBETA:
        raise BadCheckpoint(f"checkpoint {path} is of model '{family}', expected one of {', '.join(FAMILIES)}")
    missing = [key for key in TASK_KEYS if key not in task_state]
    if missing:
        raise BadCheckpoint(f"checkpoint {path} lacks {', '.join(missing)} in task_state; train it with this package")
    return config, task_state
