"""A page of charts about a corpus: labels by split, reports, lengths, ages, failures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLORS = ("#3b6ea5", "#e08e45", "#5a9e6f", "#a05195")
_SMALL, _TINY = 8, 6
_ROW, _LEAST = 0.16, 7.0  # inches: what a label's bars take, and the page's least height


def corpus_charts(
    found: Mapping[str, Any], report_counts: np.ndarray, seconds: np.ndarray, ages: Mapping[str, np.ndarray]
) -> Figure:
    """Draw the page.

    Parameters
    ----------
    found : mapping
        As ``ecgtext_plugins.store.inspection.describe`` returns it.
    report_counts : ndarray (n,)
        Records of each unique report, the most common first.
    seconds : ndarray (R,)
        Lengths of the records.
    ages : mapping
        Ages in years by sex, NaN where unknown.
    """
    labels = found["labels"]
    height = max(_LEAST, 1.4 + _ROW * len(labels))
    figure = Figure(figsize=(14, height), facecolor="white", layout="constrained")
    kept, at = found["counts"]["kept"], found["sample_rate"]
    figure.suptitle(f"{found['recipe']}: {kept:,} records at {at:g} Hz", fontsize=11)
    # the four charts on the right keep their height beside a long list of labels
    rest = max(0.01, height - _LEAST)
    grid = figure.add_gridspec(5, 2, width_ratios=(1.25, 1), height_ratios=(*[_LEAST / 4] * 4, rest))
    _label_bars(figure.add_subplot(grid[:, 0]), labels, found["splits"])
    _report_ranks(figure.add_subplot(grid[0, 1]), report_counts)
    _histogram(figure.add_subplot(grid[1, 1]), seconds)
    _ages(figure.add_subplot(grid[2, 1]), ages)
    failures = {reason: row["records"] for reason, row in found["failures"].items()}
    _bars(figure.add_subplot(grid[3, 1]), failures, "records rejected", "no record was rejected")
    return figure


def _label_bars(panel: Axes, labels: Mapping[str, Mapping[str, int]], splits: Mapping[str, int]) -> None:
    """Draw the share of each split's records that carry each label, a group of bars a label."""
    shown = [split for split, number in splits.items() if number]
    if not labels or not shown:
        _nothing(panel, "no labels")
        return
    places = np.arange(len(labels))
    width = 0.8 / len(shown)
    for number, (split, color) in enumerate(zip(shown, COLORS, strict=False)):
        shares = [100 * counts[split] / splits[split] for counts in labels.values()]
        offset = (number - (len(shown) - 1) / 2) * width
        panel.barh(places + offset, shares, width, color=color, label=f"{split} ({splits[split]:,})")
    panel.set_yticks(places, [_short(label) for label in labels], fontsize=_TINY if len(labels) > 30 else _SMALL)
    panel.set_ylim(len(labels) - 0.4, -0.6)
    panel.legend(fontsize=_SMALL, frameon=False)
    _tidy(panel, "% of the split's records", "")


def _report_ranks(panel: Axes, counts: np.ndarray) -> None:
    """Draw how many records have the most common report, the second, and so on."""
    if not len(counts):
        _nothing(panel, "no reports")
        return
    panel.loglog(np.arange(1, len(counts) + 1), counts, color=COLORS[0], linewidth=1.3, marker=".", markersize=3)
    _tidy(panel, f"rank of the report (of {len(counts):,})", "records")


def _histogram(panel: Axes, seconds: np.ndarray) -> None:
    if not len(seconds):
        _nothing(panel, "no records")
        return
    low, high = float(seconds.min()), float(seconds.max())
    edges = np.linspace(low - 0.5, high + 0.5, 12) if high - low < 1 else np.linspace(low, high, 40)
    panel.hist(seconds, bins=edges, color=COLORS[0])
    _tidy(panel, "length, s", "records")


def _ages(panel: Axes, ages: Mapping[str, np.ndarray]) -> None:
    known = {name: values[np.isfinite(values)] for name, values in ages.items()}
    known = {name: values for name, values in known.items() if len(values)}
    if not known:
        _nothing(panel, "no ages")
        return
    top = max(100.0, *(float(values.max()) for values in known.values()))
    edges = np.arange(0, top + 5, 5)
    for (name, values), color in zip(known.items(), COLORS, strict=False):
        panel.hist(values, bins=edges, histtype="step", linewidth=1.4, color=color, label=f"{name} ({len(values):,})")
    panel.legend(fontsize=_SMALL, frameon=False)
    _tidy(panel, "age, years", "records")


def _bars(panel: Axes, counts: Mapping[str, int], across: str, otherwise: str) -> None:
    if not counts:
        _nothing(panel, otherwise)
        return
    panel.barh(np.arange(len(counts)), list(counts.values()), color=COLORS[1])
    panel.set_yticks(np.arange(len(counts)), [_short(name) for name in counts], fontsize=_SMALL)
    panel.invert_yaxis()
    _tidy(panel, across, "")


def _short(name: str) -> str:
    return name if len(name) <= 36 else f"{name[:35]}…"


def _nothing(panel: Axes, words: str) -> None:
    panel.set_axis_off()
    panel.text(0.5, 0.5, words, ha="center", va="center", fontsize=_SMALL, color="#777777", transform=panel.transAxes)


def _tidy(panel: Axes, across: str, up: str) -> None:
    panel.set_xlabel(across, fontsize=_SMALL)
    panel.set_ylabel(up, fontsize=_SMALL)
    panel.tick_params(axis="x", labelsize=_SMALL)
    if up:
        panel.tick_params(axis="y", labelsize=_SMALL)
    panel.grid(color="#e6e6e6", linewidth=0.6)
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
