"""Spellings of the positional convolution's keys: ours, torch's parametrizations, and stock fairseq's place for it."""

from torch import Tensor

OURS = "conv_pos.pos_conv.0."
STOCK = "encoder.pos_conv.0."
NEW_SPELLING = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
}


def to_weight_norm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Spell weight norm as ``weight_g`` and ``weight_v``, as the networks here do; other keys stay."""
    return {_replaced(key, NEW_SPELLING): value for key, value in weights.items()}


def to_parametrizations(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Spell weight norm as ``parametrizations.weight.original0`` and ``1``, as fairseq-signals saves it."""
    old = {ours: new for new, ours in NEW_SPELLING.items()}
    return {_replaced(key, old): value for key, value in weights.items()}


def from_stock(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Move the positional convolution of stock fairseq's wav2vec2 to its place in fairseq-signals and here."""
    return {OURS + key[len(STOCK) :] if key.startswith(STOCK) else key: value for key, value in weights.items()}


def _replaced(key: str, spelling: dict[str, str]) -> str:
    head, found, rest = key.partition(OURS)
    return f"{head}{found}{spelling.get(rest, rest)}"
