"""Multi-head attention over projected queries, keys and values, without materialised attention maps but on request."""

import torch
from torch import Tensor
from torch.nn import functional


def attend(
    query: Tensor, key: Tensor, value: Tensor, heads: int, padding_mask: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """Scaled dot-product attention.

    Parameters
    ----------
    query : Tensor, shape (B, Q, D)
    key, value : Tensor, shape (B, S, D)
    heads : int
        Divides D.
    padding_mask : Tensor, shape (B, S), bool, optional
        True where a key is padding and must not be attended to.
    dropout : float
        Probability for the attention weights (0 outside training).

    Returns
    -------
    Tensor, shape (B, Q, D)
    """
    split = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value)]
    allowed = None if padding_mask is None else ~padding_mask[:, None, None, :]
    out = functional.scaled_dot_product_attention(*split, attn_mask=allowed, dropout_p=dropout)
    return out.transpose(1, 2).flatten(2)


def attention_weights(query: Tensor, key: Tensor, heads: int, padding_mask: Tensor | None = None) -> Tensor:
    """Weights by which `attend` would average the values, mean over heads; for looking at, not for training.

    Parameters
    ----------
    query : Tensor, shape (B, Q, D)
    key : Tensor, shape (B, S, D)
    heads : int
        Divides D.
    padding_mask : Tensor, shape (B, S), bool, optional
        True at padding, whose weight is 0.

    Returns
    -------
    Tensor, shape (B, Q, S), float32
    """
    query, key = (x.float().unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key))
    scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
    if padding_mask is not None:
        scores = scores.masked_fill(padding_mask[:, None, None, :], -torch.inf)
    return scores.softmax(-1).mean(1)
