"""Decoder of masked ECG modelling (MEM): visible tokens in, all patches out."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecgtext_plugins.modules.ecg_encoder import with_class_token
from ecgtext_plugins.modules.patch_masking import MaskedPatches

TABLE_LENGTH = 512  # positions in the published checkpoints' buffer, the class token's among them


def sinusoids(length: int, width: int) -> Tensor:
    """Fixed positional encoding (Vaswani et al. 2017): sine in even, cosine in odd columns; (1, length, width)."""
    position = torch.arange(length, dtype=torch.float32)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10000.0) / width))
    table = torch.zeros(1, length, width)
    table[0, :, 0::2] = torch.sin(position * frequency)
    table[0, :, 1::2] = torch.cos(position * frequency)[:, : width // 2]
    return table


class _Positions(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("pe", sinusoids(TABLE_LENGTH, width))

    def forward(self, length: int) -> Tensor:
        if length <= TABLE_LENGTH:
            return self.pe[:, :length]
        beyond = sinusoids(length, self.pe.shape[-1])[:, TABLE_LENGTH:]  # the formula goes on where the table ends
        return torch.cat([self.pe, beyond.to(self.pe)], dim=1)


class _Mlp(nn.Module):
    """Two linear layers with QuickGELU, x * sigmoid(1.702 x), between."""

    def __init__(self, width: int):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.c_fc(x)
        return self.c_proj(hidden * torch.sigmoid(1.702 * hidden))


class Fp32LayerNorm(nn.LayerNorm):
    """Layer norm in float32 whatever the precision of its input and weights."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D), same dtype."""
        weight, bias = self.weight.float(), self.bias.float()
        return functional.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps).type_as(x)


class _ResidualBlock(nn.Module):
    """Pre-norm block in CLIP's layout; layer norms run in float32."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1 = Fp32LayerNorm(width)
        self.mlp = _Mlp(width)
        self.ln_2 = Fp32LayerNorm(width)

    def forward(self, x: Tensor, padding_mask: Tensor | None, first: int = 0) -> Tensor:
        """(B, S, D) -> (B, S - first, D): all tokens are attended to, those from `first` on are returned."""
        h = self.ln_1(x)
        x = x[:, first:] + self.attn(h[:, first:], h, h, key_padding_mask=padding_mask, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class MemDecoder(nn.Module):
    """MAE-style decoder (He et al. 2022).

    Parameters
    ----------
    width_in : int
        Width of the encoder's tokens.
    width, layers, heads : int
        Sizes of the decoder.
    leads, samples_per_patch : int
        A patch is ``leads * samples_per_patch`` values, lead-major.
    """

    def __init__(self, width_in: int, width: int, layers: int, heads: int, leads: int, samples_per_patch: int):
        super().__init__()
        self.patch_shape = (leads, samples_per_patch)
        self.decoder_embed = nn.Linear(width_in, width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))
        self.decoder_pos_embed = _Positions(width)
        self.decoder = nn.ModuleDict({"resblocks": nn.ModuleList(_ResidualBlock(width, heads) for _ in range(layers))})
        self.decoder_norm = nn.LayerNorm(width)
        self.decoder_pred = nn.Linear(width, leads * samples_per_patch)

    def forward(
        self, x: Tensor, masked: MaskedPatches, padding: Tensor | None = None, everything: bool = False
    ) -> dict[str, Tensor]:
        """Predict patches.

        The tokens stay in the order of masking, each with its place's encoding: attention does not mind, and what was
        removed stands together at the end.

        Parameters
        ----------
        x : Tensor, shape (B, 1 + K, D)
            Class token and kept tokens.
        masked : MaskedPatches
        padding : Tensor, shape (B, N), bool, optional
            True at patches that are padding.
        everything : bool
            Predict all patches, in their own order; else those from the first removed one on.

        Returns
        -------
        dict
            ``mem_logits`` (B, R, leads, P), ``mem_places`` (B, R) which patches they are, ``mem_removed`` (B, R).
        """
        x, order = self.decoder_embed(x), masked.order
        (batch, n), kept, token = order.shape, x.shape[1] - 1, self.mask_token.to(x.dtype)
        shown, first = x[:, 1:], kept
        if masked.kept_padding is not None:
            shown = torch.where(masked.kept_padding[:, :, None], token, shown)
            first = int((~masked.kept_padding).sum(1).min())
        x = torch.cat([x[:, :1], shown, token.expand(batch, n - kept, -1)], dim=1)
        positions = self.decoder_pos_embed(n + 1).to(x.dtype)
        x = x + torch.cat([positions[:, :1].expand(batch, -1, -1), positions[0, 1:][order]], dim=1)
        key_padding = None if padding is None else with_class_token(padding.gather(1, order))
        first = 0 if everything else first
        blocks = self.decoder["resblocks"]
        for number, block in enumerate(blocks, start=1):
            x = block(x, key_padding, 1 + first if number == len(blocks) else 0)
        predicted = self.decoder_pred(self.decoder_norm(x)).unflatten(-1, self.patch_shape)
        places = order[:, first:]
        if everything:
            restore = order.argsort(dim=1)
            predicted = predicted.gather(1, restore[:, :, None, None].expand_as(predicted))
            places = places.gather(1, restore)
        return {"mem_logits": predicted, "mem_places": places, "mem_removed": masked.removed.gather(1, places)}
