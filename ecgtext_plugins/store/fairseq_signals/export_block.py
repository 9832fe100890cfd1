"""The .mat files of a block of records, and what meta.csv says of their signals."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ecgtext_plugins.atomic_files import replacing
from ecgtext_plugins.errors import BadStore
from ecgtext_plugins.signals.quality import lead_mask
from ecgtext_plugins.store.fairseq_signals.export_plan import ExportOptions, ExportPlan
from ecgtext_plugins.store.fairseq_signals.mat_writing import encode_mat, write_if_lacking
from ecgtext_plugins.store.fairseq_signals.stages import org_variables, preprocessed_variables, segment_variables
from ecgtext_plugins.store.fairseq_signals.standardise import constant_leads
from ecgtext_plugins.store.reader import RecordStore


@dataclass(frozen=True)
class BlockTask:
    """What a worker needs to write one block."""

    store_folder: Path
    store_fingerprint: str
    folder: Path
    options: ExportOptions
    number: int
    work: Path  # folder of the markers and of files being written


@lru_cache(maxsize=1)
def _plan(store_folder: Path, fingerprint: str, folder: Path, options: ExportOptions) -> ExportPlan:
    """Open store and plan once a process: its columns are those of all records."""
    return ExportPlan(RecordStore.open(store_folder), folder, options)


def marker(work: Path, number: int) -> Path:
    """Return the file that says that a block is done, with the measures of its signals."""
    return work / f"block-{number:06d}.npz"


def write_block(task: BlockTask) -> tuple[int, int]:
    """Write the files of a block that are not there yet, then its marker; return its number and of its records.

    Raises
    ------
    BadStore
        When they cannot be written.
    """
    plan = _plan(task.store_folder, task.store_fingerprint, task.folder, task.options)
    measures, total = [], 0
    try:
        for row in plan.block(task.number):
            signal = plan.store.signal_mv(row).astype(np.float64)
            measures.append(_measure(signal))
            for path, data in _files(plan, row, signal):
                write_if_lacking(path, data, task.work)
                total += len(data)
        columns = {name: np.stack([of_record[name] for of_record in measures]) for name in measures[0]}
        with replacing(marker(task.work, task.number)) as temporary, open(temporary, "wb") as handle:
            np.savez(handle, total=total, **columns)
    except OSError as error:
        raise BadStore(
            f"the export in {task.folder} cannot be written ({error}): expected room and permission to write there; "
            "make some, then run the same command again"
        ) from None
    return task.number, len(measures)


def is_done(plan: ExportPlan, work: Path, number: int) -> bool:
    """Tell whether a block has its marker and all its files their size."""
    if not marker(work, number).is_file():
        return False
    try:
        with np.load(marker(work, number), allow_pickle=False) as found:
            total = int(found["total"])
        return total == sum(path.stat().st_size for path in _paths(plan, number))
    except (OSError, ValueError, KeyError):
        return False


def _paths(plan: ExportPlan, number: int):
    for row in plan.block(number):
        for stage in plan.options.stages:
            if stage == "segmented":
                yield from (plan.place(stage, row, segment) for segment in range(plan.n_segments[row]))
            else:
                yield plan.place(stage, row)


def _files(plan: ExportPlan, row: int, signal: np.ndarray):
    """Yield path and bytes of each file of a record."""
    stages, options = plan.options.stages, plan.options
    org = org_variables(signal, plan.store.sample_rate, row, plan.extra(row))
    if "org" in stages:
        yield plan.place("org", row), encode_mat(org)
    if set(stages) == {"org"}:
        return
    preprocessed = preprocessed_variables(org, options.sample_rate)
    if "preprocessed" in stages:
        yield plan.place("preprocessed", row), encode_mat(preprocessed)
    if "segmented" in stages:
        for segment in segment_variables(preprocessed, plan.segment_samples):
            yield plan.place("segmented", row, segment["segment_i"]), encode_mat(segment)


def _measure(signal: np.ndarray) -> dict[str, np.ndarray]:
    """Measure the raw `signal` (12, T): mean and deviation of the leads, and which are missing or constant."""
    nan = np.isnan(signal)
    return {
        "mean": signal.mean(axis=1),
        "std": signal.std(axis=1),
        "nan_any": nan.any(),
        "nan_leads": np.int16(lead_mask(nan.all(axis=1))),
        "constant_leads": np.int16(lead_mask(constant_leads(signal))),
    }
