"""A figure per class as bars with intervals, the best class at the top."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

_GOOD, _BAD, _INK = "#7fb0d6", "#e0a58a", "#1a1a1a"


def draw_class_bars(
    values: Mapping[str, float | None],
    intervals: Mapping[str, tuple[float, float] | None] | None = None,
    metric: str = "AUROC",
    chance: float = 0.5,
    overall: float | None = None,
) -> Figure:
    """Draw horizontal bars from the chance level, sorted; classes without a figure stand below, named.

    Parameters
    ----------
    values : mapping of str to float or None
        None or nan where the figure is not defined.
    intervals : mapping of str to (low, high), optional
    metric : str
        Name of the axis.
    chance : float
        Where the bars begin: a classifier that knows nothing.
    overall : float, optional
        Macro mean, drawn as a line.

    Raises
    ------
    ValueError
        When there is no class.
    """
    if not values:
        raise ValueError("got no class: expected at least one to draw")
    intervals = intervals or {}
    known = {name: float(value) for name, value in values.items() if value is not None and np.isfinite(value)}
    order = [*sorted(known, key=lambda name: -known[name]), *(name for name in values if name not in known)]
    figure = Figure(figsize=(6.1, 0.9 + 0.27 * len(order)), layout="constrained")
    axes = figure.subplots()
    ends = [chance, 1.0]
    for place, name in enumerate(order):
        if name not in known:
            axes.text(chance, place, " undefined", va="center", fontsize=8.5, color="#666666", style="italic")
            continue
        value, interval = known[name], intervals.get(name)
        color = _GOOD if value >= chance else _BAD
        axes.barh(place, value - chance, left=chance, height=0.62, color=color)
        if interval is not None:
            axes.plot(interval, [place, place], color=_INK, linewidth=1.2)
            axes.plot(interval, [place, place], color=_INK, linestyle="none", marker="|", markersize=6)
            ends += list(interval)
        axes.plot([value], [place], color=_INK, marker="o", markersize=3.5)
        axes.annotate(f"{value:.3f}", (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)
        ends.append(value)
    axes.axvline(chance, color=_INK, linewidth=0.8)
    if overall is not None:
        axes.axvline(overall, color="#d55e00", linewidth=1.0, dashes=(4, 3))
        axes.annotate(
            "macro", (overall, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8.5
        )
    axes.set_yticks(range(len(order)), [_shorten(name) for name in order], fontsize=8.5)
    axes.set(ylim=(len(order) - 0.4, -0.6), xlim=(max(0.0, min(ends) - 0.02), 1.005))
    axes.set_xlabel(metric, fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure


def _shorten(name: str, limit: int = 34) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"
