"""The CSV tables of an export, with the columns of fairseq-signals' newer pipeline and what else the store knows."""

import contextlib
import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecgtext_plugins.atomic_files import replacing
from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.signals.quality import lead_names
from ecgtext_plugins.store.fairseq_signals.export_block import marker
from ecgtext_plugins.store.fairseq_signals.export_plan import ExportPlan
from ecgtext_plugins.store.fairseq_signals.stages import whole

ABOUT = ("record_id", "patient_id", "age", "sex", "recorded_at", "device", "fold", "machine_report")
MEASURES = ("avail_leads", "nan_any", "nan_leads_any", "nan_leads", "constant_leads_any", "constant_leads")
MOMENTS = tuple(f"{name}_{lead}" for name in ("mean", "std") for lead in range(len(LEADS)))
RECORDS = ("path", "source", "dataset", *ABOUT)
SIGNAL = ("save_file", "save_path", "lead_order", "sample_rate", "sample_size", *MEASURES, *MOMENTS)
SEXES = {"M": 0, "F": 1}


def write_tables(plan: ExportPlan, work: Path) -> None:
    """Write records.csv, meta.csv, manifest.csv, meta_split.csv and, with that stage, the tables of windows.

    Rows are in the order of sample ids, of windows in that of their place too.
    """
    rows = range(len(plan.store))
    _write(plan.folder / "records.csv", RECORDS, (_about(plan, row) for row in rows))
    _write(plan.folder / "meta.csv", ("idx", *RECORDS, *SIGNAL), _meta(plan, work))
    manifest = ("idx", "source", "source_path", "save_file", "sample_rate", "sample_size")
    _write(plan.folder / "manifest.csv", manifest, _sources(plan))
    split = ("idx", "save_file", "split", "patient_id")
    _write(plan.folder / "meta_split.csv", split, (_split(plan, row) for row in rows))
    if "segmented" in plan.options.stages:
        segmented = ("path", "save_file", "sample_size")
        _write(plan.folder / "segmented.csv", segmented, (row[4:5] + row[1:2] + row[5:] for row in _segments(plan)))
        _write(plan.folder / "segmented_split.csv", (*split, "path", "sample_size"), _segments(plan))


def _write(path: Path, names: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
    with csv_file(path) as table:
        table.writerow(names)
        for row in rows:
            table.writerow([_cell(value) for value in row])


@contextlib.contextmanager
def csv_file(path: Path) -> Iterator[Any]:
    """Yield a csv.writer; the table gets its name when it is whole."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as handle:
        yield csv.writer(handle, lineterminator="\n")


def _cell(value: Any) -> Any:
    """Return a value as pandas writes it: nothing for NaN, True and False as words."""
    if isinstance(value, float | np.floating):
        return "" if math.isnan(value) else repr(float(value))
    return bool(value) if isinstance(value, np.bool_) else value


def _about(plan: ExportPlan, row: int) -> list[Any]:
    store = plan.store
    age = float(store.column("age")[row])
    return [
        *(store.column("source_path")[row], plan.source, plan.source),
        *(store.column("record_id")[row], store.column("patient_id")[row]),
        *(whole(age) if math.isfinite(age) else "", SEXES.get(store.column("sex")[row], "")),
        *(store.column("recorded_at")[row], store.column("device")[row], store.column("fold")[row] or ""),
        plan.report(row),
    ]


def _meta(plan: ExportPlan, work: Path) -> Iterator[list[Any]]:
    rate = whole(plan.store.sample_rate)
    for number in range(plan.n_blocks):
        with np.load(marker(work, number), allow_pickle=False) as found:
            measures = {name: found[name] for name in found.files}
        for place, row in enumerate(plan.block(number)):
            path = plan.place("org", row)
            nan, constant = (lead_names(int(measures[name][place])) for name in ("nan_leads", "constant_leads"))
            yield [
                row,
                *_about(plan, row),
                *(path.name, plan.shown(path), str(list(LEADS)), rate, plan.store.column("n_samples")[row]),
                *(str([lead for lead in LEADS if lead not in nan]), measures["nan_any"][place]),
                *(bool(nan), str(nan), bool(constant), str(constant)),
                *(*measures["mean"][place], *measures["std"][place]),
            ]


def _sources(plan: ExportPlan) -> Iterator[list[Any]]:
    path, size, rate = plan.store.column("source_path"), plan.store.column("n_samples"), whole(plan.store.sample_rate)
    for row in range(len(plan.store)):
        yield [row, plan.source, path[row], f"{plan.stem(row)}.mat", rate, size[row]]


def _split(plan: ExportPlan, row: int) -> list[Any]:
    return [row, f"{plan.stem(row)}.mat", *(plan.store.column(name)[row] for name in ("split", "patient_id"))]


def _segments(plan: ExportPlan) -> Iterator[list[Any]]:
    for row in range(len(plan.store)):
        split = _split(plan, row)
        for segment in range(plan.n_segments[row]):
            yield [*split, plan.shown(plan.place("segmented", row, segment)), plan.segment_samples]
