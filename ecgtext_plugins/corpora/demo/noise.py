"""Noise of a recording: baseline wander, muscle, mains hum; and the fibrillatory baseline, which is signal."""

import numpy as np

from ecgtext_plugins.corpora.demo.leads import project
from ecgtext_plugins.corpora.demo.patients import Patient


def draw_noise(patient: Patient, samples: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Draw baseline wander (0.05-0.5 Hz), muscle noise and hum in mV, (8, samples) float32."""
    level = patient.noise * np.exp(0.3 * rng.standard_normal())
    times = np.arange(samples, dtype=np.float32) / np.float32(rate)
    slow = _sines(times, rng.uniform(0.05, 0.5, 3), rng)
    weights = 0.03 * level * rng.standard_normal((8, 3))
    hum = _sines(times, np.array([patient.mains]), rng)
    weights = np.concatenate([weights, np.abs(rng.standard_normal((8, 1))) * 0.004 * min(level, 2.0)], axis=1)
    noise = weights.astype(np.float32) @ np.concatenate([slow, hum])
    muscle = rng.standard_normal((8, samples), dtype=np.float32)
    sizes = 0.008 * min(level, 2.2) * rng.uniform(0.7, 1.3, (8, 1))
    return noise + sizes.astype(np.float32) * muscle


def draw_fibrillation(samples: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Draw fibrillatory waves (4-8 Hz, wandering in rate and size) in mV, (8, samples) float32; largest in V1."""
    times = np.arange(samples, dtype=np.float32) / np.float32(rate)
    courses = np.empty((2, samples), dtype=np.float32)
    for course in courses:
        swing = _sines(times, rng.uniform(0.2, 1.1, 3), rng)
        phase = 2 * np.pi * rng.uniform(4.9, 7.1) * times + 0.5 * swing.sum(axis=0)
        course[:] = (np.sin(phase) + 0.35 * np.sin(2 * phase + 0.8)) * (1.0 + 0.3 * swing[0])
    dipoles = np.array([[-0.02, 0.04, -0.05], [0.015, 0.035, -0.02]]) * rng.uniform(0.65, 1.15)
    return project(dipoles).astype(np.float32) @ courses


def _sines(times: np.ndarray, frequencies: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    phases = rng.uniform(0, 2 * np.pi, (len(frequencies), 1)).astype(np.float32)
    return np.sin(2 * np.pi * frequencies.astype(np.float32)[:, None] * times + phases)
