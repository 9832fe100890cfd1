"""Standardising leads as fairseq-signals does: mean 0 and deviation 1 over the whole record."""

import numpy as np


def standardise(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take the mean off each lead of `signal` (12, T) float64 and divide by the population deviation of what is left.

    Constant leads become 0; a lead with a missing sample becomes missing as a whole. Sums run over the samples in the
    order that a file of MATLAB stores them in (lead by lead within a sample), so that the last bits are those that
    fairseq-signals gets from its own org files.

    Source: ``preprocess_mat`` and ``lead_std_divide`` (constant leads: zero) of fairseq-signals' preprocess.py.

    Returns
    -------
    feats : ndarray (12, T) float64
    mean, std : ndarray (12, 1) float64
        Millivolt, as its files keep them.
    """
    ordered = np.asfortranarray(signal, dtype=np.float64)
    mean = ordered.mean(axis=1, keepdims=True)
    feats = ordered - mean
    std = feats.std(axis=1, keepdims=True)
    constant = constant_leads(signal)[:, None] | (std == 0)
    feats = feats / np.where(constant, 1.0, std)
    feats[constant[:, 0]] = 0.0
    return feats, mean, std


def constant_leads(signal: np.ndarray) -> np.ndarray:
    """Tell for each lead of `signal` (12, T) whether it holds one value throughout; one with NaN doesn't."""
    return signal.max(axis=1) == signal.min(axis=1)
