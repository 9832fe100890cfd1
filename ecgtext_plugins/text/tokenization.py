"""Texts to token ids: padding, truncation, the mask token of a tokenizer that has none."""

from typing import Any

import torch

from ecgtext_plugins.errors import TextEncoderUnavailable

MAX_TOKENS = 254
SENTINEL = "<extra_id_0>"


def tokenise(tokenizer: Any, texts: list[str], max_length: int = MAX_TOKENS) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokenise texts, padded to the longest and truncated to `max_length` (the end token stays).

    Returns
    -------
    ids : torch.Tensor
        (B, L) int64; padding is the tokenizer's pad id.
    attention_mask : torch.Tensor
        (B, L) bool, True on real tokens: the opposite of a padding mask. Give it to the encoder: T5 attends to padding
        without it.
    """
    encoded = tokenizer(list(texts), padding="longest", truncation=True, max_length=max_length, return_tensors="pt")
    return encoded["input_ids"], encoded["attention_mask"].bool()


def mask_token_id(tokenizer: Any) -> int:
    """Return the id that stands for a masked token: the tokenizer's own, or T5's first sentinel `<extra_id_0>`.

    Raises
    ------
    TextEncoderUnavailable
        When the tokenizer has neither.
    """
    if tokenizer.mask_token is not None:
        return int(tokenizer.mask_token_id)
    index = tokenizer.get_vocab().get(SENTINEL)
    if index is None:
        raise TextEncoderUnavailable(
            f"tokenizer {tokenizer.name_or_path or 'given'} has neither a mask token nor {SENTINEL}, so masked "
            "language modelling has no token to mask with; give a T5 tokenizer"
        )
    return int(index)
