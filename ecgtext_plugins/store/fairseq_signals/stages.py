"""The variables of a record's .mat files in the three stages of fairseq-signals' newer pipeline."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ecgtext_plugins.signals.resampling import resample_linear
from ecgtext_plugins.store.fairseq_signals.standardise import standardise

STAGES = ("org", "preprocessed", "segmented")


def org_variables(signal: np.ndarray, rate: float, idx: int, extra: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of an org file: `signal` (12, T) millivolt in double precision, missing leads NaN.

    Parameters
    ----------
    rate : float
        Hz.
    idx : int
        Sample id.
    extra : dict
        Further variables, which all stages keep.
    """
    size = signal.shape[1]
    return {
        "org_sample_rate": whole(rate),
        "curr_sample_rate": whole(rate),
        "org_sample_size": size,
        "curr_sample_size": size,
        "feats": signal.astype(np.float64),
        "idx": idx,
        **extra,
    }


def preprocessed_variables(org: dict[str, Any], rate: float) -> dict[str, Any]:
    """Return the variables of a preprocessed file: resampled by straight lines to `rate` Hz, then standardised."""
    resampled = resample_linear(org["feats"], float(org["curr_sample_rate"]), rate, dtype=np.float64)
    feats, mean, std = standardise(resampled)
    changed = {"feats": feats, "curr_sample_rate": whole(rate), "curr_sample_size": feats.shape[1]}
    return {**org, **changed, "mean": mean, "std": std}


def segment_variables(preprocessed: dict[str, Any], samples: int) -> Iterator[dict[str, Any]]:
    """Yield the variables of the segmented files: windows of `samples` end to end, the remainder dropped."""
    feats = preprocessed["feats"]
    for number in range(feats.shape[1] // samples):
        window = feats[:, number * samples : (number + 1) * samples]
        yield {**preprocessed, "feats": window, "curr_sample_size": samples, "segment_i": number}


def resampled_size(n_samples: np.ndarray, native_rate: float, rate: float) -> np.ndarray:
    """Return how many samples recordings of `n_samples` have after :func:`resample_linear`, int64."""
    if native_rate == rate:
        return np.asarray(n_samples, dtype=np.int64)
    return (np.asarray(n_samples) * (rate / native_rate)).astype(np.int64)


def whole(rate: float) -> int | float:
    """Return a rate as the whole number that it is, if it is one: files store 500 as an integer."""
    return int(rate) if float(rate).is_integer() else float(rate)
