"""Where a model looks in an ECG: attention as ECG-FM draws it, or gradients of a label with respect to the input."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d
from torch import Tensor

from ecgtext_plugins.checkpoints.raw_signal import WHAT, model_signal, windows_of
from ecgtext_plugins.errors import BadCheckpoint, EcgTextError
from ecgtext_plugins.modules.ecg_classifier import FinetunedEncoder
from ecgtext_plugins.modules.ecg_encoder import EcgEncoder, with_class_token
from ecgtext_plugins.signals.leads import arrange_leads, lead_positions
from ecgtext_plugins.signals.resampling import resample_by

METHODS = ATTENTION, GRADIENT = ("attention", "gradient")
SMOOTHED = 0.04  # seconds over which gradients are averaged
BATCH = 16  # windows at once


@dataclass(frozen=True)
class Saliency:
    """A recording with a number from 0 to 1 for each sample.

    Attributes
    ----------
    signal_mv : ndarray (12, T) float32
        The recording in millivolt at the model's rate, neither standardised nor filtered; NaN where missing.
    values : ndarray (T,) or (12, T) float32
        0 is the lowest, 1 the highest of the recording; one row for all leads by attention, one a lead by gradients.
    span : (float, float)
        The numbers that became 0 and 1. Where they are equal, all values are 0.
    starts : ndarray (W,) int64
        First samples of the windows that the model saw.
    label : str or None
        The label that was looked at; None for a model without labels.
    probability : float or None
        Of that label.
    """

    signal_mv: np.ndarray
    values: np.ndarray
    span: tuple[float, float]
    starts: np.ndarray
    label: str | None = None
    probability: float | None = None


def record_saliency(
    model: Any,
    signal_mv: np.ndarray,
    fs: float,
    leads: Sequence[str],
    method: str = ATTENTION,
    label: str | None = None,
    layer: int = -1,
) -> Saliency:
    """Saliency of a whole recording, window by window as the model was trained.

    Where two windows overlap (the last one ends with the recording), the mean of both counts. Gradients are averaged
    over 40 ms around each sample.

    Parameters
    ----------
    model : LoadedModel
        From ``ecgtext_plugins.load``.
    signal_mv : ndarray (n, T)
        Millivolt, one row a lead; missing samples NaN.
    fs : float
        Hz.
    leads : sequence of n str
        The rows' names.
    method : str
        One of METHODS.
    label : str, optional
        Of a classifier; by default the most probable one. Attention does not depend on it.
    layer : int
        Whose attention; negative numbers count from the last layer.

    Raises
    ------
    EcgTextError
        For a method, label or layer that there is not.
    BadRecord
        As ``raw_signal.embed_signal`` does.
    BadCheckpoint
        When the numbers are not finite.
    """
    if method not in METHODS:
        raise EcgTextError(f"there is no saliency by '{method}': expected one of {', '.join(METHODS)}")
    model.eval()
    windows, padding, starts = windows_of(model_signal(model, signal_mv, fs, leads), model.n_samples)
    arranged = arrange_leads(np.asarray(signal_mv), lead_positions(list(leads), WHAT))
    resampling = "linear" if model.standardize else "polyphase"
    shown = resample_by(resampling, arranged, float(fs), float(model.sample_rate), WHAT)
    label, probability = _label_of(model, label, signal_mv, fs, leads)
    if method == ATTENTION:
        values = joined(attention_saliency(model, windows, padding, layer), starts, shown.shape[1])
    else:
        values = smoothed(
            joined(gradient_saliency(model, windows, label, padding), starts, shown.shape[1]), model.sample_rate
        )
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise BadCheckpoint(
            f"the model's {method} is not finite: its training has diverged or its weights are damaged; use an earlier "
            "checkpoint"
        )
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return Saliency(shown, scaled.astype(np.float32), (low, high), np.array(starts), label, probability)


def attention_saliency(model: Any, windows: Tensor, padding: Tensor | None = None, layer: int = -1) -> np.ndarray:
    """For each sample, the largest attention weight that a frame there gives to any frame.

    Between the frames' centres the numbers follow straight lines; before the first and behind the last centre they
    stay as they are there. The class token of D-BETA counts neither as frame that attends nor as one attended to.

    Source: saliency of ECG-FM's infer_quickstart.ipynb (the last layer, mean over heads, maximum over keys).

    Parameters
    ----------
    model : LoadedModel
    windows : Tensor, shape (W, 12, n_samples), float32
        Standardised where the model was trained so, else millivolt.
    padding : Tensor, shape (W, n_samples), bool, optional
        True at padding, which stands at the end.
    layer : int
        Negative numbers count from the last one.

    Returns
    -------
    ndarray, shape (W, n_samples), float32
        NaN at padding.

    Raises
    ------
    EcgTextError
        When there is no such layer.
    """
    stem = model.ecg_encoder.feature_extractor
    samples = windows.shape[-1]
    step, out = stem.samples_per_frame, np.full((len(windows), samples), np.nan, dtype=np.float32)
    for row, frames in enumerate(frame_attention(model, windows, padding, layer)):
        length = samples if padding is None else int((~padding[row]).sum())
        count = stem.n_frames(length)
        centres = np.arange(count) * step + (step - 1) / 2
        out[row, :length] = np.interp(np.arange(length), centres, frames[:count])
    return out


def frame_attention(model: Any, windows: Tensor, padding: Tensor | None = None, layer: int = -1) -> np.ndarray:
    """Largest attention weight of each frame's query: (W, N) float32; see :func:`attention_saliency`.

    Of padded frames the numbers mean nothing.
    """
    encoder = model.ecg_encoder
    depth = len(encoder.encoder.layers)
    if not -depth <= layer < depth:
        raise EcgTextError(
            f"the model's ECG encoder has no layer {layer}: expected {-depth} to {depth - 1}, as it has {depth} layers"
        )
    parts = []
    with torch.no_grad():
        for ecg, mask in _batches(model, windows, padding):
            frames, frame_padding = encoder.embed(model.shown(ecg), mask)
            token = getattr(model.model, "class_embedding", None)
            if token is not None:
                frames = torch.cat([token.to(frames.dtype).expand(len(frames), 1, -1), frames], dim=1)
                frame_padding = with_class_token(frame_padding)
            maps = encoder.encoder.attention_maps(frames, frame_padding, (layer,))[:, 0]
            parts.append((maps if token is None else maps[:, 1:, 1:]).amax(dim=2).float().cpu())
    return torch.cat(parts).numpy()


def gradient_saliency(
    model: Any, windows: Tensor, label: str | None = None, padding: Tensor | None = None
) -> np.ndarray:
    """Absolute gradient of a label's logit with respect to each sample of each lead.

    Without `label`, of the squared norm of the embedding; of an ArcFace model, whose embeddings all have norm 1, of
    that before it is normed. A stem that training froze or slowed down (`feature_grad_mult`) passes the whole gradient.

    Source: Simonyan et al. 2014, "Deep inside convolutional networks", section 3.

    Parameters
    ----------
    model : LoadedModel
    windows, padding
        As for :func:`attention_saliency`.
    label : str, optional
        One of the model's labels.

    Returns
    -------
    ndarray, shape (W, 12, n_samples), float32
        A unit of the score for one of the input (millivolt, or a deviation of the lead); NaN at padding.

    Raises
    ------
    EcgTextError
        When the model has no such label.
    """
    score, parts = _score(model, label), []
    with _whole_gradient(model.ecg_encoder):
        for ecg, mask in _batches(model, windows, padding):
            ecg = ecg.clone().requires_grad_()
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(score(model.shown(ecg), mask).sum(), ecg)
            gradient = gradient.abs().float()
            parts.append((gradient if mask is None else gradient.masked_fill(mask[:, None], torch.nan)).cpu())
    return torch.cat(parts).numpy()


def joined(values: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Lay windows (W, ..., n) that start at `starts` (W,) over a recording, mean where they overlap: (..., length)."""
    total, count = np.zeros((*values.shape[1:-1], length)), np.zeros(length)
    for window, start in zip(values, starts, strict=True):
        there = min(window.shape[-1], length - start)
        total[..., start : start + there] += window[..., :there]
        count[start : start + there] += 1
    return total / count


def smoothed(values: np.ndarray, sample_rate: float, seconds: float = SMOOTHED) -> np.ndarray:
    """Average (..., T) over the samples up to half of `seconds` away; ends count on as they are."""
    size = 2 * round(seconds / 2 * sample_rate) + 1
    return uniform_filter1d(values, size, axis=-1, mode="nearest")


def _label_of(
    model: Any, label: str | None, signal_mv: np.ndarray, fs: float, leads: Sequence[str]
) -> tuple[str | None, float | None]:
    """Return the label to look at and its probability."""
    if label is not None:
        _place(model, label)
    if not model.labels:
        return None, None
    probabilities = model.predict(signal_mv, fs, leads)
    chosen = label if label is not None else max(probabilities, key=probabilities.get)
    return chosen, probabilities[chosen]


def _place(model: Any, label: str) -> int:
    if not model.labels:
        raise EcgTextError(f"the model has no labels, and '{label}' was asked for: leave --label out, or fine-tune it")
    if label not in model.labels:
        raise EcgTextError(f"the model has no label '{label}': expected one of {', '.join(model.labels)}")
    return model.labels.index(label)


def _score(model: Any, label: str | None) -> Callable[[Tensor, Tensor | None], Tensor]:
    """Return the function of (ecg, padding) whose gradient is taken, (B,)."""
    network = model.model
    if label is not None:
        place = _place(model, label)
        return lambda ecg, padding: network(ecg, padding)["logits"][:, place]
    if isinstance(network, FinetunedEncoder):
        return lambda ecg, padding: network.pooled(ecg, padding)[1].square().sum(1)
    return lambda ecg, padding: network.encode_ecg(ecg, padding).square().sum(1)


def _batches(model: Any, windows: Tensor, padding: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    device = next(model.parameters()).device
    for start in range(0, len(windows), BATCH):
        mask = None if padding is None else padding[start : start + BATCH].to(device)
        yield windows[start : start + BATCH].to(device), mask


@contextlib.contextmanager
def _whole_gradient(encoder: EcgEncoder) -> Iterator[None]:
    factor, encoder.feature_grad_mult = encoder.feature_grad_mult, 1.0
    try:
        yield
    finally:
        encoder.feature_grad_mult = factor
