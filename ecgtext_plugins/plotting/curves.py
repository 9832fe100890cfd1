"""Training curves from metrics.csv, and ROC curves."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ecgtext_plugins.errors import EcgTextError

_KEYS = ("split", "epoch", "num_updates")
_COLORS = ("#1b6ca8", "#d1495b", "#3a7d44", "#8a5a9e", "#c98a1b")


def read_metrics(path: str | Path) -> dict[str, dict[str, np.ndarray]]:
    """Read metrics.csv as training writes it: columns split, epoch, num_updates, then metrics.

    Returns
    -------
    dict
        split -> column -> (rows,) float64, ascending in num_updates, NaN where a cell is empty.

    Raises
    ------
    EcgTextError
        When the file is missing, is no such table, or has a cell that is no number.
    """
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EcgTextError(f"cannot read {path} ({error}): expected training's metrics.csv; check the path") from None
    if not rows or any(row.get(key) is None for row in rows for key in _KEYS):
        raise EcgTextError(
            f"{path} has {len(rows)} rows, not all with columns {', '.join(_KEYS)}: expected training's metrics.csv; "
            "check the path, or train for at least one log interval"
        )
    names = [name for name in rows[0] if name != "split"]
    try:
        table = np.array([[float(row[name] or "nan") for name in names] for row in rows])
    except (TypeError, ValueError) as error:
        raise EcgTextError(f"{path} has a cell that is no number ({error}): expected numbers; mend that row") from None
    splits = np.array([row["split"] for row in rows])
    result = {}
    for split in dict.fromkeys(splits.tolist()):
        part = table[splits == split]
        part = part[np.argsort(part[:, names.index("num_updates")], kind="stable")]
        result[split] = dict(zip(names, part.T, strict=True))
    return result


def training_curves(metrics: Mapping[str, Mapping[str, np.ndarray]], names: Sequence[str] | None = None) -> Figure:
    """Draw metrics over updates, a panel each, a line per split.

    Parameters
    ----------
    metrics : mapping
        As :func:`read_metrics` gives it.
    names : sequence of str, optional
        Metrics to draw; default: all that have a number anywhere.

    Raises
    ------
    ValueError
        When there is nothing to draw.
    """
    columns = dict.fromkeys(name for table in metrics.values() for name in table if name not in _KEYS)
    columns |= {"lr": columns.pop("lr")} if "lr" in columns else {}  # last
    drawn = [
        name
        for name in (columns if names is None else names)
        if any(np.isfinite(table[name]).any() for table in metrics.values() if name in table)
    ]
    if not drawn:
        raise ValueError(f"no metric to draw: the table has {', '.join(columns) or 'none'}, asked were {names}")
    across = min(3, len(drawn))
    down = -(-len(drawn) // across)
    figure = Figure(figsize=(4.2 * across, 2.9 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel, name in zip(panels, drawn, strict=False):
        for color, (split, table) in zip(_cycle(len(metrics)), metrics.items(), strict=True):
            if name in table:
                known = np.isfinite(table[name])
                marker = "o" if known.sum() < 30 else None
                xs, ys = table["num_updates"][known], table[name][known]
                panel.plot(xs, ys, color=color, label=split, marker=marker, markersize=3, linewidth=1.3)
        _tidy(panel, "updates", name.replace("_", " "))
    panels[0].legend(frameon=False)
    for panel in panels[len(drawn) :]:
        panel.remove()
    return figure


def roc_curves(labels: np.ndarray, scores: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw a ROC curve per class, with its area.

    Parameters
    ----------
    labels : ndarray (B, K) bool
    scores : ndarray (B, K)
        Higher means more likely.
    names : sequence of str
        The K classes.

    Raises
    ------
    ValueError
        When the shapes differ or a score is not finite.
    """
    labels, scores = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=np.float64)
    if labels.shape != scores.shape or labels.ndim != 2 or labels.shape[1] != len(names) or not len(names):
        raise ValueError(
            f"got labels {labels.shape}, scores {scores.shape} and {len(names)} names: expected (B, K), (B, K) and K"
        )
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} scores are not finite: expected numbers only")
    across = min(4, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(2.9 * across, 2.9 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel, name, truth, score in zip(panels, names, labels.T, scores.T, strict=False):
        _draw_roc(panel, name.replace("_", " "), truth, score)
    for panel in panels[len(names) :]:
        panel.remove()
    return figure


def roc_points(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false and true positive rates (n,) at every distinct threshold, from (0, 0) to (1, 1)."""
    order = np.argsort(-score, kind="stable")
    truth, score = truth[order], score[order]
    last = np.flatnonzero(np.append(np.diff(score) != 0, True))  # ties move together
    hits = np.append(0, np.cumsum(truth)[last])
    alarms = np.append(0, (last + 1)) - hits
    return alarms / alarms[-1], hits / hits[-1]


def _draw_roc(panel: Axes, name: str, truth: np.ndarray, score: np.ndarray) -> None:
    panel.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.8)
    positives = int(truth.sum())
    if 0 < positives < len(truth):
        alarms, hits = roc_points(truth, score)
        panel.plot(alarms, hits, color=_COLORS[0], linewidth=1.5)
        note = f"AUROC {np.sum(np.diff(alarms) * (hits[1:] + hits[:-1]) / 2):.3f}"
    else:
        note = "AUROC undefined"
    panel.text(0.97, 0.05, f"{note}\n{positives} of {len(truth)}", ha="right", va="bottom", fontsize=8)
    panel.set_title(name, fontsize=9)
    panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    _tidy(panel, "1 - specificity", "sensitivity")


def _tidy(panel: Axes, across: str, up: str) -> None:
    panel.set_xlabel(across, fontsize=8)
    panel.set_ylabel(up, fontsize=8)
    panel.tick_params(labelsize=7)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(color="#e6e6e6", linewidth=0.6)


def _cycle(count: int) -> list[str]:
    return [_COLORS[place % len(_COLORS)] for place in range(count)]
