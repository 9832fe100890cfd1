"""Freezing the first layers of a text encoder."""

from typing import Any

import torch
from torch import nn

from ecgtext_plugins.errors import TextEncoderUnavailable

BLOCKS = (
    "encoder.block",
    "encoder.layer",
    "transformer.layer",
    "layers",
)  # T5; BERT and its kin; DistilBERT; ModernBERT
BEFORE_BLOCKS = (  # besides the token embeddings themselves
    "embeddings",
    "embeddings_project",
    "encoder.embedding_hidden_mapping_in",
    "encoder.relative_attention_bias",
    "encoder.rel_embeddings",
)
WITH_RELATIVE = ("encoder.LayerNorm", "encoder.conv")  # DeBERTa's: the norm of rel_embeddings, the first block's conv


def transformer_blocks(encoder: nn.Module) -> nn.ModuleList:
    """Return the encoder's transformer blocks, first to last.

    Raises
    ------
    TextEncoderUnavailable
        When they are in none of the known places.
    """
    for path in BLOCKS:
        blocks = _find(encoder, path)
        if isinstance(blocks, nn.ModuleList):
            return blocks
    raise TextEncoderUnavailable(
        f"text encoder {type(encoder).__name__} has its blocks in none of {', '.join(BLOCKS)}, so its layers cannot be "
        "counted; freeze 0 layers or all (-1), or give another encoder"
    )


def freeze_layers(encoder: nn.Module, layers: int) -> int:
    """Freeze the embeddings and the first `layers` transformer blocks by ``requires_grad_(False)``.

    The tables of relative positions count as embeddings; T5's is in its first block. Dropout stays as it is, and so
    does a norm after the last block.

    Parameters
    ----------
    layers : int
        0 freezes nothing, -1 everything.

    Returns
    -------
    int
        How many parameters (numbers, not tensors) this call is about.

    Raises
    ------
    ValueError
        When `layers` is below -1 or more than the encoder has.
    """
    if layers == 0:
        return 0
    if layers == -1:
        return _freeze([encoder])
    blocks = transformer_blocks(encoder)
    if not -1 <= layers <= len(blocks):
        raise ValueError(
            f"cannot freeze {layers} layers of a text encoder with {len(blocks)}: give 0 (none) to {len(blocks)}, "
            "or -1 for the whole encoder"
        )
    relative = WITH_RELATIVE if _find(encoder, "encoder.rel_embeddings") is not None else ()
    before = [encoder.get_input_embeddings(), *(_find(encoder, path) for path in BEFORE_BLOCKS + relative)]
    return _freeze([module for module in before if module is not None] + list(blocks[:layers]))


def _freeze(modules: list[nn.Module]) -> int:
    frozen: dict[int, torch.nn.Parameter] = {id(p): p for module in modules for p in module.parameters()}
    for parameter in frozen.values():
        parameter.requires_grad_(False)
    return sum(parameter.numel() for parameter in frozen.values())


def _find(module: nn.Module, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name, None)
    return module
