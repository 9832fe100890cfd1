"""ROC and precision-recall curves of all classes: few in one panel, a colour each, many in small multiples."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ecgtext_plugins.evaluation.thresholds import OperatingPoint
from ecgtext_plugins.plotting.curves import roc_points

KINDS = ("roc", "pr")
TOGETHER = 6  # so many classes share a panel
COLORS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#b8860b", "#56707f")  # told apart by the colour-blind too
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_CHANCE, _POINT = "#9a9a9a", "#222222"
_HOLLOW = {"markersize": 6, "markerfacecolor": "white", "markeredgewidth": 1.3, "linestyle": "none"}
_AXES = {"roc": ("1 - specificity", "sensitivity"), "pr": ("recall (sensitivity)", "precision")}


def curve(truth: np.ndarray, score: np.ndarray, kind: str = "roc") -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of one class's curve, abscissae and ordinates (c,); empty where it is not defined.

    Points on the straight line between their neighbours are left out. The precision-recall curve is to be drawn in
    steps, as average precision sums it up: each precision holds for the recalls up to its own.

    Parameters
    ----------
    truth : ndarray (B,) bool
    score : ndarray (B,)
        Higher means likelier; ties move together.
    kind : str
        ``roc``: over the false positive rate the true positive rate; ``pr``: over the recall the precision.
    """
    positives = int(truth.sum())
    if not positives or (kind == "roc" and positives == len(truth)):
        return np.empty(0), np.empty(0)
    if kind == "roc":
        return _corners(*roc_points(truth, score))
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    hits = np.cumsum(truth[order])[last]
    recall, precision = hits / positives, hits / (last + 1)
    gained = np.diff(hits, prepend=0) > 0  # where recall does not grow nothing is drawn, and average precision adds 0
    recall, precision = recall[gained], precision[gained]
    return np.append(0.0, recall), np.append(precision[0], precision)


def draw_curves(
    labels: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    kind: str = "roc",
    readers: Mapping[str, Mapping[str, OperatingPoint]] | None = None,
) -> Figure:
    """Draw a curve of each class, with its area, and where human readers stand.

    Parameters
    ----------
    labels : ndarray (B, K) bool
    scores : ndarray (B, K)
        Higher means likelier.
    names : sequence of str
        The K classes. A class whose curve is not defined keeps its place and says so.
    kind : str
        One of KINDS.
    readers : mapping of str to mapping of str to OperatingPoint, optional
        By reader, by class: yes-or-no answers are points, not curves. Their precision is that at the share of
        positives of `labels`.

    Raises
    ------
    ValueError
        When the shapes differ, a score is not finite, or `kind` is unknown.
    """
    labels, scores = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=np.float64)
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: expected one of {', '.join(KINDS)}")
    if labels.shape != scores.shape or labels.ndim != 2 or labels.shape[1] != len(names) or not labels.size:
        raise ValueError(
            f"got labels {labels.shape}, scores {scores.shape} and {len(names)} names: expected (B, K), (B, K) and K"
        )
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} scores are not finite: expected numbers only")
    readers = readers or {}
    return (_together if len(names) <= TOGETHER else _multiples)(labels, scores, names, kind, readers)


def _together(labels, scores, names, kind, readers) -> Figure:
    figure = Figure(figsize=(5.6, 5.2 + 0.2 * (len(names) + len(readers))), layout="constrained")
    panel = figure.subplots()
    _furnish(panel, kind)
    if kind == "roc":
        panel.plot([0, 1], [0, 1], color=_CHANCE, linewidth=0.8, dashes=(4, 3))
    handles = []
    for place, (name, truth, score) in enumerate(zip(names, labels.T, scores.T, strict=True)):
        color = COLORS[place % len(COLORS)]
        if kind == "pr":
            panel.axhline(truth.mean(), color=color, linewidth=0.6, dashes=(2, 3), alpha=0.7)
        area = _line(panel, truth, score, kind, color, None)
        label = f"{_shorten(name, 48)}: {area} ({int(truth.sum())} of {len(truth)})"
        handles.append(Line2D([], [], color=color, linewidth=1.8, label=label))
        _readers(panel, name, truth.mean(), kind, readers, color)
    figure.legend(handles=handles + _reader_handles(readers), loc="outside lower left", frameon=False, fontsize=9)
    return figure


def _multiples(labels, scores, names, kind, readers) -> Figure:
    across = min(4, len(names))
    down = -(-len(names) // across)
    bottom = 0.85 if readers else 0.5  # inches, as the rest
    width, height = 2.3 * across + 0.5, 2.45 * down + bottom
    figure = Figure(figsize=(width, height))  # placed by hand: a constrained layout takes seconds for so many panels
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    figure.subplots_adjust(
        0.55 / width, (0.85 if readers else 0.5) / height, 1 - 0.1 / width, 1 - 0.3 / height, 0.1, 0.2
    )
    for place, panel in enumerate(panels):
        if place >= len(names):
            panel.remove()
            continue
        truth, score = labels[:, place], scores[:, place]
        _furnish(panel, kind, across=place + across >= len(names), up=place % across == 0)
        chance = ([0, 1], [0, 1]) if kind == "roc" else ([0, 1], [truth.mean()] * 2)
        panel.plot(*chance, color=_CHANCE, linewidth=0.8, dashes=(4, 3))
        area = _line(panel, truth, score, kind, COLORS[0], 0.10)
        note = f"{area}\n{int(truth.sum())} of {len(truth)}"
        _note(panel, note, kind, high=kind == "pr" and len(truth) and area != "undefined" and float(area) > 0.5)
        name = _shorten(names[place])
        panel.set_title(name, fontsize=9 if len(name) <= 26 else 7.5)
        panel.tick_params(labelbottom=place + across >= len(names))
        _readers(panel, names[place], truth.mean(), kind, readers, _POINT)
    if readers:
        handles = _reader_handles(readers)
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(4, len(readers)), frameon=False, fontsize=9
        )
    return figure


def _line(panel: Axes, truth, score, kind: str, color: str, fill: float | None) -> str:
    """Draw one curve and return its area in words."""
    across, up = curve(truth, score, kind)
    style = {"color": color, "linewidth": 1.6}
    if not len(across):
        panel.plot([], [], **style)
        return "undefined"
    if kind == "roc":
        panel.plot(across, up, solid_joinstyle="round", **style)
        area = np.trapezoid(up, across)
    else:
        panel.step(across, up, where="pre", **style)
        area = np.sum(np.diff(across) * up[1:])
    if fill is not None:
        panel.fill_between(across, up, step=None if kind == "roc" else "pre", color=color, alpha=fill, linewidth=0)
    return f"{area:.3f}"


def _note(panel: Axes, note: str, kind: str, high: bool) -> None:
    """Write the area where the curve is not."""
    if kind == "roc":
        panel.text(0.97, 0.04, note, ha="right", va="bottom", fontsize=8)
    elif high:
        panel.text(0.42, 0.42, note, ha="center", va="center", fontsize=8)
    else:
        panel.text(0.97, 0.96, note, ha="right", va="top", fontsize=8)


def _readers(panel: Axes, name: str, share: float, kind: str, readers, color: str) -> None:
    for place, points in enumerate(readers.values()):
        if name not in points:
            continue
        hits, alarms = points[name].sensitivity, 1 - points[name].specificity
        said = hits * share + alarms * (1 - share)
        x, y = (alarms, hits) if kind == "roc" else (hits, hits * share / said if said else float("nan"))
        if np.isfinite([x, y]).all():
            panel.plot(x, y, marker=MARKERS[place % len(MARKERS)], color=color, zorder=5, clip_on=False, **_HOLLOW)


def _reader_handles(readers) -> list[Line2D]:
    marks = [MARKERS[place % len(MARKERS)] for place in range(len(readers))]
    return [
        Line2D([], [], marker=mark, color=_POINT, label=name, **_HOLLOW)
        for mark, name in zip(marks, readers, strict=True)
    ]


def _furnish(panel: Axes, kind: str, across: bool = True, up: bool = True) -> None:
    panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    if across:
        panel.set_xlabel(_AXES[kind][0], fontsize=8.5)
    if up:
        panel.set_ylabel(_AXES[kind][1], fontsize=8.5)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(color="#e6e6e6", linewidth=0.6)


def _corners(across: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out the points that lie on the line between their neighbours."""
    one, other = np.diff(across), np.diff(up)
    bend = np.abs(one[:-1] * other[1:] - one[1:] * other[:-1]) > 1e-15
    kept = np.concatenate([[True], bend, [True]])
    return across[kept], up[kept]


def _shorten(name: str, limit: int = 32) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"
