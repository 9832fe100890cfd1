"""What an export to fairseq-signals' form writes and where: options, names of files, sizes, room on the disk."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ecgtext_plugins.errors import BadConfig, BadStore
from ecgtext_plugins.store.fairseq_signals.stages import STAGES, resampled_size
from ecgtext_plugins.store.reader import RecordStore

FORMAT = 1
KINDS = ("plain", "cmsc", "identification", "text")
RECORDS_A_BLOCK = 200
_OVERHEAD = 2048  # bytes of a .mat file beside its signal, at most


@dataclass(frozen=True)
class ExportOptions:
    """What to write.

    Parameters
    ----------
    stages : tuple of str
        Out of STAGES.
    kinds : tuple of str
        Of manifests, out of KINDS.
    sample_rate : float
        Hz of the stages preprocessed and segmented; org keeps the store's rate.
    segment_seconds : float
        Length of a window of the stage segmented.
    labels : bool
        Write labels/ too.
    absolute_root : bool
        Folders in manifests and tables as absolute paths, which fairseq-signals itself needs; else relative ones, so
        that the export may be moved.
    tab_header : bool
        First line of plain manifests after a TAB and with a slash at the end, as scripts/preprocess/manifests.py of
        fairseq-signals writes it and some scripts of ECG-FM expect it.
    """

    stages: tuple[str, ...] = STAGES
    kinds: tuple[str, ...] = ("plain", "cmsc")
    sample_rate: float = 500.0
    segment_seconds: float = 5.0
    labels: bool = False
    absolute_root: bool = False
    tab_header: bool = False


class ExportPlan:
    """An export of `store` into `folder`, record by record in the store's order; a record's sample id is its row.

    Raises
    ------
    BadConfig
        When options don't fit each other or the store.
    """

    def __init__(self, store: RecordStore, folder: Path, options: ExportOptions):
        self.store, self.folder, self.options = store, folder, options
        self.source = quote(str(store.corpus["recipe"]["name"]), safe="")
        _check(store, options)
        self.segment_samples = round(options.segment_seconds * options.sample_rate)

    @property
    def n_blocks(self) -> int:
        """Number of blocks of records; a block is done or not."""
        return -(-len(self.store) // RECORDS_A_BLOCK)

    def block(self, number: int) -> range:
        """Return the rows of a block."""
        return range(number * RECORDS_A_BLOCK, min(len(self.store), (number + 1) * RECORDS_A_BLOCK))

    @cached_property
    def preprocessed_sizes(self) -> np.ndarray:
        """Samples of each record in the stage preprocessed, (R,) int64."""
        return resampled_size(self.store.column("n_samples"), self.store.sample_rate, self.options.sample_rate)

    @cached_property
    def n_segments(self) -> np.ndarray:
        """Windows of each record, (R,) int64."""
        return self.preprocessed_sizes // self.segment_samples

    @cached_property
    def patient_numbers(self) -> np.ndarray:
        """Whole number for each record's patient, (R,) int64, as fairseq-signals wants them (they fit 31 bits).

        The id itself where every id is such a number, else the place of the patient's first record among all patients.
        """
        ids = self.store.column("patient_id").astype(str)
        if all(name.isascii() and name.isdigit() and len(name) < 10 and str(int(name)) == name for name in ids):
            return ids.astype(np.int64)
        _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
        order = np.empty(len(first), dtype=np.int64)
        order[np.argsort(first)] = np.arange(len(first))
        return order[inverse]

    def stem(self, row: int) -> str:
        """Return ``source_record``, the name of a record's files without extension; odd characters as ``%2F``."""
        return f"{self.source}_{quote(str(self.store.column('record_id')[row]), safe='')}"

    def place(self, stage: str, row: int, segment: int | None = None) -> Path:
        """Return the path of a record's file in a stage."""
        number = "" if segment is None else f"_{segment}"
        return self.folder / stage / f"{self.stem(row)}{number}.mat"

    def shown(self, path: Path) -> str:
        """Return a path inside the export as tables give it: relative to the export, or absolute."""
        return str(path) if self.options.absolute_root else path.relative_to(self.folder).as_posix()

    def report(self, row: int) -> str:
        """Return a record's report; empty without."""
        report_id = int(self.store.column("report_id")[row])
        return self.store.report_text(report_id) if report_id >= 0 else ""

    def extra(self, row: int) -> dict[str, Any]:
        """Return the variables that a record's files get beyond those of the newer pipeline, for the kinds' sake."""
        extra: dict[str, Any] = {}
        if "identification" in self.options.kinds:
            extra["patient_id"] = int(self.patient_numbers[row])
        if "text" in self.options.kinds and self.report(row):
            extra["text"] = self.report(row)
        return extra

    def bytes_needed(self, rows: range) -> int:
        """Return about how many bytes the .mat files of `rows` take, a little too many."""
        part, stages, whole = slice(rows.start, rows.stop), self.options.stages, 12 * 8
        total = 0
        if "org" in stages:
            total += int((whole * self.store.column("n_samples")[part] + _OVERHEAD).sum())
        if "preprocessed" in stages:
            total += int((whole * self.preprocessed_sizes[part] + _OVERHEAD).sum())
        if "segmented" in stages:
            total += int((self.n_segments[part] * (whole * self.segment_samples + _OVERHEAD)).sum())
        return total

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what decides the content."""
        content = {"format": FORMAT, "store": self.store.fingerprint, "records": len(self.store)}
        options = {**asdict(self.options), "folder": str(self.folder) if self.options.absolute_root else None}
        return hashlib.sha256(json.dumps({**content, **options}, sort_keys=True).encode()).hexdigest()


def _check(store: RecordStore, options: ExportOptions) -> None:
    for name, values, known in (("stages", options.stages, STAGES), ("kinds", options.kinds, KINDS)):
        if not values or set(values) - set(known) or len(set(values)) < len(values):
            raise BadConfig(f"--{name} is {','.join(values) or 'empty'}: expected one or more of {', '.join(known)}")
    if not (20 <= options.sample_rate <= 5000 and float(options.sample_rate).is_integer()):
        raise BadConfig(f"--sample-rate is {options.sample_rate:g}: expected a whole number of Hz from 20 to 5000")
    samples = options.segment_seconds * options.sample_rate
    if not samples >= 1 or abs(samples - round(samples)) > 1e-6:
        raise BadConfig(
            f"--segment-seconds {options.segment_seconds:g} is {samples:g} samples at {options.sample_rate:g} Hz: "
            "expected a whole number of samples"
        )
    if "cmsc" in options.kinds and "segmented" not in options.stages:
        raise BadConfig(
            "--kinds has cmsc without the stage segmented: expected both, as its pairs are windows; add it to --stages "
            "or give --kinds plain"
        )
    if not len(store):
        raise BadStore(f"{store.folder} holds no record: expected at least one to export; see its failures.parquet")
    if options.labels and not store.label_names:
        raise BadConfig(f"--labels is given, but {store.folder} has no labels: build it from a recipe that has some")
    if "text" in options.kinds and (store.column("report_id") < 0).all():
        raise BadConfig(f"--kinds has text, but no record of {store.folder} has a report: leave text out")
