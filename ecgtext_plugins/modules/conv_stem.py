"""Strided convolutions that turn (B, 12, T) millivolts into (B, C, N) frames, as wav2vec 2.0 does for one channel."""

import ast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecgtext_plugins.modules.long_convolution import correlate


def parse_conv_layers(text: str) -> list[tuple[int, int, int]]:
    """Read a list of (channels, kernel, stride) from a string such as ``"[(256, 2, 2)] * 4"`` without evaluating code.

    Literals, ``+`` between lists and ``* integer`` are understood.

    Raises
    ------
    ValueError
        On anything else, naming the text.
    """

    def read(node: ast.AST):
        if isinstance(node, ast.Expression):
            return read(node.body)
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return node.value
        if isinstance(node, (ast.List, ast.Tuple)):
            items = [read(element) for element in node.elts]
            return items if isinstance(node, ast.List) else tuple(items)
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mult)):
            left, right = read(node.left), read(node.right)
            if isinstance(node.op, ast.Add) and isinstance(left, list) and isinstance(right, list):
                return left + right
            if isinstance(node.op, ast.Mult) and {type(left), type(right)} == {list, int}:
                return left * right
        raise ValueError(type(node).__name__)

    expected = "a list of (channels, kernel, stride), such as [(256, 2, 2)] * 4"
    try:
        layers = read(ast.parse(text.strip(), mode="eval"))
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"conv_feature_layers={text!r} cannot be read ({error}): expected {expected}") from None
    triples = isinstance(layers, list) and all(isinstance(layer, tuple) and len(layer) == 3 for layer in layers)
    if not layers or not triples or any(type(v) is not int or v < 1 for layer in layers for v in layer):
        raise ValueError(f"conv_feature_layers={text!r} is not {expected}, with positive integers")
    return layers


class Fp32GroupNorm(nn.GroupNorm):
    """Group norm in float32 whatever the precision of its input."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, C, N) -> (B, C, N), same dtype; with `lengths` (B,), only the first steps of each row count.

        Lengths are for norms of single channels (as many groups as channels).
        """
        weight, bias = self.weight.float(), self.bias.float()
        if lengths is None:
            return functional.group_norm(x.float(), self.num_groups, weight, bias, self.eps).type_as(x)
        wide, count = x.float(), lengths[:, None, None]
        real = torch.arange(x.shape[-1], device=x.device) < count
        mean = (wide * real).sum(-1, keepdim=True) / count
        variance = ((wide - mean).square() * real).sum(-1, keepdim=True) / count
        return ((wide - mean) * (variance + self.eps).rsqrt() * weight[:, None] + bias[:, None]).type_as(x)


class ConvStem(nn.Module):
    """Stack of Conv1d blocks; the first one is followed by a norm of each channel over time.

    Because that norm spans the whole record and the convolutions have no bias, the output does not change with a gain
    common to all leads or with an offset of any lead.

    Parameters
    ----------
    layers : list of (channels, kernel, stride)
    leads : int
        Number of input leads.
    bias : bool
        Bias of the convolutions; the published models have none.
    """

    def __init__(self, layers: list[tuple[int, int, int]], leads: int = 12, bias: bool = False):
        super().__init__()
        self.layers = layers
        blocks, width = [], leads
        for position, (channels, kernel, stride) in enumerate(layers):
            conv = nn.Conv1d(width, channels, kernel, stride=stride, bias=bias)
            nn.init.kaiming_normal_(conv.weight)
            norm = [Fp32GroupNorm(channels, channels)] if position == 0 else []
            # The second place is a dropout of probability 0 in the published code: it keeps the keys' numbers.
            blocks.append(nn.Sequential(conv, nn.Identity(), *norm, nn.GELU()))
            width = channels
        self.conv_layers = nn.ModuleList(blocks)

    @property
    def samples_per_frame(self) -> int:
        """Product of the strides."""
        product = 1
        for _, _, stride in self.layers:
            product *= stride
        return product

    def n_frames(self, n_samples: int | Tensor) -> int | Tensor:
        """Return the number of frames that `n_samples` samples, or each of a tensor of them, become."""
        for _, kernel, stride in self.layers:
            n_samples = (n_samples - kernel) // stride + 1
        return n_samples

    def forward(self, ecg: Tensor, lengths: Tensor | None = None) -> Tensor:
        """ECG (B, leads, T) -> frames (B, C, N).

        With `lengths` (B,), the samples of each row that are no padding, the norm sees these alone; what stands in
        frames behind them is of no meaning.

        Raises
        ------
        ValueError
            When T is too short for one frame.
        """
        if self.n_frames(ecg.shape[-1]) < 1:
            raise ValueError(
                f"an ECG of {ecg.shape[-1]} samples is too short: one frame takes {self.samples_per_frame}"
            )
        for position, (block, (_, kernel, stride)) in enumerate(zip(self.conv_layers, self.layers, strict=True)):
            if position == 0 and lengths is not None:
                conv, _, norm, activation = block
                ecg = activation(norm(conv(ecg), (lengths - kernel) // stride + 1))
            else:
                ecg = block(ecg)
        return ecg


class WeightNormConv1d(nn.Module):
    """Conv1d whose weight is ``g * v / |v|``, the norm taken for each kernel tap (weight norm over dim 2).

    Written out because the published checkpoints carry ``weight_g`` (1, 1, K) and ``weight_v`` (D, D / groups, K).
    """

    def __init__(self, width: int, kernel: int, groups: int, std: float):
        super().__init__()
        self.groups = groups
        self.weight_v = nn.Parameter(torch.empty(width, width // groups, kernel).normal_(0.0, std))
        self.weight_g = nn.Parameter(self._norm(self.weight_v.detach()))
        self.bias = nn.Parameter(torch.zeros(width))

    @staticmethod
    def _norm(weight: Tensor) -> Tensor:
        return torch.linalg.vector_norm(weight, dim=(0, 1), keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, N) -> (B, D, N)."""
        weight = self.weight_v * (self.weight_g / self._norm(self.weight_v))
        return correlate(x, weight, self.bias, self.groups)


class PositionalConv(nn.Module):
    """Positional encoding of wav2vec 2.0: a wide grouped convolution with weight norm, then GELU."""

    def __init__(self, width: int, kernel: int, groups: int):
        super().__init__()
        self.pos_conv = nn.Sequential(WeightNormConv1d(width, kernel, groups, std=(4.0 / (kernel * width)) ** 0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Frames (B, N, D) -> positional signal (B, N, D), to be added."""
        return functional.gelu(self.pos_conv(x.transpose(1, 2))).transpose(1, 2)
