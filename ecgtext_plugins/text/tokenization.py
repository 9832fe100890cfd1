"""Texts to token ids: padding, truncation, special tokens, and whether the ids fit an encoder."""

from typing import Any

import torch

from ecgtext_plugins.errors import TextEncoderUnavailable

MAX_TOKENS = 254
SENTINEL = "<extra_id_0>"
OFFSET_BY_PADDING = ("roberta", "xlm-roberta", "camembert")  # their first position stands behind the pad token's id


def tokenise(tokenizer: Any, texts: list[str], max_length: int = MAX_TOKENS) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokenise texts, padded to the longest and truncated to `max_length` (the end token stays).

    Returns
    -------
    ids : torch.Tensor
        (B, L) int64; padding is the tokenizer's pad id.
    attention_mask : torch.Tensor
        (B, L) bool, True on real tokens: the opposite of a padding mask. Give it to the encoder, which
        attends to padding without it.
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
            "language modelling has no token to mask with; give an encoder of the T5, BERT, RoBERTa or DeBERTa family"
        )
    return int(index)


def special_token_ids(tokenizer: Any) -> list[int]:
    """Return the ids that are neither masked nor drawn as replacements: padding, ends, unknown, mask, sentinels."""
    added = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return sorted(added | set(tokenizer.all_special_ids))


def check_vocabulary(tokenizer: Any, config: Any, name: str = "") -> None:
    """Refuse a tokenizer whose ids the encoder of `config` has no embeddings for; fewer ids than rows are fine.

    Raises
    ------
    TextEncoderUnavailable
        When the highest id is not below ``config.vocab_size``.
    """
    highest = max(tokenizer.get_vocab().values())
    if highest >= config.vocab_size:
        raise TextEncoderUnavailable(
            f"text encoder '{name or tokenizer.name_or_path}': its tokenizer has ids up to {highest}, but the model "
            f"has embeddings for {config.vocab_size} tokens (vocab_size in config.json); put the tokenizer files and "
            "config.json of the same model into the folder"
        )


def check_own_words(tokenizer: Any, name: str) -> None:
    """Refuse what transformers makes where a model comes without tokenizer files: special tokens and no words.

    Raises
    ------
    TextEncoderUnavailable
        When there are no pieces besides the special ones, or nothing to pad with.
    """
    special = set(special_token_ids(tokenizer))
    words = sum(index not in special for index in tokenizer.get_vocab().values())
    if words < 2:  # T5's comes with one, the marker of a word's beginning
        raise TextEncoderUnavailable(
            f"text encoder '{name}' has a tokenizer of {len(tokenizer)} tokens and no words: its tokenizer files are "
            "missing or empty; add tokenizer.json, or vocab.txt (BERT), vocab.json and merges.txt (RoBERTa), "
            "spiece.model (T5) or spm.model (DeBERTa)"
        )
    if tokenizer.pad_token_id is None:
        raise TextEncoderUnavailable(
            f"text encoder '{name}' has a tokenizer without a padding token, so texts of different lengths cannot "
            "share a batch; set pad_token in its tokenizer_config.json"
        )


def check_length(config: Any, max_tokens: int) -> None:
    """Refuse texts longer than an encoder with learned absolute positions can read.

    Raises
    ------
    TextEncoderUnavailable
        Naming both numbers.
    """
    if config.model_type == "t5" or not getattr(config, "position_biased_input", True):
        return  # relative positions only
    places = getattr(config, "max_position_embeddings", None)
    if config.model_type in OFFSET_BY_PADDING and places is not None:
        places -= config.pad_token_id + 1
    if places is not None and max_tokens > places:
        raise TextEncoderUnavailable(
            f"a text encoder of type {config.model_type} reads at most {places} tokens, but max_text_tokens is "
            f"{max_tokens}: give task.max_text_tokens={places} or less"
        )
