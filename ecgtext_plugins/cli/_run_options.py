"""Options shared by the commands that run a model."""

import argparse


def positive(text: str) -> int:
    """Parse a positive number for argparse."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return value


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `--device`."""
    parser.add_argument(
        "--device", default="cpu", help="where the model runs: cpu, cuda, cuda:1 (default: %(default)s)"
    )


def check_device(name: str) -> str:
    """Return `name` when torch can compute there; for the CPU, freed memory is kept for the next batch.

    Raises
    ------
    BadEnvironment
        When it cannot.
    """
    import torch

    from ecgtext_plugins.errors import BadEnvironment
    from ecgtext_plugins.kept_memory import keep_freed_memory

    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise BadEnvironment(f"device '{name}' cannot be used: {reason}; give --device cpu") from error
    if torch.device(name).type == "cpu":
        keep_freed_memory()
    return name
