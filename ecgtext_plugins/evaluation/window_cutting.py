"""From a recording as it is to the windows of one model: whole recordings, or what a manifest cuts out of them."""

import dataclasses
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ecgtext_plugins.checkpoints.raw_signal import model_signal, windows_of
from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.evaluation.record_sources import Recording
from ecgtext_plugins.signals.leads import LEADS


@dataclass(frozen=True)
class WindowForm:
    """What `model_signal` asks of a model, without the network, for other processes."""

    sample_rate: float
    n_samples: int
    standardize: bool
    ecg_encoder: SimpleNamespace

    @classmethod
    def of(cls, model: Any) -> "WindowForm":
        """Take it from a loaded model."""
        stem = SimpleNamespace(feature_extractor=model.ecg_encoder.feature_extractor)
        return cls(float(model.sample_rate), int(model.n_samples), bool(model.standardize), stem)


def cut(recording: Recording, form: WindowForm) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Cut a recording into a model's windows.

    A whole recording as `windows_of` does. Windows that a manifest names are cut further in the same way, after
    standardising over the whole recording.

    Returns
    -------
    ecg : Tensor (W, 12, n_samples) float32
        Leads that are not there are zero.
    valid, start : ndarray (W,) int64
        Samples before the padding; the first sample in the recording, at the model's rate.

    Raises
    ------
    BadRecord
        When no lead is there, the recording is too short, or it is in another unit or rate than can be used.
    """
    signal, rate = recording.signal, recording.rate
    if recording.standardised:
        _refuse_other_form(rate, form)
        form = dataclasses.replace(form, standardize=False)  # windows of a whole record: not once more
    if recording.windows is None:
        return _cut(model_signal(form, signal, rate, LEADS), form.n_samples)
    if rate != form.sample_rate:
        raise BadRecord(
            "sampling_rate",
            f"the manifest cuts windows at {rate:g} Hz: expected {form.sample_rate:g} Hz, the model's; give the "
            "manifest of whole records",
        )
    whole, parts = model_signal(form, signal, rate, LEADS), []
    for offset, length, start in recording.windows.tolist():
        ecg, valid, starts = _cut(whole[:, offset : offset + length], form.n_samples)
        parts.append((ecg, valid, starts + start))
    ecgs, valid, starts = zip(*parts, strict=True)
    return torch.cat(ecgs), np.concatenate(valid), np.concatenate(starts)


def _cut(values: np.ndarray, size: int) -> tuple[Tensor, np.ndarray, np.ndarray]:
    ecg, padding, starts = windows_of(values, size)
    valid = np.full(len(ecg), size) if padding is None else (~padding).sum(1).numpy()
    return ecg, valid, np.array(starts)


def _refuse_other_form(rate: float, form: WindowForm) -> None:
    if not form.standardize or rate != form.sample_rate:
        unit = "" if form.standardize else " in millivolt"
        raise BadRecord(
            "standardised",
            f"the file is standardised, at {rate:g} Hz, and the model takes recordings{unit} at {form.sample_rate:g} "
            "Hz: expected the file before that step; give the recording or its org file",
        )
