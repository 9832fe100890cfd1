"""Unit vectors of texts: the mean of the text encoder's states over real tokens."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ecgtext_plugins.atomic_files import replacing
from ecgtext_plugins.text.tokenization import MAX_TOKENS, tokenise

log = logging.getLogger(__name__)

PART_TEXTS = 4096


def embed_texts(
    encoder: Any,
    tokenizer: Any,
    texts: Sequence[str],
    batch_size: int = 64,
    max_tokens: int = MAX_TOKENS,
    parts_folder: str | Path | None = None,
    bf16: bool = False,
) -> np.ndarray:
    """Embed texts with a text encoder on the encoder's own device.

    Padding neither enters the attention nor the mean, so a vector doesn't depend on its batch (the release
    averaged over padding too; `datasets/n3s.py`). Texts go by length, so little is padded.

    Parameters
    ----------
    encoder : transformers encoder
        Of any family: called with token ids and attention mask, it returns ``last_hidden_state``.
    tokenizer : fast tokenizer of the same model
    texts : sequence of str, length U
    max_tokens : int
        Longer texts are cut to this many tokens, the end token included.
    parts_folder : path, optional
        Where finished parts are kept, so that the same call continues after a stop. The caller names it after
        everything that the vectors depend on, and removes it.
    bf16 : bool
        Run the encoder under bfloat16 autocast; the mean is float32 in either case.

    Returns
    -------
    ndarray, shape (U, D), float32
        Rows of length 1.
    """
    order = sorted(range(len(texts)), key=lambda index: (len(texts[index]), index))
    vectors = np.empty((len(texts), encoder.config.hidden_size), dtype=np.float32)
    was_training = encoder.training
    encoder.eval()
    try:
        with tqdm(total=len(texts), desc="embed reports", unit="report", disable=None) as bar:
            for start in range(0, len(order), PART_TEXTS):
                part = order[start : start + PART_TEXTS]
                path = None if parts_folder is None else Path(parts_folder) / f"part-{start:09d}.npy"
                batches = [[texts[i] for i in part[at : at + batch_size]] for at in range(0, len(part), batch_size)]
                vectors[part] = _embed_part(encoder, tokenizer, batches, max_tokens, bf16, path)
                bar.update(len(part))
    finally:
        encoder.train(was_training)
    return vectors


def _embed_part(
    encoder, tokenizer, batches: list[list[str]], max_tokens: int, bf16: bool, path: Path | None
) -> np.ndarray:
    """Embed one part, or read what an earlier call kept of it."""
    if path is not None and path.is_file():
        log.info("continue from %s", path)
        return np.load(path)
    vectors = np.concatenate([_embed_batch(encoder, tokenizer, batch, max_tokens, bf16) for batch in batches])
    if path is not None:
        with replacing(path) as temporary, open(temporary, "wb") as handle:
            np.save(handle, vectors)
    return vectors


@torch.inference_mode()
def _embed_batch(encoder, tokenizer, texts: list[str], max_tokens: int, bf16: bool) -> np.ndarray:
    ids, attention_mask = tokenise(tokenizer, texts, max_tokens)
    device = next(encoder.parameters()).device
    ids, attention_mask = ids.to(device), attention_mask.to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        states = encoder(input_ids=ids, attention_mask=attention_mask).last_hidden_state
    weights = attention_mask.unsqueeze(-1).float()
    mean = (states.float() * weights).sum(1) / weights.sum(1)
    return torch.nn.functional.normalize(mean, dim=1).cpu().numpy()
