"""Manifests of fairseq-signals for the files of an export: plain, CMSC, identification and text, a folder each."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ecgtext_plugins.atomic_files import replacing
from ecgtext_plugins.store.fairseq_signals.export_plan import ExportPlan
from ecgtext_plugins.store.splits import SPLITS

logger = logging.getLogger(__name__)
FOLDER = "manifests"
PLAIN_FROM = ("segmented", "preprocessed", "org")  # the first that is exported
TEXT_FROM = ("org", "preprocessed", "segmented")  # reports belong to whole recordings in millivolt


def write_manifests(plan: ExportPlan) -> dict[str, dict[str, int]]:
    """Write manifests/{kind}/{split}.tsv; return the number of files or pairs in each, none of which is not written."""
    writers = {"plain": _plain, "cmsc": _cmsc, "identification": _identification, "text": _text}
    lengths = {}
    for kind in plan.options.kinds:
        lengths[kind] = {name: _write(plan, kind, name, *content) for name, *content in writers[kind](plan)}
        if not lengths[kind].get("train"):
            logger.warning("%s/%s has no train.tsv: there is nothing to list", plan.folder / FOLDER, kind)
    return lengths


def _write(plan: ExportPlan, kind: str, name: str, stage: str, head: list[str], lines: Iterator[str]) -> int:
    """Write a manifest of at least one line; return how many it has."""
    first = next(lines, None)
    if first is None:
        return 0
    path, count = plan.folder / FOLDER / kind / f"{name}.tsv", 1
    target = plan.folder / stage
    root = str(target) if plan.options.absolute_root else Path(os.path.relpath(target, path.parent)).as_posix()
    if plan.options.tab_header and kind == "plain":
        root = f"\t{root}/"
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as handle:
        handle.writelines(f"{line}\n" for line in (root, *head, first))
        for line in lines:
            handle.write(f"{line}\n")
            count += 1
    return count


def _first_of(plan: ExportPlan, stages: tuple[str, ...]) -> str:
    return next(stage for stage in stages if stage in plan.options.stages)


def _rows(plan: ExportPlan, split: str) -> np.ndarray:
    return np.flatnonzero(plan.store.column("split") == split)


def _files(plan: ExportPlan, stage: str, row: int) -> Iterator[tuple[str, int]]:
    """Yield name and samples of a record's files in a stage."""
    if stage == "segmented":
        for segment in range(plan.n_segments[row]):
            yield plan.place(stage, row, segment).name, plan.segment_samples
    else:
        sizes = plan.store.column("n_samples") if stage == "org" else plan.preprocessed_sizes
        yield plan.place(stage, row).name, int(sizes[row])


def _plain(plan: ExportPlan) -> Iterator[tuple[str, str, list[str], Iterator[str]]]:
    stage = _first_of(plan, PLAIN_FROM)
    for split in SPLITS:
        files = (file for row in _rows(plan, split) for file in _files(plan, stage, row))
        yield split, stage, [], (f"{name}\t{size}" for name, size in files)


def _text(plan: ExportPlan) -> Iterator[tuple[str, str, list[str], Iterator[str]]]:
    """List the files of records that have a report."""
    stage, report = _first_of(plan, TEXT_FROM), plan.store.column("report_id")
    for split in SPLITS:
        files = (file for row in _rows(plan, split) if report[row] >= 0 for file in _files(plan, stage, row))
        yield split, stage, [], (f"{name}\t{size}" for name, size in files)


def _cmsc(plan: ExportPlan) -> Iterator[tuple[str, str, list[str], Iterator[str]]]:
    """List pairs of neighbouring windows, none in two pairs: 0,1 then 2,3; an odd last one is in none."""
    for split in SPLITS:
        lines = (
            f"{plan.stem(row)}\t{plan.segment_samples}\t0\t{first},{first + 1}"
            for row in _rows(plan, split)
            for first in range(0, int(plan.n_segments[row]) - 1, 2)
        )
        yield split, "segmented", ["mat"], lines


def _identification(plan: ExportPlan) -> Iterator[tuple[str, str, list[str], Iterator[str]]]:
    """List, with a class a patient, all files of train; of valid and test those two files that are to be matched.

    Of each patient with several recordings, the first file of the first one is the gallery's and that of the second one
    the probe's, so that no recording is matched with itself; of other patients there is none. Classes count from 0 in
    each split, in order of appearance.
    """
    stage, patient = _first_of(plan, PLAIN_FROM), plan.store.column("patient_id")
    train = _rows(plan, "train")
    classes = {name: place for place, name in enumerate(dict.fromkeys(patient[train]))}
    lines = (f"{name}\t{size}\t{classes[patient[row]]}" for row in train for name, size in _files(plan, stage, row))
    yield "train", stage, [], lines
    for split in ("valid", "test"):
        first_files: dict[str, list[tuple[str, int]]] = {}
        for row in _rows(plan, split):
            file = next(_files(plan, stage, row), None)
            if file is not None and len(first_files.setdefault(patient[row], [])) < 2:
                first_files[patient[row]].append(file)
        pairs = [files for files in first_files.values() if len(files) == 2]
        for place, name in enumerate(("gallery", "probe")):
            lines = (f"{pair[place][0]}\t{pair[place][1]}\t{number}" for number, pair in enumerate(pairs))
            yield f"{split}_{name}", stage, [], lines
