"""A model over the windows of many recordings: each is read and cut, and windows of several are batched together."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ecgtext_plugins.errors import BadCheckpoint, EcgTextError
from ecgtext_plugins.evaluation.record_sources import RecordSources
from ecgtext_plugins.evaluation.window_cutting import WindowForm, cut
from ecgtext_plugins.signals.leads import LEADS

RECORDS_A_PART = 8


@dataclass(frozen=True)
class WindowOutputs:
    """What a model said of W windows of N recordings, by recording and start.

    Attributes
    ----------
    owner, start : ndarray (W,) int64
        Place of the recording, and the window's first sample at the model's rate.
    values : ndarray (W, D) float32
    missing : list of N str
        Leads that a recording lacks, separated by spaces.
    failures : list of (place, reason)
        Recordings that could not be used: they have no window.
    """

    owner: np.ndarray
    start: np.ndarray
    values: np.ndarray
    missing: list[str]
    failures: list[tuple[int, str]]

    @property
    def records(self) -> np.ndarray:
        """Places of the recordings that have windows, ascending."""
        return np.unique(self.owner)

    @property
    def counts(self) -> np.ndarray:
        """Number of windows of each of `records`."""
        return np.unique(self.owner, return_counts=True)[1]

    def mean(self) -> np.ndarray:
        """Mean of the windows of each of `records`, (R, D) float32."""
        sums = np.add.reduceat(self.values.astype(np.float64), self._first, axis=0)
        return (sums / self.counts[:, None]).astype(np.float32)

    def highest(self) -> np.ndarray:
        """Highest value of the windows of each of `records`, (R, D) float32."""
        return np.maximum.reduceat(self.values, self._first, axis=0)

    @property
    def _first(self) -> np.ndarray:
        return np.unique(self.owner, return_index=True)[1]


@dataclass(frozen=True)
class Windows:
    """Windows of some recordings: ecg (W, 12, n) float32; valid samples, owner and start (W,) int64."""

    ecg: Tensor
    valid: np.ndarray
    owner: np.ndarray
    start: np.ndarray

    def part(self, rows: Any) -> "Windows":
        """Return some of them."""
        return Windows(self.ecg[rows], self.valid[rows], self.owner[rows], self.start[rows])

    @staticmethod
    def joined(parts: "list[Windows]") -> "Windows":
        """Return windows of several parts as one."""
        if len(parts) == 1:
            return parts[0]
        rest = (np.concatenate([getattr(part, name) for part in parts]) for name in ("valid", "owner", "start"))
        return Windows(torch.cat([part.ecg for part in parts]), *rest)

    def __len__(self) -> int:
        return len(self.owner)


class _Parts(Dataset):
    """Windows of a few recordings at a time, with missing leads and failures by place."""

    def __init__(self, sources: RecordSources, form: WindowForm):
        self.sources, self.form = sources, form

    def __len__(self) -> int:
        return -(-len(self.sources) // RECORDS_A_PART)

    def __getitem__(self, index: int) -> tuple[Windows | None, dict[int, str], list[tuple[int, str]]]:
        first, parts, missing, failures = index * RECORDS_A_PART, [], {}, []
        for place in range(first, min(first + RECORDS_A_PART, len(self.sources))):
            try:
                recording = self.sources.read(place)
                ecg, valid, start = cut(recording, self.form)
            except EcgTextError as error:
                failures.append((place, str(error)))
                continue
            lacks = np.isnan(recording.signal).all(axis=1)
            missing[place] = " ".join(lead for lead, lack in zip(LEADS, lacks, strict=True) if lack)
            parts.append(Windows(ecg, valid, np.full(len(ecg), place), start))
        return (Windows.joined(parts) if parts else None), missing, failures


def batches(parts: Iterator[Windows], batch_size: int) -> Iterator[Windows]:
    """Batch windows of all parts together: `batch_size` each but for the last; padded ones go in batches of their own.

    A padded window has the same result alone, but a mask costs time, so that full windows go without one.
    """
    waiting: dict[bool, list[Windows]] = {False: [], True: []}
    for part in parts:
        padded = part.valid < part.ecg.shape[2]
        for kind in (False, True):
            rows = padded == kind
            if not rows.any():
                continue
            waiting[kind].append(part if rows.all() else part.part(rows))
            if sum(map(len, waiting[kind])) >= batch_size:
                joined = Windows.joined(waiting[kind])
                whole = len(joined) // batch_size * batch_size
                for start in range(0, whole, batch_size):
                    yield joined.part(slice(start, start + batch_size))
                waiting[kind] = [joined.part(slice(whole, None))] if whole < len(joined) else []
    for rest in waiting.values():
        if rest:
            yield Windows.joined(rest)


def window_outputs(
    model: Any,
    function: Callable[[Tensor, Tensor | None], Tensor],
    sources: RecordSources,
    batch_size: int = 32,
    device: str = "cpu",
    bf16: bool = False,
    workers: int = 0,
    what: str = "predict",
) -> WindowOutputs:
    """Apply `function` to all windows of all recordings. A recording that cannot be used becomes a failure.

    Parameters
    ----------
    model : LoadedModel
    function : callable
        Of windows (B, 12, n_samples) and padding (B, n_samples) or None; gives (B, D).
    batch_size : int
        Windows.
    bf16 : bool
        Compute in bfloat16 where autocast does.
    workers : int
        Processes that read and cut; 0 for this one.
    what : str
        For the progress bar.

    Raises
    ------
    BadCheckpoint
        When the model gives a value that is not finite.
    """
    model.to(device).eval()
    form = WindowForm.of(model)
    missing, failures = [""] * len(sources), []

    def loaded() -> Iterator[Windows]:
        with tqdm(total=len(sources), desc=what, unit=" records", disable=None) as bar:
            for windows, lacks, failed in DataLoader(_Parts(sources, form), batch_size=None, num_workers=workers):
                for place, leads in lacks.items():
                    missing[place] = leads
                failures.extend(failed)
                if windows is not None:
                    yield windows
                bar.update(len(lacks) + len(failed))

    done, before = [], None
    with torch.inference_mode(), torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
        for batch in batches(loaded(), batch_size):
            given = batch, function(*_on_device(batch, device))
            if before is not None:  # an accelerator works on the next batch meanwhile
                done.append(_collected(sources, *before))
            before = given
        if before is not None:
            done.append(_collected(sources, *before))
    if not done:
        empty = np.zeros(0, dtype=np.int64)
        return WindowOutputs(empty, empty, np.zeros((0, 0), dtype=np.float32), missing, failures)
    owner, start, values = (np.concatenate(column) for column in zip(*done, strict=True))
    order = np.lexsort((start, owner))
    return WindowOutputs(owner[order], start[order], values[order], missing, sorted(failures))


def _on_device(batch: Windows, device: str) -> tuple[Tensor, Tensor | None]:
    size, padding = batch.ecg.shape[2], None
    if (batch.valid < size).any():
        padding = (torch.arange(size) >= torch.from_numpy(batch.valid)[:, None]).to(device)
    return batch.ecg.to(device, non_blocking=True), padding


def _collected(sources: RecordSources, batch: Windows, output: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = output.float().cpu().numpy()
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        record = sources.ids[int(batch.owner[int(np.argmin(finite))])]
        raise BadCheckpoint(
            f"the model's output for record {record} is not finite: its training has diverged or its weights are "
            "damaged; use an earlier checkpoint"
        )
    return batch.owner, batch.start, values
