"""Beginning a model's training from the ECG encoder of a checkpoint."""

import copy
import logging
from typing import Any

from torch import nn

from ecgtext_plugins.errors import BadConfig

logger = logging.getLogger(__name__)


def chosen_encoder_path(cfg) -> str | None:
    """Return the checkpoint that the keys `encoder_path`, `model_path` and `no_pretrained_weights` name, or None.

    Not every model has the last two, which are fairseq-signals'.

    Raises
    ------
    BadConfig
        When two of them name different ones.
    """
    model_path = getattr(cfg, "model_path", None)
    paths = {str(path) for path in (cfg.encoder_path, model_path) if path}
    if len(paths) > 1:
        raise BadConfig(
            f"model.encoder_path={cfg.encoder_path} and model.model_path={model_path} differ: expected one of them"
        )
    return None if getattr(cfg, "no_pretrained_weights", False) or not paths else paths.pop()


def load_encoder(model: nn.Module, cfg) -> None:
    """Copy the ECG encoder of the chosen checkpoint into `model`, and log what was taken."""
    path = chosen_encoder_path(cfg)
    if path is None:
        return
    from ecgtext_plugins.checkpoints.encoder_weights import load_ecg_encoder

    logger.info(load_ecg_encoder(model, path).summary())


def without_encoder_path(cfg: Any) -> Any:
    """Return a copy of a model's config that begins from no other checkpoint."""
    cfg = copy.copy(cfg)
    for key in ("encoder_path", "model_path"):
        if getattr(cfg, key, None) is not None:
            setattr(cfg, key, None)
    return cfg
