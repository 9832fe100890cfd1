"""Cards of records: the ECG on paper, its report, its classes and scores."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ecgtext_plugins.errors import BadManifest, BadStore
from ecgtext_plugins.plotting.ecg_paper import draw_ecg
from ecgtext_plugins.plotting.report.cases import RULE, Cases, pick_cases
from ecgtext_plugins.plotting.report.contents import Run
from ecgtext_plugins.plotting.report.markup import Cell, escape, number, photograph, table
from ecgtext_plugins.store.reader import RecordStore

SECONDS = 10.0
LIKELIEST = 5  # classes that a card shows beside those that the record has


class Drawings:
    """ECGs and reports of a run's records, from the store that results.json names.

    Attributes
    ----------
    trouble : str
        Why there are none; empty when the store is there.
    """

    def __init__(self, run: Run):
        self.run, self.trouble = run, ""
        if run.store is None:
            self.trouble = "results.json names no store, so ECGs and reports are not shown."
            return
        try:
            if self._store.fingerprint != run.store_fingerprint:
                self.trouble = (
                    f"The store {run.store} has changed since the run (fingerprint {self._store.fingerprint}, then "
                    f"{run.store_fingerprint}), so ECGs and reports are not shown."
                )
        except BadStore as error:
            self.trouble = f"ECGs and reports are not shown: {error}"

    @cached_property
    def _store(self) -> RecordStore:
        return RecordStore.open(self.run.store)

    def card(self, row: int) -> tuple[str, str]:
        """Return the image of an entry's ECG and its report as HTML."""
        if self.trouble:
            return "", ""
        record = str(self.run.record_ids[row])
        try:
            place = int(self._store.rows_of([record])[0])
            start = int(self.run.starts[row])
            signal, rate = self._store.signal_mv(place), float(self._store.column("sample_rate")[place])
        except (BadManifest, BadStore) as error:
            return f'<p class="warning">{escape(error)}</p>', ""
        length = round(SECONDS * rate)
        figure = draw_ecg(signal[:, start : start + length], rate, _title(record, start / rate), SECONDS)
        image = photograph(figure, f"12-lead ECG of record {record}, {SECONDS:g} s at 25 mm/s and 10 mm/mV")
        report = int(self._store.column("report_id")[place])
        return image, self._store.report_text(report) if report >= 0 else ""


def _title(record: str, start: float) -> str:
    return record if start == 0 else f"{record}, from {start:g} s"


def cases(run: Run, n_cases: int) -> str:
    """Return the cards of the worst and the best records of a run."""
    picked = pick_cases(run.labels, run.scores, n_cases)
    if picked is None:
        return "<h3>Records</h3><p>No class has both a positive and a negative record: none is best or worst.</p>"
    drawings = Drawings(run)
    parts = ["<h3>Records</h3>", f'<p class="faint">{escape(RULE)}</p>']
    if drawings.trouble:
        parts.append(f'<p class="warning">{escape(drawings.trouble)}</p>')
    for kind, rows in (("worst", picked.worst), ("best", picked.best)):
        cards = "".join(_card(run, picked, drawings, kind, place, int(row)) for place, row in enumerate(rows, 1))
        parts.append(f'<h3>The {len(rows)} {kind} records</h3><div class="cases">{cards}</div>')
    return "".join(parts)


def _card(run: Run, picked: Cases, drawings: Drawings, kind: str, place: int, row: int) -> str:
    image, report = drawings.card(row)
    record = run.record_ids[row]
    has = [name for name, label in zip(run.names, run.labels[row], strict=True) if label]
    told = f"<blockquote>{escape(report)}</blockquote>" if report else '<p class="faint">No report.</p>'
    identity = f"{run.anchor}-{kind}-{place}"
    if not drawings.trouble:
        image = f'<a href="#{identity}" title="Enlarge">{image}</a>'
    return (
        f'<article class="case {kind}" id="{identity}"><h4>{kind.capitalize()} {place}: record {escape(record)}</h4>'
        f'<p class="faint">Patient {int(run.patients[row])}, loss {picked.loss[row]:.3f}</p>{image}'
        f"{told if not drawings.trouble else ''}<p>Classes: {escape(', '.join(has) or 'none of the benchmark')}</p>"
        f"<details><summary>Scores</summary>{_scores(run, picked.ranks[row], row)}</details></article>\n"
    )


def _scores(run: Run, ranks: np.ndarray, row: int) -> str:
    """Return the scores of the classes that the record has and of those that it was given most, by rank."""
    order: Sequence[int] = np.argsort(-ranks, kind="stable").tolist()
    others = [place for place in order if not run.labels[row, place]][:LIKELIEST]
    shown = [place for place in order if run.labels[row, place] or place in others]
    rows, kinds = [], []
    for place in shown:
        has = bool(run.labels[row, place])
        score = Cell(f"{run.scores[row, place]:.4g}", float(run.scores[row, place]))
        rows.append([Cell(run.names[place]), Cell("yes" if has else "no"), score, number(ranks[place])])
        kinds.append("has" if has else "")
    caption = "Its classes, and the likeliest others"
    return table(caption, ["Class", "Labelled", "Score", "Rank, 0 to 1"], rows, kinds, sortable=False)
