"""Twelve-lead ECGs on ECG paper, to scale: 25 mm/s and 10 mm/mV, lines every 1 mm and every 5 mm."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from ecgtext_plugins.signals.leads import LEADS

MM_PER_S, MM_PER_MV = 25.0, 10.0
LAYOUT = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
PAPER, FINE, COARSE, INK = "#fff8f6", "#f6d0cc", "#e9a19a", "#1a1a1a"

_INCH = 25.4  # mm
_LEFT, _RIGHT, _TOP, _BOTTOM = (
    15.0,
    5.0,
    15.0,
    5.0,
)  # mm around the traces; the calibration pulse stands in the left margin
_ROW = 25.0  # mm between baselines
_TEXT = {"family": "DejaVu Sans", "color": INK, "zorder": 4}


@dataclass(frozen=True)
class Strip:
    """An ECG to draw: `signal_mv` (12, T) in the order of LEADS, NaN where missing; `sample_rate` in Hz."""

    signal_mv: np.ndarray
    sample_rate: float
    title: str = ""


def draw_ecg(
    signal_mv: np.ndarray,
    sample_rate: float,
    title: str | None = None,
    seconds: float = 10.0,
    rhythm_lead: str = "II",
) -> Figure:
    """Draw one ECG: three rows of four leads, one after the other in time, and a rhythm strip.

    Every lead is shifted so that its median lies on its baseline, as a recorder's filter would do.

    Parameters
    ----------
    signal_mv : ndarray (12, T)
        mV, leads in the order I, II, III, aVR, aVL, aVF, V1..V6; NaN where missing.
    sample_rate : float
        Hz.
    title : str, optional
        Lines above the traces; two fit.
    seconds : float
        How much from the start is drawn; a shorter recording leaves the rest of the paper empty.
    rhythm_lead : str
        Lead of the bottom row.

    Returns
    -------
    Figure
        To scale when it is printed or saved in its own size.

    Raises
    ------
    ValueError
        When the signal is not (12, T) or the lead is none of the twelve.
    """
    return draw_page([Strip(signal_mv, sample_rate, title or "")], 1, seconds, rhythm_lead)


def draw_page(strips: Sequence[Strip], columns: int = 2, seconds: float = 10.0, rhythm_lead: str = "II") -> Figure:
    """Draw several ECGs as :func:`draw_ecg` does, row by row in `columns` columns.

    Raises
    ------
    ValueError
        When there is nothing to draw, or as for :func:`draw_ecg`.
    """
    if not strips:
        raise ValueError("no ECG was given: expected at least one to draw")
    columns = min(columns, len(strips))
    rows = -(-len(strips) // columns)
    width, height = paper_size(seconds)
    figure = Figure(figsize=(columns * width / _INCH, rows * height / _INCH), facecolor="white")
    for place, strip in enumerate(strips):
        row, column = divmod(place, columns)
        axes = figure.add_axes((column / columns, 1 - (row + 1) / rows, 1 / columns, 1 / rows))
        _draw_sheet(axes, strip, seconds, rhythm_lead)
    return figure


def paper_size(seconds: float) -> tuple[float, float]:
    """Return width and height in mm of the paper for traces of `seconds`; whole 5 mm squares."""
    width = _LEFT + seconds * MM_PER_S + _RIGHT
    return 5.0 * np.ceil(width / 5.0), _TOP + (len(LAYOUT) + 1) * _ROW + _BOTTOM


def _draw_sheet(axes: Axes, strip: Strip, seconds: float, rhythm_lead: str) -> None:
    """Draw one ECG on axes whose coordinates are millimetres of paper."""
    signal = _check(strip, rhythm_lead)
    width, height = paper_size(seconds)
    axes.set(xlim=(0, width), ylim=(0, height), xticks=[], yticks=[], facecolor=PAPER)
    for spine in axes.spines.values():
        spine.set(color=COARSE, linewidth=0.8)
    draw_grid(axes, width, height)
    share = seconds / len(LAYOUT[0])
    for row, leads in enumerate((*LAYOUT, (rhythm_lead,))):
        baseline = height - _TOP - (row + 0.55) * _ROW
        draw_pulse(axes, baseline)
        for column, lead in enumerate(leads):
            start, stop = (column * share, (column + 1) * share) if len(leads) > 1 else (0.0, seconds)
            _draw_lead(axes, signal[LEADS.index(lead)], strip.sample_rate, (start, stop), baseline, lead)
    axes.text(_LEFT, height - 2.5, strip.title, va="top", fontsize=8, linespacing=1.25, **_TEXT)
    scale = f"{MM_PER_S:g} mm/s   {MM_PER_MV:g} mm/mV   {strip.sample_rate:g} Hz"
    axes.text(_LEFT, 1.2, scale, va="bottom", fontsize=7, **_TEXT)


def _check(strip: Strip, rhythm_lead: str) -> np.ndarray:
    signal = np.asarray(strip.signal_mv, dtype=np.float64)
    if signal.ndim != 2 or signal.shape[0] != len(LEADS) or not strip.sample_rate > 0:
        raise ValueError(
            f"got a signal of shape {signal.shape} at {strip.sample_rate} Hz: expected (12, T) in mV and a rate above 0"
        )
    if rhythm_lead not in LEADS:
        raise ValueError(f"there is no lead '{rhythm_lead}' for the rhythm strip: expected one of {', '.join(LEADS)}")
    return signal


def draw_grid(axes: Axes, width: float, height: float) -> None:
    """Draw lines every 1 and 5 mm on axes whose coordinates are millimetres, `width` by `height`."""
    for step, color, line in ((1.0, FINE, 0.35), (5.0, COARSE, 0.6)):
        across = [((x, 0), (x, height)) for x in np.arange(0, width + 0.5, step)]
        along = [((0, y), (width, y)) for y in np.arange(0, height + 0.5, step)]
        axes.add_collection(LineCollection(across + along, colors=color, linewidths=line, zorder=1))


def draw_pulse(axes: Axes, baseline: float, start: float = _LEFT) -> None:
    """Draw the calibration pulse, 1 mV for 0.2 s, into the 11 mm before `start`, where the traces begin."""
    high = baseline + MM_PER_MV
    left, right = start - 9.0, start - 9.0 + 0.2 * MM_PER_S
    xs, ys = [left - 2, left, left, right, right, right + 2], [baseline, baseline, high, high, baseline, baseline]
    axes.plot(xs, ys, color=INK, linewidth=0.8, zorder=3, solid_joinstyle="miter")


def _draw_lead(
    axes: Axes, signal: np.ndarray, rate: float, span: tuple[float, float], baseline: float, lead: str
) -> None:
    """Draw one lead between two times, and its name at the start."""
    left = _LEFT + span[0] * MM_PER_S
    if span[0] > 0:
        axes.plot([left, left], [baseline - 3, baseline + 3], color=INK, linewidth=0.6, zorder=3)
    axes.text(left + 1.0, baseline + 9.0, lead, fontsize=9, fontweight="bold", va="bottom", **_TEXT)
    part = signal[round(span[0] * rate) : round(span[1] * rate)]
    if not len(part):
        return  # the recording has ended
    if not np.isfinite(part).any():
        axes.text(left + 4.0, baseline, "no signal", fontsize=8, va="center", **_TEXT)
        return
    xs = left + np.arange(len(part)) * (MM_PER_S / rate)
    ys = baseline + MM_PER_MV * (part - np.nanmedian(signal))
    axes.plot(xs, ys, color=INK, linewidth=0.75, zorder=3, solid_joinstyle="round")
