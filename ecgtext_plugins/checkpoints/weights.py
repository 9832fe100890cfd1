"""Putting a state dict into a model: every key fits, or an error that lists what does not."""

from pathlib import Path

from torch import Tensor, nn

from ecgtext_plugins.errors import BadCheckpoint

SHOWN = 5


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
    own = model.state_dict()
    if part:
        heads = {key.split(".")[0] for key in own}
        weights = {key: value for key, value in weights.items() if key.split(".")[0] in heads}
    other = [key for key in weights if key in own and not _fits(weights[key], own[key])]
    problems = {
        "missing": [key for key in own if key not in weights],
        "unexpected": [str(key) for key in weights if key not in own],
        "of another shape": [f"{key} {_shape(weights[key])}, expected {_shape(own[key])}" for key in other],
    }
    found = "; ".join(f"{len(keys)} {kind}: {_first(keys)}" for kind, keys in problems.items() if keys)
    if found:
        raise BadCheckpoint(
            f"checkpoint {path} does not fit its config, keys are {found}; expected those of {type(model).__name__} "
            "in the config's sizes: use a whole file, and the config that belongs to it"
        )
    model.load_state_dict(weights, strict=True)


def _fits(value: object, own: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == own.shape


def _shape(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _first(keys: list[str]) -> str:
    return ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")
