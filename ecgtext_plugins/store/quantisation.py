"""Signals as int16 multiples of a step kept per record; -32768 means missing, nothing else."""

import math

import numpy as np

MISSING = -32768
LARGEST = 32767


def choose_step(signal: np.ndarray, source_step_uv: float | None) -> float:
    """Return the step in microvolt for `signal` (12, T) float32 millivolt.

    The source's own step where there is one and the range fits it, so that integer sources stay exact; else 1
    microvolt, or the least whole number of microvolts that the range fits.
    """
    finite = np.isfinite(signal)
    peak = float(np.abs(signal).max(where=finite, initial=0.0)) * 1000.0
    if source_step_uv is not None and round(peak / source_step_uv) <= LARGEST:
        return float(source_step_uv)
    return max(1.0, float(math.ceil(peak / (LARGEST + 0.5 - 1e-3))))


def quantise(signal: np.ndarray, step_uv: float) -> np.ndarray:
    """Return `signal` (12, T) millivolt as int16 counts of `step_uv`; NaN becomes -32768."""
    counts = np.rint(signal.astype(np.float64) * (1000.0 / step_uv))
    missing = np.isnan(counts)
    if missing.any():
        counts[missing] = MISSING
    return counts.astype(np.int16)


def restore(counts: np.ndarray, step_mv: float, out: np.ndarray | None = None, missing: float = np.nan) -> np.ndarray:
    """Return int16 `counts` (12, T) as float32 millivolt; -32768 becomes `missing`.

    Parameters
    ----------
    out : ndarray, shape (12, T), float32, or None
        Where to write; a new array without it.
    """
    out = np.empty(counts.shape, dtype=np.float32) if out is None else out
    lacks = counts.min(initial=0) == MISSING  # before the conversion: it brings the counts into the processor's cache
    np.copyto(out, counts)  # exact: float32 holds all of int16
    out *= np.float32(step_mv)
    if lacks:
        np.copyto(out, missing, where=counts == MISSING)
    return out
