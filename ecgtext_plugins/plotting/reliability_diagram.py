"""Reliability diagrams: how often what was predicted with a probability came true."""

import numpy as np
from matplotlib.figure import Figure

_COLOR, _CHANCE = "#0072b2", "#9a9a9a"


def draw_reliability(
    confidence: np.ndarray, frequency: np.ndarray, count: np.ndarray, ece: float | None = None, title: str = ""
) -> Figure:
    """Draw observed frequency over mean predicted probability, and below it how many predictions each bin has.

    Parameters
    ----------
    confidence, frequency : ndarray (bins,)
        Mean predicted probability and share of positives of each bin; nan where it is empty.
    count : ndarray (bins,)
        Predictions in each bin; a dot's area grows with it.
    ece : float, optional
        Expected calibration error, told in the panel.

    Raises
    ------
    ValueError
        When shapes differ, or no bin has a prediction.
    """
    confidence, frequency = np.asarray(confidence, dtype=np.float64), np.asarray(frequency, dtype=np.float64)
    count = np.asarray(count)
    if not confidence.shape == frequency.shape == count.shape or confidence.ndim != 1 or not (count > 0).any():
        raise ValueError(
            f"got confidence {confidence.shape}, frequency {frequency.shape} and count {count.shape} with "
            f"{int(np.sum(count))} predictions: expected (bins,) each and at least one prediction"
        )
    used = count > 0
    figure = Figure(figsize=(4.6, 5.2), layout="constrained")
    panel, bars = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    panel.plot([0, 1], [0, 1], color=_CHANCE, linewidth=0.8, dashes=(4, 3))
    gaps = [((x, x), (x, y)) for x, y in zip(confidence[used], frequency[used], strict=True)]
    for xs, ys in gaps:
        panel.plot(xs, ys, color="#d55e00", linewidth=2.2, alpha=0.35, solid_capstyle="butt")
    panel.plot(confidence[used], frequency[used], color=_COLOR, linewidth=1.3)
    sizes = 18 + 120 * np.sqrt(count[used] / count.max())
    panel.scatter(confidence[used], frequency[used], s=sizes, color=_COLOR, zorder=3, linewidths=0)
    panel.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), ylabel="observed frequency", title=title)
    if ece is not None:
        panel.text(0.03, 0.97, f"ECE {ece:.3f}", transform=panel.transAxes, va="top", fontsize=10)
    edges = np.linspace(0, 1, len(count) + 1)
    bars.bar((edges[:-1] + edges[1:]) / 2, count, width=0.9 / len(count), color=_COLOR)
    bars.set(yscale="log", ylim=(0.7, 2 * count.max()), xlabel="predicted probability", ylabel="pairs")
    bars.yaxis.set_major_formatter("{x:,.0f}")
    for one in (panel, bars):
        one.tick_params(labelsize=8)
        one.spines[["top", "right"]].set_visible(False)
        one.grid(color="#e6e6e6", linewidth=0.6)
        one.set_axisbelow(True)
    return figure
