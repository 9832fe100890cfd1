"""A page about negatives: how similar they are to their reports, and how few reports serve as negatives."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

_COLORS = {"random": "#8a8a8a", "farthest": "#3b6ea5", "band": "#e08e45"}
_BINS = 60


def negatives_page(
    similarities: Mapping[str, np.ndarray], counts: Mapping[str, np.ndarray], n_candidates: int, title: str = ""
) -> Figure:
    """Draw similarities to own negatives against those of random pairs, and the share of draws by rank of report.

    Parameters
    ----------
    similarities : mapping of str to ndarray (n,)
        Cosine similarities of reports to their negatives, by kind: ``farthest``, ``band``, ``random``.
    counts : mapping of str to ndarray (m,)
        Rows that each report serves, descending, by kind: ``farthest``, ``band``.
    n_candidates : int
        Reports that could serve.
    """
    figure = Figure(figsize=(11, 4.4), facecolor="white", layout="constrained")
    figure.suptitle(title, fontsize=11)
    left, right = figure.subplots(1, 2)
    everything = np.concatenate(list(similarities.values()))
    edges = np.linspace(everything.min() - 1e-6, everything.max() + 1e-6, _BINS + 1)
    for name, values in similarities.items():
        weights = np.full(len(values), 100 / len(values))
        label = "random pairs" if name == "random" else f"own negatives, {name}"
        left.hist(values, edges, weights=weights, histtype="stepfilled", color=_COLORS[name], alpha=0.55, label=label)
    left.set(xlabel="cosine similarity to the report", ylabel="% of pairs")
    for name, served in counts.items():
        share = 100 * np.cumsum(served) / served.sum()
        label = f"{name}: {len(served):,} of {n_candidates:,} serve"
        right.plot(np.arange(1, len(share) + 1), share, color=_COLORS[name], linewidth=1.6, label=label)
    ranks = np.unique(np.geomspace(1, n_candidates, 200).astype(int))
    right.plot(ranks, 100 * ranks / n_candidates, color=_COLORS["random"], linestyle="--", label="all equally often")
    right.set(xscale="log", xlabel="reports, the commonest negative first", ylabel="% of draws, cumulative")
    right.set(ylim=(0, 103), xlim=(1, max(2, n_candidates)))
    for panel in (left, right):
        panel.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        panel.spines[["top", "right"]].set_visible(False)
    return figure
