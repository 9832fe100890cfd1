"""Maps of embeddings: t-SNE to the plane, a colour per group."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

_COLORS = ("#1b6ca8", "#3a7d44", "#d1495b", "#c98a1b", "#8a5a9e", "#4aa3a2", "#7a4b2a", "#5b5b5b")
_NEIGHBOURS = 30.0  # t-SNE's perplexity, fewer for few points


def project_tsne(embeddings: np.ndarray, seed: int = 0) -> np.ndarray:
    """Project embeddings (B, D) to (B, 2) by t-SNE on cosine distances; the same seed gives the same map.

    Raises
    ------
    ValueError
        When there are fewer than 4 points, or values that are not finite.
    """
    from sklearn.manifold import TSNE

    embeddings = np.asarray(embeddings, dtype=np.float32)
    if embeddings.ndim != 2 or len(embeddings) < 4 or not np.isfinite(embeddings).all():
        raise ValueError(f"got embeddings {embeddings.shape}: expected (B, D) of finite numbers with B of at least 4")
    perplexity = min(_NEIGHBOURS, (len(embeddings) - 1) / 3)
    start = "pca" if min(embeddings.shape) >= 2 else "random"
    plane = TSNE(2, perplexity=perplexity, metric="cosine", init=start, random_state=seed, n_jobs=1)
    return plane.fit_transform(embeddings)


def draw_map(points: np.ndarray, groups: Sequence[str], title: str | None = None) -> Figure:
    """Draw points of the plane.

    Parameters
    ----------
    points : ndarray (B, 2)
        For instance from :func:`project_tsne`.
    groups : sequence of str
        B names, e.g. of the rhythm; the commonest is drawn first.
    title : str, optional

    Raises
    ------
    ValueError
        When the shapes do not fit.
    """
    points, names = np.asarray(points), np.asarray(groups, dtype=str)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) != len(names) or not len(names):
        raise ValueError(f"got points {points.shape} and {len(names)} groups: expected (B, 2) and B, B of at least 1")
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.subplots()
    found, counts = np.unique(names, return_counts=True)
    colors = {name: _COLORS[place % len(_COLORS)] for place, name in enumerate(found)}
    for name, count in sorted(zip(found, counts, strict=True), key=lambda pair: -pair[1]):
        inside = points[names == name]
        label = f"{name.replace('_', ' ')} ({count})"
        axes.scatter(inside[:, 0], inside[:, 1], s=9, color=colors[name], label=label, alpha=0.75, linewidths=0)
    axes.set(xticks=[], yticks=[], title=title or "")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8, markerscale=2)
    return figure
