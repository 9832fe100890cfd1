"""From a checkpoint's path to a model that embeds ECGs and texts."""

import dataclasses
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ecgtext_plugins.atomic_files import file_sha256
from ecgtext_plugins.checkpoints import dbeta_release
from ecgtext_plugins.checkpoints.locate import locate_checkpoint
from ecgtext_plugins.checkpoints.safe_load import load_checkpoint_file
from ecgtext_plugins.checkpoints.weights import load_weights
from ecgtext_plugins.corpora.report_text import clean_report
from ecgtext_plugins.errors import BadCheckpoint, TextEncoderUnavailable
from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.modules.ecg_tower import EcgTower
from ecgtext_plugins.text.embedded_files import tokenizer_from_files
from ecgtext_plugins.text.encoders import build_text_encoder, load_tokenizer
from ecgtext_plugins.text.tokenization import check_vocabulary, tokenise

FAMILIES = {"dbeta": (DBetaConfig, DBeta, EcgTower)}
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
        The whole training config; of a released checkpoint, the values of the model and of its texts.
    checkpoint_sha256 : str
        Of the file; for an ECG tower alone it is computed when first asked for.
    """

    def __init__(self, model: nn.Module, source: "_Source", path: Path, tokenizer: Any, no_text: str):
        super().__init__()
        self.model, self.tokenizer, self.config = model, tokenizer, source.config
        self.sample_rate, self.n_samples = source.sample_rate, source.n_samples
        self.max_text_tokens = int(source.config["task"]["max_text_tokens"])
        self._path, self._version, self._no_text = path, _version(path), no_text

    @functools.cached_property
    def checkpoint_sha256(self) -> str:
        """SHA-256 of the checkpoint file; refused when another was written in its place."""
        if not self._path.is_file() or _version(self._path) != self._version:
            raise BadCheckpoint(
                f"checkpoint {self._path} has changed since it was loaded, so it has no digest of this model; load it "
                "again, from a copy when training goes on"
            )
        return file_sha256(self._path)

    @torch.inference_mode()
    def encode_ecg(self, ecg: Tensor) -> Tensor:
        """ECG (B, 12, T) float32 in millivolt, leads I II III aVR aVL aVF V1..V6 -> features (B, D)."""
        return self.model.encode_ecg(ecg)

    @torch.inference_mode()
    def encode_text(self, texts: list[str]) -> Tensor:
        """B texts, cleaned as training reports are -> features (B, D).

        Raises
        ------
        TextEncoderUnavailable
            When the model was loaded without its text encoder or tokenizer.
        """
        if self.tokenizer is None:
            raise TextEncoderUnavailable(self._no_text)
        ids, attention = tokenise(self.tokenizer, [clean_report(text) for text in texts], self.max_text_tokens)
        device = next(self.model.parameters()).device
        return self.model.encode_text(ids.to(device), ~attention.to(device))


@dataclass(frozen=True)
class _Source:
    """What a checkpoint says: its model's classes and sizes, its text encoder's config and files, its weights."""

    classes: tuple[type, type]
    model_config: Any
    config: dict[str, Any]
    sample_rate: float
    n_samples: int
    text_config: dict[str, Any] | None
    text_files: dict[str, str] | None
    weights: dict[str, Tensor]


def load_model(
    path: str | Path,
    untrained_seed: int | None = None,
    *,
    ecg_only: bool = False,
    config: str | Path | dict | None = None,
    text_encoder: str | Path | None = None,
) -> EcgTextModel:
    """Load a checkpoint: of training here, with nothing but its path, or a released one of D-BETA.

    Parameters
    ----------
    path : path-like
        Written by `fairseq-hydra-train`, or a released file with D-BETA's weights under the key ``model``.
    untrained_seed : int, optional
        Keep the architecture and draw the initial weights anew with this seed: a control. An ECG tower alone draws
        others than within the whole model.
    ecg_only : bool
        Build and read the path from an ECG to its features alone: no text encoder, fusion or heads, and no
        transformers. The features are those of the whole model; `encode_text` raises.
    config : path-like or dict, optional
        Of a released checkpoint: its config.json, for what shapes do not tell, the numbers of attention heads. Without
        it config.json beside the checkpoint counts, else the release's 64 values a head.
    text_encoder : str or path-like, optional
        Of a released checkpoint: hub name or folder of its tokenizer (google/flan-t5-base), for `encode_text`.

    Returns
    -------
    EcgTextModel, in eval mode on the CPU

    Raises
    ------
    BadCheckpoint
        When the file is unreadable, of another family, or its weights do not fit its config.
    TextEncoderUnavailable
        When the tokenizer cannot be loaded.
    """
    path = Path(path)
    state = load_checkpoint_file(path, mmap=True)
    if dbeta_release.is_release(state):
        source = _released(path, state, config, ecg_only)
    elif config is not None or text_encoder is not None:
        raise BadCheckpoint(
            f"checkpoint {path} is not a released one, and config and text_encoder are for those: a training "
            "checkpoint carries its own; leave them out"
        )
    else:
        source = _trained(path, state)
    model = _built(path, source, untrained_seed or 0, ecg_only)
    if untrained_seed is None:
        load_weights(path, model, source.weights, part=ecg_only)
    tokenizer, no_text = (None, _ecg_only_text(path)) if ecg_only else _tokenizer(path, source, model, text_encoder)
    loaded = EcgTextModel(model, source, path, tokenizer, no_text).eval().requires_grad_(False)
    if not ecg_only:
        _ = loaded.checkpoint_sha256  # the file is read anyway, and may be written over later
    return loaded


def from_pretrained(name_or_path: str | Path, untrained_seed: int | None = None, **options: Any) -> EcgTextModel:
    """Load a checkpoint by its path, its folder, or the name ``owner/name`` of a repository on the Hugging Face hub.

    Of a folder or repository, checkpoint_best.pt is taken, else checkpoint_last.pt, else its only .pt file; with it
    the config.json beside it.

    Parameters
    ----------
    name_or_path : str or path-like
    untrained_seed, options
        As in `load_model`.

    Raises
    ------
    BadCheckpoint
        As `load_model` does, and when no checkpoint is there or can be fetched.
    """
    return load_model(locate_checkpoint(name_or_path), untrained_seed, **options)


def _version(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _ecg_only_text(path: Path) -> str:
    return (
        f"the model of {path} was loaded with ecg_only=True, without its text encoder: expected the whole model for "
        "encode_text; load it without ecg_only"
    )


def _tokenizer(path: Path, source: _Source, model: DBeta, text_encoder: str | Path | None) -> tuple[Any, str]:
    """Return the tokenizer, and why there is none."""
    if source.text_files is not None:
        return tokenizer_from_files(source.text_files), ""
    if text_encoder is None:
        return None, (
            f"the released checkpoint {path} has a text encoder but no tokenizer: load it with text_encoder= the hub "
            "name or folder of the one it was trained with (google/flan-t5-base)"
        )
    tokenizer = load_tokenizer(str(text_encoder))
    check_vocabulary(tokenizer, model.language_encoder.config, str(text_encoder))
    return tokenizer, ""


def _built(path: Path, source: _Source, seed: int, ecg_only: bool) -> nn.Module:
    model_class, tower_class = source.classes
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if ecg_only:
                return tower_class(source.model_config)
            text_config = source.text_config or json.loads(source.text_files["config.json"])
            return model_class(source.model_config, build_text_encoder(text_config))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadCheckpoint(
            f"checkpoint {path} has a config that cannot be built ({error}): expected the one it was trained with"
        ) from error


def _trained(path: Path, state: dict) -> _Source:
    """Read a checkpoint of `fairseq-hydra-train`."""
    config, task_state = _parts(path, state)
    config_class, *classes = FAMILIES[config["model"]["_name"]]
    names = {field.name for field in dataclasses.fields(config_class)}
    values = {name: value for name, value in config["model"].items() if name in names}
    return _Source(
        classes=tuple(classes),
        model_config=config_class(**values),
        config=config,
        sample_rate=float(task_state["sample_rate"]),
        n_samples=int(task_state["n_samples"]),
        text_config=None,  # among the files
        text_files=task_state["text_encoder_files"],
        weights=state["model"],
    )


def _released(path: Path, state: dict, config: str | Path | dict | None, ecg_only: bool) -> _Source:
    """Read a released checkpoint of D-BETA."""
    weights = dbeta_release.release_weights(state)
    model_config = dbeta_release.release_config(path, weights, config)
    return _Source(
        classes=(DBeta, EcgTower),
        model_config=model_config,
        config={
            "model": {"_name": "dbeta", **dataclasses.asdict(model_config)},
            "task": {"max_text_tokens": dbeta_release.MAX_TEXT_TOKENS},
        },
        sample_rate=dbeta_release.SAMPLE_RATE,
        n_samples=dbeta_release.N_SAMPLES,
        text_config=None if ecg_only else dbeta_release.release_text_config(path, weights),
        text_files=None,
        weights=weights,
    )


def _parts(path: str | Path, state: dict) -> tuple[dict, dict]:
    missing = [key for key in ("model", "cfg", "task_state") if not isinstance(state.get(key), dict)]
    if missing:
        raise BadCheckpoint(
            f"checkpoint {path} lacks {', '.join(missing)} (found: {', '.join(map(str, state)) or 'nothing'}); "
            "expected one written by fairseq-hydra-train with task=ecg_text_pretraining, or D-BETA's released weights"
        )
    config, task_state = state["cfg"], state["task_state"]
    family = config["model"].get("_name") if isinstance(config.get("model"), dict) else None
    if family not in FAMILIES:
        raise BadCheckpoint(f"checkpoint {path} is of model '{family}', expected one of {', '.join(FAMILIES)}")
    missing = [key for key in TASK_KEYS if key not in task_state]
    if missing:
        raise BadCheckpoint(f"checkpoint {path} lacks {', '.join(missing)} in task_state; train it with this package")
    return config, task_state
