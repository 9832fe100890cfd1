"""Putting a state dict into a model: every key fits, or an error that lists what does not."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ecgtext_plugins.errors import BadCheckpoint

SHOWN = 5
DERIVED = {  # computed or copied from others: no parameters of their own
    "mim_head.decoder_pos_embed.pe": None,
    "language_encoder.encoder.embed_tokens.weight": "language_encoder.shared.weight",
}


@dataclass(frozen=True)
class KeyComparison:
    """How the keys of a file differ from those of a network."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[tuple[str, str, str], ...]  # key, its shape in the file, the network's

    @property
    def fits(self) -> bool:
        """Whether there is no difference."""
        return not (self.missing or self.unexpected or self.mismatched)

    def sentence(self) -> str:
        """Name the first keys of each kind."""
        kinds = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": [f"{key} {found}, expected {own}" for key, found, own in self.mismatched],
        }
        return "; ".join(f"{len(keys)} {kind}: {_first(keys)}" for kind, keys in kinds.items() if keys)

    def table(self) -> str:
        """Lay out all keys, a line each."""
        rows = [("missing", key, "-", "") for key in self.missing]
        rows += [("unexpected", key, "", "-") for key in self.unexpected]
        rows += [("mismatched", key, found, own) for key, found, own in self.mismatched]
        return text_table(("problem", "key", "in the file", "expected"), rows)


class MisfitCheckpoint(BadCheckpoint):
    """A checkpoint whose keys or shapes are not those of its network; `comparison` has all of them."""

    def __init__(self, message: str, comparison: KeyComparison):
        super().__init__(message)
        self.comparison = comparison


def compare_keys(weights: Mapping[str, object], own: Mapping[str, Tensor]) -> KeyComparison:
    """Compare a file's weights with a network's state dict, which may be on the meta device."""
    other = [key for key in weights if key in own and not _fits(weights[key], own[key])]
    return KeyComparison(
        missing=tuple(key for key in own if key not in weights),
        unexpected=tuple(str(key) for key in weights if key not in own),
        mismatched=tuple((key, shape_text(weights[key]), shape_text(own[key])) for key in other),
    )


def check_keys(path: str | Path, model: nn.Module, weights: Mapping[str, object]) -> None:
    """Refuse weights that are not exactly those of a network.

    Raises
    ------
    MisfitCheckpoint
        When keys are missing, unexpected or of another shape; the first of each are named.
    """
    comparison = compare_keys(weights, model.state_dict())
    if not comparison.fits:
        raise MisfitCheckpoint(
            f"checkpoint {path} does not fit its config, keys are {comparison.sentence()}; expected those of "
            f"{type(model).__name__} in the config's sizes: use a whole file, and the config that belongs to it",
            comparison,
        )


def load_weights(path: str | Path, model: nn.Module, weights: dict[str, Tensor], part: bool = False) -> None:
    """Copy weights into a model.

    Parameters
    ----------
    path : path-like
        Of the checkpoint, for the error.
    model : nn.Module
    weights : dict of Tensor
    part : bool
        The model is a part of the one that was saved: keys outside its modules are left aside, and not read.

    Raises
    ------
    BadCheckpoint
        When keys are missing, unexpected or of another shape; the first of each are named.
    """
    if part:
        heads = {key.split(".")[0] for key in model.state_dict()}
        weights = {key: value for key, value in weights.items() if str(key).split(".")[0] in heads}
    check_keys(path, model, weights)
    model.load_state_dict(weights, strict=True)


def parameter_count(weights: Mapping[str, Tensor]) -> int:
    """Count the parameters of a state dict: copies of a tied weight and computed buffers do not count."""
    return sum(
        value.numel()
        for key, value in weights.items()
        if isinstance(value, Tensor) and not (key in DERIVED and (DERIVED[key] is None or DERIVED[key] in weights))
    )


def text_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Lay out rows of texts in columns."""
    widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head))]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
    return "\n".join(line.rstrip() for line in lines)


def shape_text(value: object) -> str:
    """Return a tensor's shape, or what stands in its place."""
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _fits(value: object, own: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == own.shape


def _first(keys: tuple[str, ...] | list[str]) -> str:
    return ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")
