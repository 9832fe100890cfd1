"""One synthetic recording: noiseless signal, noise, and what a cart would have measured."""

from dataclasses import dataclass

import numpy as np

from ecgtext_plugins.corpora.demo.beats import conducted_beat, draw_width
from ecgtext_plugins.corpora.demo.ectopics import premature_beat
from ecgtext_plugins.corpora.demo.findings import Diagnosis
from ecgtext_plugins.corpora.demo.leads import twelve_leads
from ecgtext_plugins.corpora.demo.noise import draw_fibrillation, draw_noise
from ecgtext_plugins.corpora.demo.patients import Patient
from ecgtext_plugins.corpora.demo.rhythm import QRS, Beats, P, T, draw_beats
from ecgtext_plugins.corpora.demo.waves import join_waves, render_waves

RATE, SECONDS, GAIN = 500, 10, 200  # Hz, s, counts per mV
SAMPLES = RATE * SECONDS


@dataclass(frozen=True)
class Recording:
    """A synthetic recording.

    Attributes
    ----------
    clean, noise : ndarray (8, 5000) float32
        mV in leads I, II, V1..V6.
    beats : Beats
    width : float
        Width of the conducted QRS in seconds.
    axes : tuple of int
        Frontal axes of P, QRS and T in degrees.
    """

    clean: np.ndarray
    noise: np.ndarray
    beats: Beats
    width: float
    axes: tuple[int, int, int]


def synthesize(diagnosis: Diagnosis, patient: Patient, rng: np.random.Generator) -> Recording:
    """Make a recording of `patient` with the findings of `diagnosis`."""
    width = draw_width(diagnosis, patient)
    beats = draw_beats(diagnosis, patient.qtc, patient.pr, max(0.0, width - 0.1), SECONDS, rng)
    waves, width = conducted_beat(diagnosis, patient, beats.qt, rng)
    atrial = waves.of(P)
    shown = ~beats.ectopic[:, None] & (beats.has_p[:, None] | ~atrial)
    peaked = waves.timing[1] == 0  # the shift of the ST segment, flat, has no axis
    axes = tuple(_axis(waves.leads[:, waves.of(anchor) & peaked].sum(axis=1)) for anchor in (P, QRS, T))
    if diagnosis.pvc:
        extra, _ = premature_beat(patient, 0.5 if diagnosis.waveform == "low_voltage" else 1.0, rng)
        shown = np.concatenate([shown, np.repeat(beats.ectopic[:, None], len(extra.anchor), axis=1)], axis=1)
        waves = join_waves([waves, extra])
    clean = render_waves(waves, beats.anchors, shown, SAMPLES, RATE)
    if diagnosis.rhythm == "atrial_fibrillation":
        clean = clean + draw_fibrillation(SAMPLES, RATE, rng) * (0.6 if diagnosis.waveform == "low_voltage" else 1.0)
    clean = clean * _breathing(rng)
    return Recording(clean, draw_noise(patient, SAMPLES, RATE, rng), beats, width, axes)


def _breathing(rng: np.random.Generator) -> np.ndarray:
    """Return by how much the chest's movement changes the signal, (samples,) float32 around 1."""
    phase = 2 * np.pi * (rng.uniform(0.15, 0.35) * np.arange(SAMPLES) / RATE + rng.random())
    return (1.0 + rng.uniform(0.01, 0.05) * np.sin(phase)).astype(np.float32)


def _axis(leads: np.ndarray) -> int:
    """Return the frontal axis in degrees from the net amplitudes in I and aVF."""
    return int(round(float(np.degrees(np.arctan2(leads[1] - leads[0] / 2, leads[0])))))


def to_counts(signal: np.ndarray) -> np.ndarray:
    """Quantise eight leads in mV and complete them, (12, T) int16 in file order; III is exactly II - I."""
    counts = np.clip(np.rint(signal * GAIN), -10000, 10000)
    return np.rint(twelve_leads(counts)).astype(np.int16)
