"""A patient of the demo corpus: what stays the same, or nearly so, over all of the patient's ECGs."""

from dataclasses import dataclass

import numpy as np

from ecgtext_plugins.corpora.demo.findings import Tendency, draw_tendency


@dataclass(frozen=True)
class Patient:
    """Anatomy, tendencies and usual noise of a patient.

    Attributes
    ----------
    frontal, horizontal : float
        Turn of the heart in radians, see ``leads.rotate``.
    lead_gain : ndarray (8,)
        How the body shows the heart in I, II, V1..V6 (1: average).
    amplitude, p_size, t_size : float
        Relative sizes of all waves, of P and of T.
    width_rank : float
        Width of the QRS within the limits of its kind, 0 .. 1.
    qtc, pr : float
        Seconds.
    noise : float
        Relative noise of the patient's recordings.
    mains : float
        Mains frequency in Hz.
    ectopic : ndarray (3,)
        Direction of premature ventricular beats, unit length.
    """

    tendency: Tendency
    frontal: float
    horizontal: float
    lead_gain: np.ndarray
    amplitude: float
    p_size: float
    t_size: float
    width_rank: float
    qtc: float
    pr: float
    noise: float
    mains: float
    ectopic: np.ndarray


# Where premature beats come from, as direction of their QRS (X left, Y down, Z back): right ventricle, left, apex.
_ORIGINS = np.array([[0.55, 0.75, 0.60], [-0.60, 0.55, -0.75], [0.30, -0.85, 0.55]])


def draw_patient(rng: np.random.Generator) -> Patient:
    """Draw a patient."""
    ectopic = _ORIGINS[rng.integers(len(_ORIGINS))] + 0.15 * rng.standard_normal(3)
    return Patient(
        tendency=draw_tendency(rng),
        frontal=float(np.clip(rng.normal(0.0, 0.33), -0.8, 0.5)),
        horizontal=float(np.clip(rng.normal(0.0, 0.18), -0.4, 0.4)),
        lead_gain=np.exp(0.10 * np.clip(rng.standard_normal(8), -2, 2)),
        amplitude=float(np.exp(np.clip(rng.normal(-0.05, 0.2), -0.4, 0.4))),
        p_size=float(rng.uniform(0.85, 1.35)),
        t_size=float(rng.uniform(0.8, 1.4)),
        width_rank=float(rng.random()),
        qtc=float(rng.uniform(0.375, 0.425)),
        pr=float(rng.uniform(0.14, 0.178)),
        noise=float(np.exp(rng.normal(0.0, 0.4))),
        mains=float(rng.choice([60.0, 50.0], p=[0.8, 0.2])),
        ectopic=ectopic / np.linalg.norm(ectopic),
    )
