"""Losses of wav2vec 2.0's pretraining (Baevski et al. 2020, section 3.2)."""

import torch
from torch import Tensor
from torch.nn import functional


def infonce_loss(logits: Tensor) -> Tensor:
    """Cross entropy of the right target, equation 3: (B, M, 1 + negatives), right one first -> scalar float32, the sum.

    Negatives of logit -inf count nothing.
    """
    flat = logits.float().flatten(0, -2)
    return functional.cross_entropy(flat, torch.zeros_like(flat[:, 0], dtype=torch.long), reduction="sum")


def infonce_counts(logits: Tensor) -> tuple[Tensor, int]:
    """Count hidden frames whose right target has the highest logit, and all of them; ties of all logits are wrong."""
    flat = logits.flatten(0, -2)
    right = (flat.argmax(-1) == 0) & (flat.argmin(-1) != 0)
    return right.sum(), len(flat)


def diversity_loss(prob_perplexity: Tensor, num_vars: int) -> Tensor:
    """Share of the codebooks' entries that go unused, equation 4: (GV - perplexity) / GV, from 0 to 1."""
    return (num_vars - prob_perplexity) / num_vars
