"""Sums of Gaussian waves, in the manner of ECGSYN (McSharry et al., IEEE Trans Biomed Eng 50, 2003), over twelve leads.

Every wave keeps its time course and has an amplitude a lead, so that a strip is (leads x waves) @ (waves x samples).
"""

from dataclasses import dataclass

import numpy as np

_REACH = 4.0  # standard deviations beyond which a wave is left out: below 0.04 % of its height


@dataclass(frozen=True)
class Waves:
    """Waves of a beat.

    Attributes
    ----------
    leads : ndarray (8, W)
        Amplitude in mV in leads I, II, V1..V6.
    anchor : ndarray (W,) int
        Which column of the beats' anchors the wave follows (rhythm.P, rhythm.QRS, rhythm.T).
    timing : ndarray (4, W)
        Seconds: begin of the top after the anchor, length of the flat top, standard deviations of rise and of fall.
    """

    leads: np.ndarray
    anchor: np.ndarray
    timing: np.ndarray

    def of(self, anchor: int) -> np.ndarray:
        """Return which waves follow `anchor`, (W,) bool."""
        return self.anchor == anchor


def join_waves(parts: list[Waves]) -> Waves:
    """Put waves side by side."""
    return Waves(
        np.concatenate([part.leads for part in parts], axis=1),
        np.concatenate([part.anchor for part in parts]),
        np.concatenate([part.timing for part in parts], axis=1),
    )


def make_waves(leads: np.ndarray, anchor: int, timing: list[tuple[float, float, float, float]]) -> Waves:
    """Make waves of one anchor; see :class:`Waves`."""
    return Waves(
        np.asarray(leads, dtype=np.float64), np.full(len(timing), anchor), np.array(timing, dtype=np.float64).T
    )


def render_waves(waves: Waves, anchors: np.ndarray, shown: np.ndarray, samples: int, rate: float) -> np.ndarray:
    """Sum the waves of all beats.

    Parameters
    ----------
    anchors : ndarray (n, 3)
        Seconds, see :class:`ecgtext_plugins.corpora.demo.rhythm.Beats`.
    shown : ndarray (n, W) bool
        Which waves each beat has.
    samples : int
    rate : float
        Hz.

    Returns
    -------
    ndarray (8, samples) float32
        mV.
    """
    courses = np.zeros((waves.leads.shape[1], samples), dtype=np.float32)
    for wave in range(len(courses)):
        start, flat, rise, fall = waves.timing[:, wave]
        tops = anchors[shown[:, wave], waves.anchor[wave]] + start
        first = np.floor((tops - _REACH * rise) * rate).astype(int)
        length = int(np.ceil((_REACH * (rise + fall) + flat) * rate)) + 2
        times = ((first[:, None] + np.arange(length)) / rate - tops[:, None]).astype(np.float32)
        scaled = np.where(times < 0, times / rise, np.maximum(times - flat, 0) / fall)
        values = np.exp(-0.5 * scaled * scaled)
        for begin, value in zip(first, values, strict=True):
            low, high = max(begin, 0), min(begin + length, samples)
            if low < high:
                courses[wave, low:high] += value[low - begin : high - begin]
    return waves.leads.astype(np.float32) @ courses
