"""Small heads on top of a token sequence."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecgtext_plugins.modules.fusion import BERT_EPS


class Pooler(nn.Module):
    """First token -> dense -> tanh: (B, N, D) -> (B, D)."""

    def __init__(self, width: int):
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, D), each value in (-1, 1)."""
        return torch.tanh(self.dense(x[:, 0]))


class _Transform(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=BERT_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.LayerNorm(functional.gelu(self.dense(x)))


class TokenHead(nn.Module):
    """BERT's masked-language-modelling head with an untied decoder: (..., D) -> logits (..., V)."""

    def __init__(self, width: int, vocabulary: int):
        super().__init__()
        self.transform = _Transform(width)
        self.decoder = nn.Linear(width, vocabulary, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> logits (..., V)."""
        return self.decoder(self.transform(x)) + self.bias


class MatchHead(nn.Module):
    """Two-class matching head on the concatenated pooled features (text, ECG); class 1 = aligned."""

    def __init__(self, width: int):
        super().__init__()
        self.fc = nn.Linear(2 * width, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2 D) -> logits (B, 2)."""
        return self.fc(x)
