"""Cross-attention fusion of two streams: BERT blocks with self- and cross-attention, post-norm (BERT's key names)."""

from torch import Tensor, nn
from torch.nn import functional

from ecgtext_plugins.modules.attention import attend
from ecgtext_plugins.modules.dropout import Dropout

BERT_EPS = 1e-12


class _Projections(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)


class _AddAndNorm(nn.Module):
    """Dense, dropout, residual, layer norm."""

    def __init__(self, width_in: int, width: int, dropout: float):
        super().__init__()
        self.dense = nn.Linear(width_in, width)
        self.LayerNorm = nn.LayerNorm(width, eps=BERT_EPS)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.self = _Projections(width)
        self.output = _AddAndNorm(width, width, dropout)

    def forward(self, x: Tensor, context: Tensor, padding_mask: Tensor | None) -> Tensor:
        projections, dropout = self.self, self.dropout if self.training else 0.0
        query, key, value = projections.query(x), projections.key(context), projections.value(context)
        return self.output(attend(query, key, value, self.heads, padding_mask, dropout), x)


class FusionLayer(nn.Module):
    """One block of one stream: attends to itself, then to the other stream, then feeds forward.

    Parameters
    ----------
    width, heads : int
        Width D and number of attention heads; the feed-forward block is 4 D wide.
    dropout : float
        For attention weights and block outputs.
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.attention = _Attention(width, heads, dropout)
        self.crossattention = _Attention(width, heads, dropout)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, 4 * width)})
        self.output = _AddAndNorm(4 * width, width, dropout)

    def forward(
        self,
        x: Tensor,
        other: Tensor,
        padding_mask: Tensor | None = None,
        other_padding_mask: Tensor | None = None,
        query: Tensor | None = None,
    ) -> Tensor:
        """Own stream (B, N, D) and other stream (B, M, D) -> own stream (B, N, D); masks are True at padding.

        `query` (B, Q, D) are the tokens of the own stream that are wanted, if not all: -> (B, Q, D).
        """
        x = self.attention(x if query is None else query, x, padding_mask)
        x = self.crossattention(x, other, other_padding_mask)
        return self.output(functional.gelu(self.intermediate["dense"](x)), x)
