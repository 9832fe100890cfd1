"""Runs: where consecutive samples of a lead share a property."""

import numpy as np


def find_runs(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the runs of True in each row of `flags` (L, T) bool.

    Returns
    -------
    rows, starts, ends : ndarray (R,) int64
        Of each run its row, first sample and the sample after its last, ordered by row and then by start.
    """
    width = flags.shape[1] + 2
    framed = np.zeros((len(flags), width), dtype=bool)
    framed[:, 1:-1] = flags
    flat = framed.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    rows, starts = np.divmod(edges[::2], width)
    return rows, starts, edges[1::2] % width
