"""Transformer encoder in wav2vec 2.0's layout (key names of fairseq), post-norm or pre-norm."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ecgtext_plugins.modules.attention import attend, attention_weights
from ecgtext_plugins.modules.dropout import Dropout


class SelfAttention(nn.Module):
    """Self-attention with separate projections ``q_proj``, ``k_proj``, ``v_proj``, ``out_proj``."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        """(B, N, D) -> (B, N, D); `padding_mask` (B, N) is True at padding."""
        dropout = self.dropout if self.training else 0.0
        out = attend(self.q_proj(x), self.k_proj(x), self.v_proj(x), self.heads, padding_mask, dropout)
        return self.out_proj(out)

    def weights(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        """(B, N, D) -> attention weights, mean over heads (B, N, N), see `attention_weights`."""
        return attention_weights(self.q_proj(x), self.k_proj(x), self.heads, padding_mask)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward block; the activation is computed in float32."""

    def __init__(
        self,
        width: int,
        ffn: int,
        heads: int,
        dropout: float,
        attention_dropout: float,
        activation_dropout: float,
        norm_first: bool,
    ):
        super().__init__()
        self.norm_first = norm_first
        self.self_attn = SelfAttention(width, heads, attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, ffn)
        self.fc2 = nn.Linear(ffn, width)
        self.final_layer_norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)
        self.activation_dropout = Dropout(activation_dropout)

    def _feed_forward(self, x: Tensor) -> Tensor:
        hidden = self.fc1(x)
        hidden = functional.gelu(hidden.float()).type_as(hidden)
        return self.dropout(self.fc2(self.activation_dropout(hidden)))

    def attention_map(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Input of the layer (B, N, D) -> its attention weights, mean over heads (B, N, N)."""
        return self.self_attn.weights(self.self_attn_layer_norm(x) if self.norm_first else x, padding_mask)

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        if self.norm_first:
            x = x + self.dropout(self.self_attn(self.self_attn_layer_norm(x), padding_mask))
            return x + self._feed_forward(self.final_layer_norm(x))
        x = self.self_attn_layer_norm(x + self.dropout(self.self_attn(x, padding_mask)))
        return self.final_layer_norm(x + self._feed_forward(x))


class TransformerEncoder(nn.Module):
    """Stack of `EncoderLayer`; post-norm models normalise their input once, pre-norm models their output."""

    def __init__(
        self,
        layers: int,
        width: int,
        ffn: int,
        heads: int,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        activation_dropout: float = 0.0,
        layerdrop: float = 0.0,
        norm_first: bool = False,
        initializer_range: float = 0.02,
    ):
        super().__init__()
        self.norm_first, self.layerdrop = norm_first, layerdrop
        self.checkpoint_activations = False
        self.layers = nn.ModuleList(
            EncoderLayer(width, ffn, heads, dropout, attention_dropout, activation_dropout, norm_first)
            for _ in range(layers)
        )
        self.layer_norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=initializer_range)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x = self.dropout(x if self.norm_first else self.layer_norm(x))
        for layer in self.layers:
            if self.training and self.layerdrop > 0 and torch.rand(()).item() < self.layerdrop:
                continue
            if self.checkpoint_activations and self.training and torch.is_grad_enabled():
                x = checkpoint(layer, x, padding_mask, use_reentrant=False)
            else:
                x = layer(x, padding_mask)
        return self.layer_norm(x) if self.norm_first else x

    def attention_maps(self, x: Tensor, padding_mask: Tensor | None = None, layers: Sequence[int] = (-1,)) -> Tensor:
        """(B, N, D) -> attention weights of `layers`, mean over heads (B, len(layers), N, N); runs no layer behind.

        Raises
        ------
        ValueError
            When there is no such layer.
        """
        depth = len(self.layers)
        if not layers or not all(-depth <= layer < depth for layer in layers):
            raise ValueError(f"layers={list(layers)}: expected some of {-depth}..{depth - 1}")
        wanted, maps = [layer % depth for layer in layers], {}
        x = self.dropout(x if self.norm_first else self.layer_norm(x))
        for place, layer in enumerate(self.layers[: max(wanted) + 1]):
            if place in wanted:
                maps[place] = layer.attention_map(x, padding_mask)
            if place < max(wanted):
                x = layer(x, padding_mask)
        return torch.stack([maps[place] for place in wanted], dim=1)
