"""Saving figures."""

from pathlib import Path

from matplotlib.figure import Figure

from ecgtext_plugins.atomic_files import replacing
from ecgtext_plugins.errors import EcgTextError

KINDS = ("png", "pdf", "svg")


def save_figure(figure: Figure, path: str | Path, dpi: float = 150.0) -> None:
    """Save `figure` at `path`, in its own size, as the kind that the path's ending says.

    Raises
    ------
    EcgTextError
        When the ending is none of KINDS.
    """
    path = Path(path)
    check_kind(path)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=dpi)


def check_kind(path: str | Path) -> None:
    """Raise EcgTextError unless the ending of `path` is one of KINDS."""
    if Path(path).suffix[1:].lower() not in KINDS:
        raise EcgTextError(
            f"cannot save a figure as '{path}': expected an ending .{', .'.join(KINDS)}; give such a name"
        )
