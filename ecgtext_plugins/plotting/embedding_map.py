"""Maps of embeddings: t-SNE or UMAP to the plane, a colour per group."""

import itertools
import warnings
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from matplotlib.figure import Figure

from ecgtext_plugins.errors import BadConfig, BadEnvironment

METHODS = {"tsne": "t-SNE", "umap": "UMAP"}  # as a person calls them
OTHER = "other"  # the group that is grey
_GREY = "#9a9a9a"
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a4b2a")  # for the colour-blind too
_NEIGHBOURS = 30.0  # t-SNE's perplexity, fewer for few points
_UMAP_NEIGHBOURS = 15
_FEWEST = 4  # points
_COLUMNS = 2  # of the legend


def check_methods(methods: Sequence[str]) -> None:
    """Refuse maps that cannot be drawn, before anything is computed for them.

    Raises
    ------
    BadConfig
        When a word is none of METHODS, or is there twice.
    BadEnvironment
        When UMAP is asked for and not installed.
    """
    if set(methods) - set(METHODS) or len(set(methods)) < len(methods):
        raise BadConfig(f"maps {','.join(methods)}: expected different ones of {', '.join(METHODS)}; use these")
    if "umap" in methods and find_spec("umap") is None:
        raise BadEnvironment(_without_umap("there is no module umap"))


def project(embeddings: np.ndarray, method: str = "tsne", seed: int = 0) -> np.ndarray:
    """Project embeddings (B, D) to (B, 2) by one of METHODS; see :func:`project_tsne` and :func:`project_umap`."""
    check_methods([method])
    return (project_tsne if method == "tsne" else project_umap)(embeddings, seed)


def project_tsne(embeddings: np.ndarray, seed: int = 0) -> np.ndarray:
    """Project embeddings (B, D) to (B, 2) by t-SNE on cosine distances; the same seed gives the same map.

    Raises
    ------
    ValueError
        When there are fewer than 4 points, or values that are not finite.
    """
    from sklearn.manifold import TSNE

    embeddings = _checked(embeddings)
    perplexity = min(_NEIGHBOURS, (len(embeddings) - 1) / 3)
    start = "pca" if min(embeddings.shape) >= 2 else "random"
    plane = TSNE(2, perplexity=perplexity, metric="cosine", init=start, random_state=seed, n_jobs=1)
    return plane.fit_transform(embeddings)


def project_umap(embeddings: np.ndarray, seed: int = 0) -> np.ndarray:
    """Project embeddings (B, D) to (B, 2) by UMAP (McInnes et al., 2018) on cosine distances.

    The same seed gives the same map: one thread works on it. The first map of a process takes some 20 s more, while
    UMAP compiles itself.

    Raises
    ------
    ValueError
        As :func:`project_tsne`.
    BadEnvironment
        When umap-learn is not installed.
    """
    embeddings = _checked(embeddings)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Tensorflow not installed", category=ImportWarning)
        warnings.filterwarnings("ignore", message="n_jobs value", category=UserWarning)
        try:
            from umap import UMAP
        except ImportError as error:
            raise BadEnvironment(_without_umap(error)) from error
        neighbours = min(_UMAP_NEIGHBOURS, len(embeddings) - 1)
        plane = UMAP(n_components=2, n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1)
        return plane.fit_transform(embeddings)


def _without_umap(reason: object) -> str:
    return (
        f"a UMAP map needs umap-learn, which cannot be imported ({reason}): expected the extra `evaluation`; "
        "pip install 'ecgtext-plugins[evaluation]', or draw t-SNE alone"
    )


def _checked(embeddings: np.ndarray) -> np.ndarray:
    embeddings = np.asarray(embeddings, dtype=np.float32)
    if embeddings.ndim != 2 or len(embeddings) < _FEWEST or not np.isfinite(embeddings).all():
        raise ValueError(
            f"got embeddings {embeddings.shape}: expected (B, D) of finite numbers with B of at least {_FEWEST}"
        )
    return embeddings


def draw_map(points: np.ndarray, groups: Sequence[str], title: str | None = None) -> Figure:
    """Draw points of the plane.

    Parameters
    ----------
    points : ndarray (B, 2)
        For instance from :func:`project`.
    groups : sequence of str
        B names, e.g. of the rhythm; the commonest is drawn first, but OTHER, in grey, before all.
    title : str, optional

    Raises
    ------
    ValueError
        When the shapes do not fit.
    """
    points, names = np.asarray(points), np.asarray(groups, dtype=str)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) != len(names) or not len(names):
        raise ValueError(f"got points {points.shape} and {len(names)} groups: expected (B, 2) and B, B of at least 1")
    found, counts = np.unique(names, return_counts=True)
    colors = dict(zip(found[found != OTHER], itertools.cycle(_COLORS), strict=False)) | {OTHER: _GREY}
    figure = Figure(figsize=(5.8, 5.4 + 0.2 * -(-len(found) // _COLUMNS)), layout="constrained")
    axes = figure.subplots()
    for name, count in sorted(zip(found, counts, strict=True), key=lambda pair: (pair[0] != OTHER, -pair[1])):
        inside = points[names == name]
        label = f"{name.replace('_', ' ')} ({count})"
        axes.scatter(inside[:, 0], inside[:, 1], s=9, color=colors[name], label=label, alpha=0.75, linewidths=0)
    axes.set(xticks=[], yticks=[], title=title or "")
    axes.set_aspect("equal", adjustable="datalim")  # distances mean the same both ways
    for spine in axes.spines.values():
        spine.set(color=_GREY, linewidth=0.8)
    figure.legend(loc="outside lower left", ncols=_COLUMNS, frameon=False, fontsize=9, markerscale=2)
    return figure
