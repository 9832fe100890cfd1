"""When the waves of every beat come: sinus rhythm with its modulations, atrial fibrillation, premature beats."""

from dataclasses import dataclass

import numpy as np

from ecgtext_plugins.corpora.demo.findings import Diagnosis

P, QRS, T = range(3)  # anchors of a beat: onset of P, onset of QRS, peak of T


@dataclass(frozen=True)
class Beats:
    """Anchors of every beat of a strip.

    Attributes
    ----------
    anchors : ndarray (n, 3)
        Seconds from the strip's start: onset of P, onset of QRS, peak of T.
    has_p : ndarray (n,) bool
    ectopic : ndarray (n,) bool
        Premature ventricular beats.
    pr : float
        PR interval in seconds (NaN without P waves).
    qt : float
        QT interval in seconds at the mean rate.
    """

    anchors: np.ndarray
    has_p: np.ndarray
    ectopic: np.ndarray
    pr: float
    qt: float


def draw_beats(
    diagnosis: Diagnosis, qtc: float, pr: float, widening: float, seconds: float, rng: np.random.Generator
) -> Beats:
    """Draw the beats of a strip, one of them possibly begun before it and one after it.

    Parameters
    ----------
    qtc : float
        The patient's QT interval at 60/min, in seconds.
    pr : float
        The patient's PR interval in seconds at rest; longer with a first degree block, shorter with a fast rate.
    widening : float
        Seconds by which the QRS is wider than a normal one; lengthens QT.
    """
    mean = 60.0 / diagnosis.rate
    fibrillation = diagnosis.rhythm == "atrial_fibrillation"
    onsets = (_fibrillation if fibrillation else _sinus)(mean, seconds, rng)
    qt = qtc * mean ** (1 / 3) + 0.6 * widening  # Fridericia
    ectopic = np.zeros(len(onsets), dtype=bool)
    if diagnosis.pvc:
        onsets, ectopic = _make_premature(onsets, seconds, rng)
    if diagnosis.first_degree:
        pr = rng.uniform(0.236, max(0.25, min(0.325, mean - qt - 0.01)))
    else:
        pr = np.clip(pr - 0.05 * (0.85 - min(mean, 1.0)), 0.115, 0.19)
    following = np.diff(onsets, append=onsets[-1] + mean)
    before = np.diff(onsets, prepend=onsets[0] - mean)
    qt_beat = qtc * (0.75 * mean + 0.25 * before) ** (1 / 3) + 0.6 * widening
    to_peak = np.minimum(qt_beat - 0.09 * np.sqrt(mean), 0.68 * following + 0.02)
    anchors = np.stack([onsets - pr, onsets, onsets + to_peak], axis=1)
    has_p = ~ectopic & (not fibrillation)
    return Beats(anchors, has_p, ectopic, float("nan") if fibrillation else float(pr), float(qt))


def _sinus(mean: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Return onsets with respiratory (0.15-0.35 Hz) and Mayer (0.1 Hz) modulation, shallower at fast rates."""
    depth = min(1.0, mean) ** 2
    respiratory = rng.uniform(0.005, 0.03) * depth
    mayer = rng.uniform(0.003, 0.015) * depth
    breath, phases = rng.uniform(0.15, 0.35), rng.uniform(0, 2 * np.pi, 2)
    count = int(np.ceil((seconds + 2) / (0.9 * mean))) + 3
    times = mean * np.arange(count)
    wave = respiratory * np.sin(2 * np.pi * breath * times + phases[0])
    wave += mayer * np.sin(2 * np.pi * 0.1 * times + phases[1])
    intervals = mean * (1.0 + wave - wave.mean() + 0.004 * rng.standard_normal(count))
    onsets = -mean * (1.0 + rng.random()) + np.cumsum(intervals)
    return onsets[onsets < seconds + mean]


def _fibrillation(mean: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Return onsets at irregular intervals, the strip's mean as asked and its variation 0.17 to 0.3."""
    count = int(np.ceil((seconds + 2) / mean)) + 3
    variation = rng.uniform(0.18, 0.28)
    intervals = rng.standard_gamma(1.0 / variation**2, count)
    intervals = (intervals - intervals.mean()) * (variation * mean / intervals.std())
    intervals = np.maximum(mean + intervals, max(0.3, 0.55 * mean))
    intervals *= mean / intervals.mean()
    shown = int(seconds / mean)  # of a few orders the one that shows most of the irregularity
    intervals = max((rng.permutation(intervals) for _ in range(4)), key=lambda order: order[1:shown].std())
    onsets = -mean + np.cumsum(intervals) - 0.5 * intervals[0]
    return onsets[onsets < seconds + mean]


def _make_premature(onsets: np.ndarray, seconds: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pull one to four non-adjacent beats forward; the next beat keeps its time: a full compensatory pause."""
    interval = np.diff(onsets)
    whole = np.flatnonzero((onsets[1:-1] > 1.0) & (onsets[1:-1] < seconds - 0.8)) + 1
    chosen: list[int] = []
    for beat in rng.permutation(whole)[: int(rng.integers(1, 5)) * 3]:
        if all(abs(beat - other) > 2 for other in chosen):
            chosen.append(int(beat))
    chosen = chosen[: int(rng.integers(1, 5))]
    moved, ectopic = onsets.copy(), np.zeros(len(onsets), dtype=bool)
    share, typical = rng.uniform(0.58, 0.7), float(np.median(interval))
    for beat in sorted(chosen):
        moved[beat] = moved[beat - 1] + max(0.36, share * typical)
        moved[beat + 1 :] += max(0.0, moved[beat] + 1.15 * typical - moved[beat + 1])
        ectopic[beat] = True
    return moved, ectopic
