"""From a recording as it is to what a model gives for it: leads by name, the model's rate, windows of its length."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ecgtext_plugins.checkpoints.ecg_fm import MAXIMUM_LABELS, MIMIC_LABELS
from ecgtext_plugins.data.ecg_dataset import standardised_leads
from ecgtext_plugins.errors import BadCheckpoint, BadRecord
from ecgtext_plugins.signals.leads import LEADS, arrange_leads, lead_positions
from ecgtext_plugins.signals.resampling import rational_ratio, resample, resample_linear

BATCH = 64  # windows at once
WHAT = "the signal"


def embed_signal(model: Any, signal_mv: np.ndarray, fs: float, leads: Sequence[str]) -> np.ndarray:
    """Embed a recording: the mean of its windows' vectors.

    Parameters
    ----------
    model : LoadedModel
    signal_mv : ndarray (n, T)
        Millivolt, one row a lead; missing samples NaN.
    fs : float
        Hz.
    leads : sequence of n str
        The rows' names. Leads that are not there are zero.

    Returns
    -------
    ndarray (D,) float32

    Raises
    ------
    BadRecord
        When the signal has no usable form, leads or rate, or is shorter than one frame of the model.
    """
    windows, padding, _ = windows_of(model_signal(model, signal_mv, fs, leads), model.n_samples)
    with _evaluating(model):
        return _over_windows(model, model.encode_ecg, windows, padding).mean(dim=0).numpy()


def predict_signal(model: Any, signal_mv: np.ndarray, fs: float, leads: Sequence[str]) -> dict[str, float]:
    """Probability of each label for a recording; parameters as in :func:`embed_signal`.

    A label's probability is the mean of the windows'; of ECG-FM's 17 labels, that of five short-lived findings
    (`MAXIMUM_LABELS`) is the highest of them. Source: ECG-FM's infer_quickstart.ipynb.

    Raises
    ------
    BadRecord
        As :func:`embed_signal`.
    BadCheckpoint
        When the model has no labels.
    """
    if model.labels is None:
        raise BadCheckpoint("the model has no labels: expected a fine-tuned classifier for predict; use embed")
    windows, padding, _ = windows_of(model_signal(model, signal_mv, fs, leads), model.n_samples)
    with _evaluating(model):
        each = torch.sigmoid(_over_windows(model, model.logits, windows, padding))
    mean, highest = each.mean(dim=0), each.amax(dim=0)
    taken = MAXIMUM_LABELS if set(model.labels) == set(MIMIC_LABELS) else ()
    return {label: float(highest[place] if label in taken else mean[place]) for place, label in enumerate(model.labels)}


def model_signal(model: Any, signal_mv: np.ndarray, fs: float, leads: Sequence[str]) -> np.ndarray:
    """Bring a recording into the form that a model was trained on: (12, T) float32 at its rate, gaps 0.

    A model of standardised leads was trained on signals resampled by straight lines, as fairseq-signals does, and so
    are these, before each lead is standardised over the whole recording; others are resampled with a filter against
    aliasing. Parameters and errors as in :func:`embed_signal`.
    """
    signal = _checked(signal_mv, fs, leads)
    stem = model.ecg_encoder.feature_extractor
    taken = stem.conv_layers[0][0].in_channels
    if taken != len(LEADS):
        raise BadCheckpoint(
            f"the model takes {taken} leads, and which is not known: expected one of {len(LEADS)}; give encode_ecg its "
            "leads in the order of its training"
        )
    arranged = arrange_leads(signal, lead_positions(list(leads), WHAT))
    if model.standardize:
        values = resample_linear(arranged, float(fs), model.sample_rate, np.float64)
        values = standardised_leads(values) if values.shape[1] else values
    else:
        values = np.nan_to_num(resample(arranged, rational_ratio(float(fs), model.sample_rate, WHAT)))
    if stem.n_frames(values.shape[1]) < 1:
        raise BadRecord(
            "too_short",
            f"{WHAT} has {values.shape[1]} samples at {model.sample_rate:g} Hz: expected at least "
            f"{stem.samples_per_frame}, one frame of the model; leave it out",
        )
    return values.astype(np.float32, copy=False)


def windows_of(values: np.ndarray, size: int) -> tuple[Tensor, Tensor | None, list[int]]:
    """Cut (12, T) into windows of `size` samples, which don't overlap; the last one ends with the recording.

    Returns
    -------
    windows : Tensor (W, 12, size) float32
    padding : Tensor (W, size) bool, or None
        True behind the end of a recording that is shorter than a window.
    starts : list of W int
    """
    length = values.shape[1]
    if length < size:
        padded = np.zeros((1, len(values), size), dtype=np.float32)
        padded[0, :, :length] = values
        return torch.from_numpy(padded), torch.arange(size)[None] >= length, [0]
    starts = list(range(0, length - size + 1, size))
    if starts[-1] + size < length:
        starts.append(length - size)
    return torch.from_numpy(np.stack([values[:, start : start + size] for start in starts])), None, starts


def _checked(signal_mv: np.ndarray, fs: float, leads: Sequence[str]) -> np.ndarray:
    signal = np.asarray(signal_mv)
    if signal.ndim != 2 or signal.shape[0] != len(leads) or signal.shape[1] == 0 or signal.dtype.kind not in "fiu":
        raise BadRecord(
            "signal_shape",
            f"{WHAT} is {signal.dtype} of shape {signal.shape} with {len(leads)} lead names: expected numbers of shape "
            "(leads, samples), millivolt, with a name for each row; transpose it or correct the names",
        )
    if not np.isfinite(float(fs)) or float(fs) <= 0:
        raise BadRecord("sampling_rate", f"{WHAT} has fs={fs}: expected its sampling rate in Hz, more than 0")
    if np.isinf(signal).any():
        raise BadRecord("signal_values", f"{WHAT} has infinite values: expected millivolt, NaN where samples miss")
    if np.isnan(signal).all():
        raise BadRecord("empty", "all leads miss all samples: expected at least one lead; leave the recording out")
    return signal


def _over_windows(model: Any, of: Any, windows: Tensor, padding: Tensor | None) -> Tensor:
    device = next(model.parameters()).device
    parts = []
    for start in range(0, len(windows), BATCH):
        mask = None if padding is None else padding[start : start + BATCH].to(device)
        parts.append(of(windows[start : start + BATCH].to(device), mask).float().cpu())
    return torch.cat(parts)


@contextlib.contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
