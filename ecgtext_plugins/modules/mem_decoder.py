"""Decoder of masked ECG modelling (MEM): visible tokens in, all patches out."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

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

    def forward(self, x: Tensor) -> Tensor:
        h = self.ln_1(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
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

    def forward(self, x: Tensor, restore: Tensor) -> Tensor:
        """Class token and kept tokens (B, 1 + K, D), places of all patches `restore` (B, N) -> (B, N, leads, P)."""
        x = self.decoder_embed(x)
        n = restore.shape[1]
        masked = self.mask_token.to(x.dtype).expand(x.shape[0], n + 1 - x.shape[1], -1)
        patches = torch.cat([x[:, 1:], masked], dim=1)
        patches = patches.gather(1, restore[:, :, None].expand(-1, -1, patches.shape[-1]))
        x = torch.cat([x[:, :1], patches], dim=1)
        x = x + self.decoder_pos_embed(n + 1).to(x.dtype)
        for block in self.decoder["resblocks"]:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))[:, 1:].unflatten(-1, self.patch_shape)
