"""Exporting a record store in fairseq-signals' form: .mat files in stages, tables, labels and manifests; resumable."""

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ecgtext_plugins import atomic_files
from ecgtext_plugins.errors import BadStore
from ecgtext_plugins.store.fairseq_signals.export_block import BlockTask, is_done, write_block
from ecgtext_plugins.store.fairseq_signals.export_labels import write_labels
from ecgtext_plugins.store.fairseq_signals.export_manifests import write_manifests
from ecgtext_plugins.store.fairseq_signals.export_plan import ExportOptions, ExportPlan
from ecgtext_plugins.store.fairseq_signals.export_state import (
    DONE,
    WORK,
    read_state,
    refuse_other_export,
    remove_work_files,
)
from ecgtext_plugins.store.fairseq_signals.export_tables import write_tables
from ecgtext_plugins.store.lock import build_lock
from ecgtext_plugins.store.reader import RecordStore
from ecgtext_plugins.store.workers import spread

logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]  # records in all, and done so far


@dataclass(frozen=True)
class ExportResult:
    """A finished export: its summary (export.json), and whether it was finished before."""

    summary: dict[str, Any]
    was_finished: bool


def export_store(
    store: RecordStore,
    folder: str | Path,
    options: ExportOptions,
    workers: int = 1,
    progress: Progress | None = None,
) -> ExportResult:
    """Write `store` into `folder` as fairseq-signals' newer pipeline would have written it.

    Stopped at any moment, the same call continues with the files that are not there; it ends with the same bytes.

    Parameters
    ----------
    workers : int
        Processes; the result does not depend on it.
    progress : callable or None
        Called with (records, done) at the start and after each block.

    Raises
    ------
    BadConfig
        When the options don't fit each other or the store.
    BadStore
        When `folder` holds another export or other files, or the disk has not room for what is to come.
    """
    folder = Path(folder).resolve()
    plan = ExportPlan(store, folder, options)
    refuse_other_export(plan)
    summary = read_state(folder / DONE)
    if summary is not None:
        return ExportResult(summary, was_finished=True)
    work = folder / WORK
    waiting = [number for number in range(plan.n_blocks) if not is_done(plan, work, number)]
    _refuse_full_disk(plan, waiting)
    folder.mkdir(parents=True, exist_ok=True)
    with build_lock(folder):
        atomic_files.write_json(work / "plan.json", {"fingerprint": plan.fingerprint, "options": asdict(options)})
        for stage in options.stages:
            (folder / stage).mkdir(exist_ok=True)
        _write_blocks(plan, work, waiting, workers, progress)
        summary = _finish(plan, work)
        remove_work_files(folder)
    return ExportResult(summary, was_finished=False)


def disk_need(store: RecordStore, folder: str | Path, options: ExportOptions) -> int:
    """Return about how many bytes the .mat files of an export take: 1.44 MB for 10 s at 500 Hz in all three stages."""
    return ExportPlan(store, Path(folder).resolve(), options).bytes_needed(range(len(store)))


def _refuse_full_disk(plan: ExportPlan, waiting: list[int]) -> None:
    needed = sum(plan.bytes_needed(plan.block(number)) for number in waiting)
    there = next(place for place in (plan.folder, *plan.folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise BadStore(
            f"the disk of {plan.folder} has {free / 1e9:.1f} GB free: expected {needed / 1e9:.1f} GB for the .mat "
            f"files of {len(plan.store):,} records in the stages {', '.join(plan.options.stages)}; make room, give "
            "another --dest, or fewer --stages"
        )


def _write_blocks(plan: ExportPlan, work: Path, waiting: list[int], workers: int, progress: Progress | None) -> None:
    done = len(plan.store) - sum(len(plan.block(number)) for number in waiting)
    if progress:
        progress(len(plan.store), done)
    for _, records in spread(write_block, _tasks(plan, work, waiting), min(workers, len(waiting))):
        done += records
        if progress:
            progress(len(plan.store), done)


def _tasks(plan: ExportPlan, work: Path, waiting: list[int]) -> Iterator[BlockTask]:
    for number in waiting:
        yield BlockTask(plan.store.folder, plan.store.fingerprint, plan.folder, plan.options, number, work)


def _finish(plan: ExportPlan, work: Path) -> dict[str, Any]:
    """Write what needs all blocks, export.json last."""
    store, options = plan.store, plan.options
    segmented = "segmented" in options.stages
    incomplete = (store.column("missing_leads") != 0) | (store.column("missing_share") > 0)
    try:
        write_tables(plan, work)
        without = write_labels(plan) if options.labels else []
        manifests = write_manifests(plan)
        summary = {
            "fingerprint": plan.fingerprint,
            "options": asdict(options),
            "store": {"recipe": store.corpus["recipe"]["name"], "fingerprint": store.fingerprint},
            "records": len(store),
            "records_with_missing_samples": int(incomplete.sum()),
            "records_without_window": int((plan.n_segments == 0).sum()) if segmented else 0,
            "windows": int(plan.n_segments.sum()) if segmented else 0,
            "manifests": manifests,
            "labels": store.label_names if options.labels else [],
            "labels_without_positive_in_train": without,
        }
        atomic_files.write_json(plan.folder / DONE, summary)
    except OSError as error:
        raise BadStore(
            f"the tables of {plan.folder} cannot be written ({error}): expected room and permission to write there; "
            "make some, then run the same command again"
        ) from None
    return summary
