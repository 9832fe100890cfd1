"""From a training checkpoint's path to a model that embeds ECGs and texts."""

import dataclasses
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from ecgtext_plugins.atomic_files import file_sha256
from ecgtext_plugins.checkpoints.safe_load import load_checkpoint_file
from ecgtext_plugins.corpora.report_text import clean_report
from ecgtext_plugins.errors import BadCheckpoint
from ecgtext_plugins.modules.dbeta import DBeta, DBetaConfig
from ecgtext_plugins.text.embedded_files import tokenizer_from_files
from ecgtext_plugins.text.encoders import build_text_encoder
from ecgtext_plugins.text.tokenization import tokenise

FAMILIES = {"dbeta": (DBetaConfig, DBeta)}
TASK_KEYS = ("text_encoder_files", "sample_rate", "n_samples")


class EcgTextModel(nn.Module):
    """A trained model with its tokenizer, rate and length.

    Attributes
    ----------
    sample_rate : float
        Hz of the ECGs it was trained on.
    n_samples : int
        Their usual length.
    config : dict
        The whole training config.
    checkpoint_sha256 : str
    """

    def __init__(self, model: nn.Module, tokenizer, config: dict, task_state: dict, checkpoint_sha256: str):
        super().__init__()
        self.model, self.tokenizer, self.config = model, tokenizer, config
        self.sample_rate, self.n_samples = float(task_state["sample_rate"]), int(task_state["n_samples"])
        self.max_text_tokens = int(config["task"]["max_text_tokens"])
        self.checkpoint_sha256 = checkpoint_sha256

    @torch.inference_mode()
    def encode_ecg(self, ecg: Tensor) -> Tensor:
        """ECG (B, 12, T) float32 in millivolt, leads I II III aVR aVL aVF V1..V6 -> features (B, D)."""
        return self.model.encode_ecg(ecg)

    @torch.inference_mode()
    def encode_text(self, texts: list[str]) -> Tensor:
        """B texts, cleaned as training reports are -> features (B, D)."""
        ids, attention = tokenise(self.tokenizer, [clean_report(text) for text in texts], self.max_text_tokens)
        device = next(self.model.parameters()).device
        return self.model.encode_text(ids.to(device), ~attention.to(device))


def load_model(path: str | Path, untrained_seed: int | None = None) -> EcgTextModel:
    """Load a training checkpoint with nothing but its path.

    Parameters
    ----------
    path : path-like
        Written by `fairseq-hydra-train`.
    untrained_seed : int, optional
        Keep the architecture and draw the initial weights anew with this seed: a control.

    Returns
    -------
    EcgTextModel, in eval mode on the CPU

    Raises
    ------
    BadCheckpoint
        When the file is unreadable, of another family, or its weights do not fit its config.
    """
    state = load_checkpoint_file(path)
    config, task_state = _parts(path, state)
    config_class, model_class = FAMILIES[config["model"]["_name"]]
    names = {field.name for field in dataclasses.fields(config_class)}
    values = {name: value for name, value in config["model"].items() if name in names}
    tokenizer = tokenizer_from_files(task_state["text_encoder_files"])
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(untrained_seed or 0)
            encoder = build_text_encoder(json.loads(task_state["text_encoder_files"]["config.json"]))
            model = model_class(config_class(**values), encoder)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadCheckpoint(f"checkpoint {path} has a config that cannot be built ({error}); train it again") from error
    if untrained_seed is None:
        _load_weights(path, model, state["model"])
    loaded = EcgTextModel(model, tokenizer, config, task_state, file_sha256(path))
    return loaded.eval().requires_grad_(False)


def _parts(path: str | Path, state: dict) -> tuple[dict, dict]:
    missing = [key for key in ("model", "cfg", "task_state") if not isinstance(state.get(key), dict)]
    if missing:
        raise BadCheckpoint(
            f"checkpoint {path} lacks {', '.join(missing)} (found: {', '.join(map(str, state)) or 'nothing'}); "
            "expected one written by fairseq-hydra-train with task=ecg_text_pretraining"
        )
    config, task_state = state["cfg"], state["task_state"]
    family = config["model"].get("_name") if isinstance(config.get("model"), dict) else None
    if family not in FAMILIES:
        raise BadCheckpoint(f"checkpoint {path} is of model '{family}', expected one of {', '.join(FAMILIES)}")
    missing = [key for key in TASK_KEYS if key not in task_state]
    if missing:
        raise BadCheckpoint(f"checkpoint {path} lacks {', '.join(missing)} in task_state; train it with this package")
    return config, task_state


def _load_weights(path: str | Path, model: nn.Module, weights: dict[str, Tensor]) -> None:
    own = model.state_dict()
    problems = [f"missing {key}" for key in own if key not in weights]
    problems += [f"unexpected {key}" for key in weights if key not in own]
    problems += [
        f"{key} has shape {tuple(value.shape)}, expected {tuple(own[key].shape)}"
        for key, value in weights.items()
        if key in own and value.shape != own[key].shape
    ]
    if problems:
        raise BadCheckpoint(
            f"checkpoint {path} does not fit its own config, {len(problems)} keys; first: {problems[0]}"
        )
    model.load_state_dict(weights, strict=True)
