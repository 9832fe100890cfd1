"""Where a model looks in an ECG: twelve leads below each other on ECG paper, in the colours of a saliency."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, Normalize
from matplotlib.figure import Figure

from ecgtext_plugins.errors import EcgTextError
from ecgtext_plugins.plotting.ecg_paper import COARSE, INK, MM_PER_MV, MM_PER_S, PAPER, draw_grid, draw_pulse
from ecgtext_plugins.signals.leads import LEADS

COLORS = (
    "blue-red",
    "cividis",
)  # cividis (Nuñez et al. 2018) is for all eyes; here dark is high
LEVELS = 64  # of colour: samples in a row of one level are one line, which keeps files small

_INCH = 25.4  # mm
_LEFT, _RIGHT, _TOP, _BOTTOM = 25.0, 5.0, 15.0, 20.0  # mm around the traces
_NARROWEST = 160.0  # mm of paper that the texts need
_LEAST, _MOST = 15.0, 60.0  # mm between baselines
_TEXT = {"family": "DejaVu Sans", "color": INK, "zorder": 4}


def color_map(name: str) -> Colormap:
    """Return the colours from low to high, one of COLORS, in LEVELS steps.

    Raises
    ------
    EcgTextError
        For another name.
    """
    if name not in COLORS:
        raise EcgTextError(f"there are no colours '{name}': expected one of {', '.join(COLORS)}")
    if name == "blue-red":
        return LinearSegmentedColormap.from_list(name, ["#1f4fd8", "#7a3fae", "#e00b1c"], LEVELS)
    return ListedColormap(colormaps["cividis"](np.linspace(0.75, 0.0, LEVELS)), name)


def draw_saliency(
    signal_mv: np.ndarray,
    sample_rate: float,
    values: np.ndarray,
    title: str = "",
    meaning: str = "",
    start: float = 0.0,
    seconds: float = 10.0,
    colors: str = "blue-red",
    borders: Sequence[float] = (),
) -> Figure:
    """Draw one ECG to scale, every sample in the colour of its value.

    Every lead is shifted so that the median of what is drawn lies on its baseline, and rows are as far apart as the
    leads need.

    Parameters
    ----------
    signal_mv : ndarray (12, T)
        mV, leads in the order of LEADS; NaN where missing.
    sample_rate : float
        Hz.
    values : ndarray (T,) or (12, T)
        From 0 to 1; one row for all leads, or one a lead.
    title : str
        Lines above the traces; two of some 75 letters fit.
    meaning : str
        What the values are, above the colour bar; some 80 letters fit.
    start, seconds : float
        The part that is drawn; a shorter recording ends earlier.
    colors : str
        One of COLORS.
    borders : sequence of float
        Seconds from the recording's start at which a dotted line is drawn, such as between windows.

    Returns
    -------
    Figure
        To scale when it is printed or saved in its own size.

    Raises
    ------
    ValueError
        When shapes, values or the rate are not as above.
    EcgTextError
        When there are no such colours, or nothing of the recording is in the part to draw.
    """
    signal, values = _checked(signal_mv, sample_rate, values)
    colormap = color_map(colors)
    part = slice(round(start * sample_rate), round((start + seconds) * sample_rate))
    if start < 0 or not seconds > 0 or signal[:, part].shape[1] < 2:
        raise EcgTextError(
            f"there is nothing to draw of {seconds:g} s from {start:g} s on: expected a part of the recording, which "
            f"has {signal.shape[1] / sample_rate:g} s; choose another start"
        )
    heights = _centred(signal[:, part]) * MM_PER_MV
    baselines, height = _rows(heights)
    seconds = heights.shape[1] / sample_rate
    width = 5.0 * np.ceil((_LEFT + seconds * MM_PER_S + _RIGHT) / 5.0)
    figure, axes = _sheet(max(width, _NARROWEST), height, title)
    for lead, row, baseline, ys in zip(LEADS, values[:, part], baselines, heights, strict=True):
        draw_pulse(axes, baseline, _LEFT)
        axes.text(2.0, baseline, lead, fontsize=10, fontweight="bold", va="center", **_TEXT)
        if np.isfinite(ys).any():
            xs = _LEFT + np.arange(len(ys)) * (MM_PER_S / sample_rate)
            axes.add_collection(_colored_line(xs, baseline + ys, row, colormap))
        else:
            axes.text(_LEFT + 4.0, baseline, "no signal", fontsize=8, va="center", **_TEXT)
    for border in borders:
        if start < border < start + seconds:
            place = _LEFT + (border - start) * MM_PER_S
            axes.plot([place, place], [_BOTTOM, height - _TOP], color=INK, linewidth=0.6, linestyle=":", zorder=2)
    from_when = f"   from {start:g} s" if start else ""
    scale = f"{MM_PER_S:g} mm/s   {MM_PER_MV:g} mm/mV   {sample_rate:g} Hz{from_when}"
    axes.text(_LEFT, 3.0, scale, va="bottom", fontsize=7, **_TEXT)
    _draw_bar(figure, axes, colormap, meaning)
    return figure


def _checked(signal_mv: np.ndarray, sample_rate: float, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the signal (12, T) float64 and the values (12, T)."""
    signal, values = np.asarray(signal_mv, dtype=np.float64), np.asarray(values, dtype=np.float64)
    fits = signal.ndim == 2 and values.shape in (signal.shape, signal.shape[1:])
    if not fits or len(signal) != len(LEADS) or not sample_rate > 0:
        raise ValueError(
            f"got a signal of shape {signal.shape} at {sample_rate} Hz and values of shape {values.shape}: expected "
            "(12, T) in mV, a rate above 0, and (T,) or (12, T)"
        )
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"the values are from {values.min():g} to {values.max():g}: expected all from 0 to 1")
    return signal, np.broadcast_to(values, signal.shape)


def _centred(signal: np.ndarray) -> np.ndarray:
    """Take its median off each row that has any sample."""
    there = np.isfinite(signal).any(axis=1)
    centred = signal.copy()
    centred[there] -= np.nanmedian(signal[there], axis=1, keepdims=True)
    return centred


def _rows(heights: np.ndarray) -> tuple[np.ndarray, float]:
    """Place rows of `heights` (12, T), mm, on lines of the paper: baselines (12,) and the paper's height, in mm."""
    known = np.nan_to_num(heights)
    above, below = known.max(axis=1).clip(MM_PER_MV, _MOST), (-known.min(axis=1)).clip(4.0, _MOST)
    gaps = np.clip(5.0 * np.ceil((below[:-1] + above[1:]) / 5.0), _LEAST, _MOST)
    from_last = np.append(np.cumsum(gaps[::-1])[::-1], 0.0)
    baselines = _BOTTOM + 5.0 * np.ceil(below[-1] / 5.0) + from_last
    return baselines, 5.0 * np.ceil((baselines[0] + above[0] + _TOP) / 5.0)


def _sheet(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """Return a figure and its axes, whose coordinates are millimetres of paper."""
    figure = Figure(figsize=(width / _INCH, height / _INCH), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height), xticks=[], yticks=[], facecolor=PAPER)
    for spine in axes.spines.values():
        spine.set(color=COARSE, linewidth=0.8)
    draw_grid(axes, width, height)
    axes.text(2.0, height - 2.5, title, va="top", fontsize=9, linespacing=1.3, **_TEXT)
    return figure, axes


def _colored_line(xs: np.ndarray, ys: np.ndarray, values: np.ndarray, colormap: Colormap) -> LineCollection:
    """Return the trace (T,), from each sample to the next in the colour of the first one's value; none over gaps."""
    level = np.minimum((values[:-1] * LEVELS).astype(int), LEVELS - 1)
    level = np.where(np.isfinite(ys[:-1]) & np.isfinite(ys[1:]), level, -1)
    first = np.append(0, np.flatnonzero(np.diff(level)) + 1)
    stop = np.append(first[1:], len(level))
    points = np.column_stack([xs, ys])
    drawn = level[first] >= 0
    lines = [points[a : b + 1] for a, b in zip(first[drawn], stop[drawn], strict=True)]
    collection = LineCollection(lines, cmap=colormap, norm=Normalize(0, 1), linewidths=1.0, zorder=3)
    collection.set(array=(level[first[drawn]] + 0.5) / LEVELS, capstyle="round", joinstyle="round")
    return collection


def _draw_bar(figure: Figure, axes: Axes, colormap: Colormap, meaning: str) -> None:
    """Draw the colour bar at the bottom right."""
    width, height = axes.get_xlim()[1], axes.get_ylim()[1]
    left, long = width - _RIGHT - 50.0, 50.0
    bar = figure.add_axes((left / width, 6.0 / height, long / width, 3.0 / height))
    figure.colorbar(ScalarMappable(Normalize(0, 1), colormap), cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
    bar.tick_params(labelsize=7, length=2, pad=1)
    axes.text(width - _RIGHT, 10.0, meaning, ha="right", va="bottom", fontsize=7, **_TEXT)
