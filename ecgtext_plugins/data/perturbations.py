"""Perturbations of training ECGs: lead masking, mains hum, muscle noise, baseline shift and wander, 3KG.

Names, parameters and published defaults are fairseq-signals' (augmentations.py), whose defects are mended: the shift
is sign times amplitude, conditional lead masking runs, the sample rate is the store's. Amplitudes are in the signal's
unit: millivolt, or a lead's deviation where ECGs are standardised.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ecgtext_plugins.data.lead_masking import conditional_lead_mask, lead_mask
from ecgtext_plugins.data.vectorcardiogram import depend_on_limbs, moved
from ecgtext_plugins.errors import BadConfig

MAINS = (50.0, 60.0)  # Hz
MASK_MODES = ("random", "conditional")


@dataclass(frozen=True)
class PerturbationOptions:
    """Parameters of all perturbations."""

    modes: tuple[str, ...] = ()  # names of PERTURBATIONS, applied in this order
    probabilities: tuple[float, ...] = (1.0,)  # one a mode, or one for all
    max_amplitude: float = 0.1
    min_amplitude: float = 0.0
    dependency: bool = True  # of noise: III, aVR, aVL and aVF get what follows from that of I and II
    shift_ratio: float = 0.2  # mean length of a baseline shift, as a share of the ECG
    num_segment: int = 1  # baseline shifts an ECG
    max_freq: float = 0.2  # Hz, of baseline wander
    min_freq: float = 0.01
    k: int = 3  # cosines of baseline wander
    mask_leads_selection: str = "random"
    mask_leads_prob: float = 0.5
    mask_leads_condition: tuple[int, int] = (4, 5)  # limb and precordial leads to hide in the mode conditional
    keep_one_lead: bool = False
    angle: float = 45.0  # 3kg: degrees, largest rotation about each axis
    scale: float = 1.5  # 3kg: largest factor on each axis
    mask_ratio: float = 0.5  # 3kg: share of the time that is zeroed in each lead
    each: tuple[float, ...] = field(init=False)

    def __post_init__(self):
        unknown = [mode for mode in self.modes if mode not in PERTURBATIONS]
        if unknown:
            raise BadConfig(f"task.perturbation_mode holds {unknown[0]}: expected {', '.join(PERTURBATIONS)}")
        given = self.probabilities
        each = given * len(self.modes) if len(given) == 1 else given
        if (self.modes and len(each) != len(self.modes)) or not all(0 <= value <= 1 for value in given):
            raise BadConfig(
                f"task.p={list(given)}: expected a probability for each of the {len(self.modes)} perturbations in "
                "task.perturbation_mode, or one for all"
            )
        object.__setattr__(self, "each", each)
        self._check_ranges()

    def _check_ranges(self) -> None:
        if self.mask_leads_selection not in MASK_MODES:
            raise BadConfig(
                f"task.mask_leads_selection={self.mask_leads_selection}: expected {' or '.join(MASK_MODES)}"
            )
        condition = self.mask_leads_condition
        if len(condition) != 2 or not all(0 <= count <= 6 for count in condition):
            raise BadConfig(
                f"task.mask_leads_condition={list(condition)}: expected two numbers from 0 to 6, of limb and of "
                "precordial leads to hide"
            )
        shares = ("mask_leads_prob", "shift_ratio", "mask_ratio")
        for name in (name for name in shares if not 0 <= getattr(self, name) <= 1):
            raise BadConfig(f"task.{name}={getattr(self, name)}: expected a number from 0 to 1")
        for low, high in (("min_amplitude", "max_amplitude"), ("min_freq", "max_freq")):
            if not 0 <= getattr(self, low) <= getattr(self, high):
                raise BadConfig(
                    f"task.{low}={getattr(self, low)}, task.{high}={getattr(self, high)}: expected 0 or more, and the "
                    "first no larger than the second"
                )
        if self.scale < 1:
            raise BadConfig(f"task.inferred_3kg_config.scale={self.scale}: expected 1 or more")


def perturb(
    ecg: np.ndarray,
    sample_rate: float,
    options: PerturbationOptions,
    generators: Sequence[np.random.Generator],
) -> np.ndarray:
    """Apply the perturbations in order, each with its probability.

    Parameters
    ----------
    ecg : ndarray, shape (12, T), float32
    sample_rate : float
        Hz.
    generators : sequence of Generator
        One a perturbation.

    Returns
    -------
    ndarray, shape (12, T), float32
        A new array, or `ecg` itself where none was applied.
    """
    for mode, probability, rng in zip(options.modes, options.each, generators, strict=True):
        if rng.random() < probability:
            ecg = PERTURBATIONS[mode](ecg, sample_rate, options, rng)
    return ecg


def mask_leads(ecg: np.ndarray, sample_rate: float, options: PerturbationOptions, rng) -> np.ndarray:
    """Zero leads (RLM, Oh et al. 2022): each with a probability, or so many limb and precordial ones."""
    draws = rng.random((1, 13))
    if options.mask_leads_selection == "conditional":
        hidden = conditional_lead_mask(draws, *options.mask_leads_condition)[0]
    else:
        hidden = lead_mask(draws, options.mask_leads_prob, options.keep_one_lead)[0]
    return np.where(hidden[:, None], np.float32(0.0), ecg)


def powerline_noise(ecg: np.ndarray, sample_rate: float, options: PerturbationOptions, rng) -> np.ndarray:
    """Add mains hum of 50 or 60 Hz and random phase, of one amplitude in all leads."""
    frequency, phase = rng.choice(MAINS), rng.uniform(0, 2 * np.pi)
    amplitude = rng.uniform(options.min_amplitude, options.max_amplitude)
    time = np.arange(ecg.shape[1]) / sample_rate
    hum = amplitude * np.cos(2 * np.pi * frequency * time + phase)
    return _with_noise(ecg, np.repeat(hum[None], 12, axis=0), options)


def emg_noise(ecg: np.ndarray, sample_rate: float, options: PerturbationOptions, rng) -> np.ndarray:
    """Add white noise, of an amplitude of its own in each lead."""
    amplitudes = rng.uniform(options.min_amplitude, options.max_amplitude, (12, 1))
    return _with_noise(ecg, amplitudes * rng.standard_normal(ecg.shape), options)


def baseline_shift(ecg: np.ndarray, sample_rate: float, options: PerturbationOptions, rng) -> np.ndarray:
    """Lift or lower each lead, all by one amplitude, for some windows of about `shift_ratio` of the time."""
    length = ecg.shape[1]
    amplitude = rng.uniform(options.min_amplitude, options.max_amplitude)
    signed = amplitude * rng.choice((-1.0, 1.0), (12, 1))
    noise = np.zeros(ecg.shape)
    for _ in range(options.num_segment):
        mean = options.shift_ratio * length
        window = int(np.clip(rng.normal(mean, 0.2 * mean), 0, length))
        start = int(rng.random() * (length - window + 1))
        noise[:, start : start + window] = signed
    return _with_noise(ecg, noise, options)


def baseline_wander(ecg: np.ndarray, sample_rate: float, options: PerturbationOptions, rng) -> np.ndarray:
    """Add the sum of `k` slow cosines, by a gain of its own in each lead, N(1, 0.5)."""
    time = np.arange(ecg.shape[1]) / sample_rate
    frequencies = rng.uniform(options.min_freq, options.max_freq, (options.k, 1))
    amplitudes = rng.uniform(options.min_amplitude, options.max_amplitude, (options.k, 1))
    phases = rng.uniform(0, 2 * np.pi, (options.k, 1))
    wander = (amplitudes * np.cos(2 * np.pi * frequencies * time + phases)).sum(axis=0)
    return _with_noise(ecg, rng.normal(1.0, 0.5, (12, 1)) * wander, options)


def three_kg(ecg: np.ndarray, sample_rate: float, options: PerturbationOptions, rng) -> np.ndarray:
    """Rotate and scale the vectorcardiogram, then zero a span of the time in each lead, which may run over the end."""
    largest = np.deg2rad(options.angle)
    out = moved(ecg, rng.uniform(-largest, largest, 3), rng.uniform(1.0, options.scale, 3))
    length = out.shape[1]
    starts = (rng.random((12, 1)) * length).astype(np.int64)
    hidden = (np.arange(length) - starts) % length < int(options.mask_ratio * length)
    out[hidden] = 0.0
    return out


def _with_noise(ecg: np.ndarray, noise: np.ndarray, options: PerturbationOptions) -> np.ndarray:
    if options.dependency:
        depend_on_limbs(noise)
    return ecg + noise.astype(np.float32)


PERTURBATIONS = {
    "random_leads_masking": mask_leads,
    "powerline_noise": powerline_noise,
    "emg_noise": emg_noise,
    "baseline_shift": baseline_shift,
    "baseline_wander": baseline_wander,
    "3kg": three_kg,
}
