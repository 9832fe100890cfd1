"""From a checkpoint's path to a model that embeds ECGs and texts."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ecgtext_plugins.checkpoints.ecg_model import EcgModel
from ecgtext_plugins.checkpoints.loaded_model import LoadedModel
from ecgtext_plugins.checkpoints.locate import locate_checkpoint
from ecgtext_plugins.checkpoints.networks import DBETA, ENCODER, build_network
from ecgtext_plugins.checkpoints.read import read_source
from ecgtext_plugins.checkpoints.source import Source, unheeded_note
from ecgtext_plugins.checkpoints.weights import load_weights
from ecgtext_plugins.corpora.report_text import clean_report
from ecgtext_plugins.errors import BadCheckpoint, TextEncoderUnavailable
from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.text.embedded_files import tokenizer_from_files
from ecgtext_plugins.text.encoders import load_tokenizer
from ecgtext_plugins.text.tokenization import check_vocabulary, tokenise

log = logging.getLogger(__name__)


class EcgTextModel(LoadedModel):
    """A trained model of ECGs and texts with its tokenizer; see `LoadedModel` for the attributes."""

    def __init__(self, model: nn.Module, source: Source, path: Path, tokenizer: Any, no_text: str):
        super().__init__(model, source, path)
        self.tokenizer, self._no_text = tokenizer, no_text
        self.max_text_tokens = int(source.config["task"]["max_text_tokens"])

    @torch.inference_mode()
    def encode_ecg(self, ecg: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """ECG (B, 12, T) float32 in millivolt, leads I II III aVR aVL aVF V1..V6 -> features (B, D).

        `padding_mask` (B, T) bool is True at padding, which stands at the end.
        """
        return self.model.encode_ecg(self.shown(ecg), padding_mask)

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


def load_model(
    path: str | Path,
    untrained_seed: int | None = None,
    *,
    ecg_only: bool = False,
    config: str | Path | dict | None = None,
    text_encoder: str | Path | None = None,
    labels: list[str] | None = None,
    allow_types: Sequence = (),
) -> EcgTextModel | EcgModel:
    """Load a checkpoint, with nothing but its path, whichever program wrote it.

    Parameters
    ----------
    path : path-like
        Written by `fairseq-hydra-train` here or by fairseq-signals (ECG-FM); a released file of D-BETA; a folder of
        `ecgtext convert`, or one that holds a checkpoint.
    untrained_seed : int, optional
        Keep the architecture and draw the initial weights anew with this seed: a control. An ECG tower alone draws
        others than within the whole model.
    ecg_only : bool
        Of D-BETA, build and read the path from an ECG to its features alone: no text encoder, fusion or heads, and no
        transformers. The features are those of the whole model; `encode_text` raises.
    config : path-like or dict, optional
        Of a released checkpoint: its config.json, for what shapes do not tell, the numbers of attention heads. Without
        it config.json beside the checkpoint counts, else the release's 64 values a head.
    text_encoder : str or path-like, optional
        Of a released checkpoint: hub name or folder of its tokenizer (google/flan-t5-base), for `encode_text`.
    labels : list of str, optional
        Names of a classifier's outputs; files of fairseq-signals don't tell them.
    allow_types : sequence of type
        Types in the file that the caller trusts.

    Returns
    -------
    EcgTextModel of D-BETA, EcgModel of ECG-FM's models; in eval mode on the CPU

    Raises
    ------
    BadCheckpoint
        When the file is unreadable, of another family, or its weights do not fit its config.
    TextEncoderUnavailable
        When the tokenizer cannot be loaded.
    """
    path = Path(path)
    if path.is_dir():
        path = locate_checkpoint(path)
    source = read_source(path, config=config, labels=labels, allow_types=allow_types, ecg_only=ecg_only)
    if text_encoder is not None and (source.family != DBETA or source.text_files is not None):
        raise BadCheckpoint(
            f"checkpoint {path} is not a released one, and config and text_encoder are for those: a training "
            "checkpoint carries its own; leave them out"
        )
    if source.family == ENCODER:
        raise BadCheckpoint(
            f"checkpoint {path} is an ECG encoder alone, whose frames nothing was trained to pool: expected a whole "
            "model; begin training from it with model.encoder_path"
        )
    for key in source.unheeded:
        log.warning("%s: %s", path, unheeded_note(key))
    model = build_network(path, source, untrained_seed or 0, ecg_only)
    if untrained_seed is None:
        load_weights(path, model, source.weights, part=ecg_only and source.family == DBETA)
    loaded: LoadedModel
    if source.family == DBETA:
        tokenizer, no_text = (None, _ecg_only_text(path)) if ecg_only else _tokenizer(path, source, model, text_encoder)
        loaded = EcgTextModel(model, source, path, tokenizer, no_text)
    else:
        loaded = EcgModel(model, source, path)
    loaded = loaded.eval().requires_grad_(False)
    if not (ecg_only and source.family == DBETA):
        _ = loaded.checkpoint_sha256  # the file is read anyway, and may be written over later
    return loaded


def from_pretrained(
    name_or_path: str | Path, untrained_seed: int | None = None, **options: Any
) -> EcgTextModel | EcgModel:
    """Load a checkpoint by its path, its folder, or the name ``owner/name`` of a repository on the Hugging Face hub.

    Of a folder or repository, checkpoint_best.pt is taken, else checkpoint_last.pt, else its only .pt file, else the
    model.safetensors that `ecgtext convert` wrote; with it what belongs to it.

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


def _ecg_only_text(path: Path) -> str:
    return (
        f"the model of {path} was loaded with ecg_only=True, without its text encoder: expected the whole model for "
        "encode_text; load it without ecg_only"
    )


def _tokenizer(path: Path, source: Source, model: DBeta, text_encoder: str | Path | None) -> tuple[Any, str]:
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
