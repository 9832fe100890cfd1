"""Sections of the report: the summary, a benchmark's figures, where everything came from."""

from collections.abc import Sequence

import numpy as np

from ecgtext_plugins.plotting.class_bars import draw_class_bars
from ecgtext_plugins.plotting.embedding_map import METHODS, OTHER, draw_map, project
from ecgtext_plugins.plotting.reliability_diagram import draw_reliability
from ecgtext_plugins.plotting.report.contents import METRICS, Evaluation, Line, Listing, Run
from ecgtext_plugins.plotting.report.markup import (
    Cell,
    breakable,
    chart,
    count,
    escape,
    facts,
    interval,
    number,
    section,
    table,
)
from ecgtext_plugins.plotting.roc_curves import draw_curves

MAP_POINTS = 2000
MAP_GROUPS = 7  # classes with a colour of their own; the eighth is for all others


def summary(evaluation: Evaluation) -> str:
    """Return a row for each figure that was measured, and those of papers."""
    kinds = [kind for kind in METRICS if any(kind in line.values for line in evaluation.lines)]
    headers = ["Benchmark", "Source", "Protocol", "Records", "Patients"]
    for kind in kinds:
        headers += [
            METRICS[kind] if kind in ("accuracy", "challenge_metric") else f"Macro {METRICS[kind]}",
            "95 % interval",
        ]
    rows = [_summary_row(line, kinds) for line in evaluation.lines]
    caption = (
        "Macro means over the defined classes; intervals by resampling patients. A probe's AUROC is the mean over "
        "seeds, its interval and other figures are those of the first. Rows in italics are from papers."
    )
    styles = ["published" if line.published else "" for line in evaluation.lines]
    return section("summary", "Summary", table(caption, [*headers, "Undefined classes"], rows, styles))


def _summary_row(line: Line, kinds: Sequence[str]) -> list[Cell]:
    link = f'<a href="#{escape(line.section)}">{breakable(line.benchmark)}</a>' if line.section else None
    row = [
        Cell(line.benchmark, html=link),
        Cell(line.source),
        Cell(line.protocol),
        count(line.n),
        count(line.n_patients),
    ]
    for kind in kinds:
        value, low_high = line.values.get(kind, (None, None))
        row += [number(value, 4), interval(low_high)]  # papers give four digits
    if line.undefined is None:
        return [*row, number(None)]
    some, of_all = line.undefined
    return [*row, Cell(f"{some} of {of_all}" if some else "none", some)]


def results(run: Run, maps: Sequence[str] = ("tsne",)) -> str:
    """Return what one run measured: warnings, the table by class, bars, curves, calibration, maps of embeddings."""
    parts = [f"<p>{escape(run.description)}</p>"] if run.description else []
    parts += [f'<p class="warning">{escape(warning)}</p>' for warning in run.warnings]
    if run.undefined:
        named = ", ".join(run.undefined)
        parts.append(
            f'<p class="warning">Undefined, so left out of the macro mean ({len(run.undefined)} of {len(run.names)} '
            f"classes have no positive or no negative record): {escape(named)}.</p>"
        )
    parts += [f'<p class="note">{escape(note)}</p>' for note in run.notes]
    parts += [listing(shown) for shown in run.listings]
    if run.names and len(run.labels):
        parts += ["<h3>Classes</h3>", class_table(run), '<div class="charts">', *_bars(run), "</div>"]
        parts += ["<h3>Curves</h3>", '<div class="charts">', *_curves(run), "</div>"]
        parts += ["<h3>Calibration</h3>", '<div class="charts">', *_calibration(run), "</div>"]
    if run.embeddings is not None:
        parts += ["<h3>Embeddings</h3>", '<div class="charts">', *_maps(run, maps), "</div>"]
    return "".join(parts)


def class_table(run: Run) -> str:
    """Return a row for each class."""
    headers = ["Class", "Positive", "Share, %"]
    by_class = {kind: figures for kind, figures in run.figures.items() if figures.values}
    for kind, figures in by_class.items():
        headers += [METRICS[kind], "95 % interval", *(["Threshold"] if figures.thresholds else [])]
    headers += ["ECE"] if run.ece else []
    rows = []
    for name in run.names:
        positives = run.positives.get(name)
        share = None if positives is None or not run.n else 100 * positives / run.n
        cells = [Cell(name), count(positives), number(share, 2)]
        for figures in by_class.values():
            cells += [number(figures.values.get(name)), interval(figures.intervals.get(name))]
            cells += [number(figures.thresholds.get(name), 4)] if figures.thresholds else []
        rows.append(cells + ([number(run.ece.get(name))] if run.ece else []))
    chosen = "; F1 at thresholds chosen on validation" if "f1" in by_class else ""
    return table(f"{run.title}: figures by class{chosen}", headers, rows)


def listing(shown: Listing) -> str:
    """Return a further table of a run."""
    rows = [[_any_cell(value) for value in row] for row in shown.rows]
    return table(shown.caption, shown.headers, rows)


def _any_cell(value: object) -> Cell:
    if isinstance(value, str):
        return Cell(value)
    if isinstance(value, tuple):
        return interval(value)
    return count(value) if isinstance(value, int) else number(value)


def _bars(run: Run) -> list[str]:
    shown = []
    for kind in (kind for kind in ("auroc", "auprc") if kind in run.figures):
        figures, chance = run.figures[kind], 0.5 if kind == "auroc" else 0.0
        figure = draw_class_bars(figures.values, figures.intervals, METRICS[kind], chance, figures.macro)
        told = "; ".join(f"{name} {value:.3f}" for name, value in figures.values.items() if value is not None)
        begin = "chance, 0.5" if kind == "auroc" else "0"
        caption = f"{METRICS[kind]} of each class with its 95 % interval; bars begin at {begin}; dashed: macro mean."
        shown.append(chart(figure, f"{METRICS[kind]} by class: {told}", caption))
    return shown


def _curves(run: Run) -> list[str]:
    captions = {
        "roc": "ROC curves with their areas (AUROC) and positive records; dashed: chance.",
        "pr": "Precision-recall curves in steps, with their areas (AUPRC, as average precision) and positive records; "
        "dashed: share of positives.",
    }
    readers = f" Points: {', '.join(run.readers)}, who answer yes or no." if run.readers else ""
    shown = []
    for kind, caption in captions.items():
        figure = draw_curves(run.labels, run.scores, run.names, kind, run.readers)
        alt = f"{caption[:-1]} Classes: {', '.join(run.names)}.{readers} Areas are in the table of classes."
        shown.append(chart(figure, alt, caption + readers))
    return shown


def _calibration(run: Run) -> list[str]:
    found = run.reliability
    if found is None:
        return ["<p>The scores are not probabilities, so calibration is not defined.</p>"]
    figure = draw_reliability(found.confidence, found.frequency, found.count, found.ece)
    alt = f"Reliability diagram of {int(np.sum(found.count)):,} predictions, ECE {found.ece:.3f}"
    caption = (
        "All (record, class) pairs in bins of equal width. Blue: share of positives over mean probability; orange: gap "
        f"to perfect calibration. Expected calibration error {found.ece:.3f}."
    )
    return [chart(figure, alt, caption)]


def _maps(run: Run, methods: Sequence[str]) -> list[str]:
    import sklearn.manifold  # noqa: F401  loads the thread pools, which must be there to be limited
    from threadpoolctl import threadpool_limits

    rows = np.arange(len(run.embeddings))
    if len(rows) > MAP_POINTS:
        rows = np.sort(np.random.default_rng(0).choice(len(rows), MAP_POINTS, replace=False))
    if len(rows) < 4:
        return ["<p>Fewer than 4 records: no map.</p>"]
    groups = map_groups(run.labels[rows], run.names)
    told = f"{len(rows):,} of {len(run.embeddings):,}" if len(rows) < len(run.embeddings) else f"all {len(rows):,}"
    rule = f"Each point is a record. Colour: the rarest of its classes among the {MAP_GROUPS} commonest"
    rule += "; other: it has none of these." if OTHER in groups else "."
    shown = []
    for method in methods:
        with threadpool_limits(1):  # more threads are slower at this size, and their order changes the map
            points = project(run.embeddings[rows], method, seed=0)
        name = METHODS[method]
        caption = f"{name} of the embeddings of {told} records on cosine distances, seed 0; axes have no unit. {rule}"
        shown.append(chart(draw_map(points, groups), f"{name} map of the embeddings", caption))
    return shown


def map_groups(labels: np.ndarray, names: Sequence[str]) -> list[str]:
    """Name one group for each record: the rarest of its classes among the commonest ones, else OTHER."""
    counts = labels.sum(axis=0)
    shown = [place for place in np.argsort(-counts, kind="stable")[:MAP_GROUPS] if counts[place]]
    groups = np.full(len(labels), OTHER, dtype=object)
    for place in shown:  # rarer ones later, so they stay
        groups[labels[:, place]] = names[place]
    return groups.tolist()


def provenance(evaluation: Evaluation, runs: Sequence[Run]) -> str:
    """Return what is needed to repeat the evaluation; what several runs of a benchmark share is told once."""
    parts = ["<p>Seconds, prompts and all figures to their last digit are in results.json.</p>"]
    parts.append(facts(evaluation.provenance))
    told: set[tuple[str, str, str]] = set()
    for run in runs:
        own = {(run.benchmark, name, str(value)): (name, value) for name, value in run.provenance}
        new = [fact for key, fact in own.items() if key not in told]
        told |= set(own)
        if new:
            parts.append(f"<h3>{escape(run.title)}</h3>{facts(new)}")
    return section("provenance", "Provenance", "".join(parts))
