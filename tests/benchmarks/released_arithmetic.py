"""What the published D-BETA computes, with this package's modules, for a process that measures nothing else."""

import torch
from torch.nn import functional

from ecgtext_plugins.modules import fusion, long_convolution, transformer
from ecgtext_plugins.modules.dropout import Dropout


def as_released(model: torch.nn.Module, maps_of_encoder: bool = False) -> None:
    """Let the fusion layers of this process materialise their maps, and undo what computes the same in less time.

    Undone are the positional convolution in the frequency domain, Flan-T5's GELU in one step, quick draws of dropout
    and ours of attention. The ECG encoder keeps torch's fused attention unless `maps_of_encoder`.
    """
    from transformers.activations import NewGELUActivation

    long_convolution.LONG = torch.inf
    fusion.attend = with_maps
    transformer.attend = with_maps if maps_of_encoder else fused
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is Dropout:
                setattr(parent, name, torch.nn.Dropout(child.p))
            elif isinstance(child, torch.nn.GELU) and child.approximate == "tanh":
                setattr(parent, name, NewGELUActivation())
    model.train(model.training)


def with_maps(query, key, value, heads, padding_mask=None, dropout=0.0):
    """Attention that materialises its maps, as the release's fusion layers do (output_attentions=True)."""
    q, k, v = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value)]
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if padding_mask is not None:
        scores = scores.masked_fill(padding_mask[:, None, None, :], torch.finfo(scores.dtype).min)
    weights = functional.dropout(scores.float().softmax(-1).type_as(scores), dropout)
    return (weights @ v).transpose(1, 2).flatten(2)


def fused(query, key, value, heads, padding_mask=None, dropout=0.0):
    """Torch's own attention."""
    q, k, v = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value)]
    allowed = None if padding_mask is None else ~padding_mask[:, None, None, :]
    return functional.scaled_dot_product_attention(q, k, v, allowed, dropout).transpose(1, 2).flatten(2)
