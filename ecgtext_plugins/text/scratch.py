"""A small T5 encoder from scratch: tokenizer learned from reports, random weights; works without network."""

import os
import shutil
from pathlib import Path

import torch

from ecgtext_plugins.atomic_files import flush_folder
from ecgtext_plugins.errors import TextEncoderUnavailable
from ecgtext_plugins.text.transformers_guard import import_transformers
from ecgtext_plugins.text.unigram import SENTINELS, SPECIAL_TOKENS, train_unigram


def build_scratch_text_encoder(
    reports: list[str],
    folder: str | Path,
    vocab_size: int = 1000,
    d_model: int = 128,
    num_layers: int = 2,
    num_heads: int = 4,
    d_ff: int = 256,
    seed: int = 0,
) -> Path:
    """Write a tokenizer and a T5 encoder with random weights (gated GELU, as Flan-T5) in Hugging Face's folder form.

    The same reports and values give the same bytes. The folder is built beside its place and renamed, so it is whole or
    not there; an existing one is replaced.

    Parameters
    ----------
    reports : list of str
        Cleaned reports of the train split.
    vocab_size : int
        Upper bound of all tokens, special ones included; few reports give fewer.

    Returns
    -------
    Path
        `folder`, which the loaders of ``text/encoders.py`` take.

    Raises
    ------
    TextEncoderUnavailable
        When there are no words to learn from or the sizes don't fit each other.
    """
    folder = Path(folder)
    tokenizer = _build_tokenizer(reports, vocab_size, folder)
    encoder = _build_encoder(len(tokenizer), d_model, num_layers, num_heads, d_ff, seed)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        tokenizer.save_pretrained(partial)
        encoder.save_pretrained(partial)
        _replace_folder(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _build_tokenizer(reports: list[str], vocab_size: int, folder: Path):
    if not any(report.split() for report in reports):
        raise TextEncoderUnavailable(
            f"text encoder {folder} cannot be made from scratch: none of {len(reports)} reports has a word; expected "
            "the reports of a store's train split; build the store from a corpus with reports"
        )
    try:
        trained = train_unigram(reports, vocab_size)
    except ValueError as error:
        raise TextEncoderUnavailable(f"text encoder {folder} cannot be made from scratch: {error}") from error
    pad, end, unknown = SPECIAL_TOKENS
    return import_transformers().PreTrainedTokenizerFast(
        tokenizer_object=trained,
        pad_token=pad,
        eos_token=end,
        unk_token=unknown,
        additional_special_tokens=list(SENTINELS),
    )


def _build_encoder(vocab_size: int, d_model: int, num_layers: int, num_heads: int, d_ff: int, seed: int):
    if d_model % num_heads:
        raise TextEncoderUnavailable(
            f"text encoder of width {d_model} cannot be split over {num_heads} heads: expected a multiple; change one"
        )
    transformers = import_transformers()
    config = transformers.T5Config(
        vocab_size=vocab_size,
        d_model=d_model,
        d_kv=d_model // num_heads,
        d_ff=d_ff,
        num_layers=num_layers,
        num_heads=num_heads,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,  # a few minutes of training do not overfit
        pad_token_id=0,
        eos_token_id=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transformers.T5EncoderModel(config)


def _replace_folder(source: Path, folder: Path) -> None:
    """Rename `source` to `folder`; an old `folder` is moved aside first and removed last."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        os.replace(folder, old)
    os.replace(source, folder)
    flush_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
