"""Multi-head attention over projected queries, keys and values."""

import torch
from torch import Tensor
from torch.nn import functional

from ecgtext_plugins.modules.dropout import dropout as drop


def attend(
    query: Tensor, key: Tensor, value: Tensor, heads: int, padding_mask: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """Scaled dot-product attention; maps are not materialised but for dropout on a CPU, where torch does so too.

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
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    hidden = None if padding_mask is None else padding_mask[:, None, None, :]
    if dropout and query.device.type == "cpu":
        out = _with_map(query, key, value, hidden, dropout)
    else:
        allowed = None if hidden is None else ~hidden
        out = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed, dropout_p=dropout)
    return out.transpose(1, 2).flatten(2)


def _with_map(query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None, dropout: float) -> Tensor:
    """Do as torch does there, with quicker draws and no look-out for queries that may attend to nothing."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
    if hidden is not None:
        scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
    return drop(scores.softmax(-1), dropout) @ value


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
