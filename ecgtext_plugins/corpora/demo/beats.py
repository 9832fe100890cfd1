"""The waves of a conducted beat: P, QRS, ST segment and T for every finding.

QRS and T are dipoles in Frank's coordinates (X left, Y down, Z back; mV); ST shifts and inverted T waves are given lead
by lead, since they follow the territory of an artery. A QRS component at `place` of a QRS of `width` seconds has its
peak at place * width after the onset and reaches to about 2.2 standard deviations on both sides.
"""

import numpy as np

from ecgtext_plugins.corpora.demo.findings import Diagnosis
from ecgtext_plugins.corpora.demo.leads import LIMB, project, rotate, twelve_leads
from ecgtext_plugins.corpora.demo.patients import Patient
from ecgtext_plugins.corpora.demo.rhythm import QRS, P, T
from ecgtext_plugins.corpora.demo.waves import Waves, join_waves, make_waves, render_waves

# Components of a QRS: place, spread (both as shares of its width), X, Y, Z.
_NORMAL = (
    (0.23, 0.090, -0.17, -0.04, -0.30),  # septum: rightward and forward
    (0.50, 0.105, 1.05, 0.80, 0.42),  # free wall: leftward, down
    (0.75, 0.095, -0.16, -0.16, 0.62),  # base: back and up
)
_LEFT_BLOCK = (
    (0.17, 0.075, 0.09, 0.10, 0.03),
    (0.38, 0.100, 0.82, 0.22, 0.82),
    (0.65, 0.120, 0.98, 0.10, 1.14),  # the notch lies between these two
)
_RIGHT_BLOCK = (
    (0.14, 0.058, -0.14, -0.04, -0.30),
    (0.33, 0.070, 1.05, 0.75, 0.34),
    (0.48, 0.060, -0.05, -0.10, 0.45),
    (0.73, 0.110, -0.62, 0.02, -0.62),  # the right ventricle last: rightward and forward
)
_T_NORMAL, _T_LEFT_BLOCK, _T_RIGHT_BLOCK = (0.30, 0.26, -0.16), (-0.42, -0.10, -0.52), (0.34, 0.22, 0.16)
_ST_LEFT_BLOCK = (-0.10, -0.02, -0.16)

# ST level 60 ms after the J point in mV, in I, II, V1..V6, at severity 1.
_ST = {
    ("st_elevation", "inferior"): (-0.10, 0.24, -0.02, -0.06, -0.06, -0.02, 0.02, 0.04),
    ("st_elevation", "anterior"): (0.05, -0.03, 0.24, 0.40, 0.42, 0.30, 0.12, 0.05),
    ("st_elevation", "lateral"): (0.24, 0.02, -0.08, -0.08, 0.02, 0.14, 0.26, 0.27),
    ("st_depression", None): (-0.09, -0.17, 0.03, 0.00, -0.09, -0.18, -0.21, -0.18),
}
# T waves in I, II, V1..V6 in mV at severity 1; None keeps the lead's own.
_T_INVERTED = {
    "anterior": (None, None, -0.24, -0.42, -0.46, -0.38, -0.26, 0.04),
    "lateral": (-0.26, 0.06, None, None, None, 0.06, -0.28, -0.30),
    "inferior": (0.14, -0.26, None, None, None, None, None, 0.10),
}


def conducted_beat(diagnosis: Diagnosis, patient: Patient, qt: float, rng: np.random.Generator) -> tuple[Waves, float]:
    """Make the waves of a conducted beat.

    Returns
    -------
    (waves, width) : tuple of Waves, float
        The width of the QRS is in seconds.
    """
    qrs, width = _qrs(diagnosis, patient, rng)
    severity = rng.uniform(0.85, 1.3)
    stretch = np.sqrt(min(60.0 / diagnosis.rate, 1.2))
    atrial = _atrial(patient, rng)
    t_wave = _t_wave(diagnosis, patient, severity, stretch, rng)
    segment = _segment(diagnosis, severity, width, qt, stretch)
    waves = join_waves([atrial, qrs, *([segment] if segment else []), t_wave])
    jitter = np.exp(0.04 * np.clip(rng.standard_normal((8, 1)), -2, 2))
    waves = Waves(waves.leads * jitter, waves.anchor, waves.timing)
    of_qrs = np.arange(len(waves.anchor)) - len(atrial.anchor)
    of_qrs = (of_qrs >= 0) & (of_qrs < len(qrs.anchor))
    return _scale_voltage(waves, of_qrs, diagnosis.waveform == "low_voltage", rng), width


def draw_width(diagnosis: Diagnosis, patient: Patient) -> float:
    """Return the width of the conducted QRS in seconds."""
    limits = {"left_bundle_branch_block": (0.134, 0.168), "right_bundle_branch_block": (0.128, 0.158)}
    low, high = limits.get(diagnosis.waveform or "", (0.078, 0.104))
    return low + (high - low) * patient.width_rank


def _qrs(diagnosis: Diagnosis, patient: Patient, rng: np.random.Generator) -> tuple[Waves, float]:
    blocked = {"left_bundle_branch_block": _LEFT_BLOCK, "right_bundle_branch_block": _RIGHT_BLOCK}
    table = np.array(blocked.get(diagnosis.waveform or "", _NORMAL))
    width = draw_width(diagnosis, patient)
    freedom = 0.35 if diagnosis.waveform in blocked else 1.0
    dipoles = table[:, 2:] * np.exp(0.06 * rng.standard_normal((len(table), 1)))
    dipoles = rotate(dipoles, freedom * patient.frontal, freedom * patient.horizontal)
    timing = [(place * width, 0.0, spread * width, spread * width) for place, spread in table[:, :2]]
    return make_waves(project(dipoles) * _body(patient), QRS, timing), width


def _body(patient: Patient) -> np.ndarray:
    return patient.amplitude * patient.lead_gain[:, None]


def _atrial(patient: Patient, rng: np.random.Generator) -> Waves:
    """Make the P wave: right atrium first (forward, down), then the left (leftward, back); anchored at its onset."""
    dipoles = np.array([[0.035, 0.085, -0.045], [0.065, 0.055, 0.045]]) * patient.p_size
    dipoles = rotate(dipoles, 0.3 * patient.frontal, 0.0) * np.exp(0.08 * rng.standard_normal((2, 1)))
    return make_waves(project(dipoles) * _body(patient), P, [(0.036, 0.0, 0.016, 0.018), (0.068, 0.0, 0.018, 0.016)])


def _t_wave(diagnosis: Diagnosis, patient: Patient, severity: float, stretch: float, rng: np.random.Generator) -> Waves:
    """Make the T wave: slow rise, faster fall."""
    blocked = {"left_bundle_branch_block": _T_LEFT_BLOCK, "right_bundle_branch_block": _T_RIGHT_BLOCK}
    dipole = rotate(np.array([blocked.get(diagnosis.waveform or "", _T_NORMAL)]), 0.15 * patient.frontal, 0.0)
    leads = project(dipole)[:, 0] * patient.t_size
    rise, fall = 0.062 * stretch, 0.042 * stretch
    if diagnosis.waveform == "t_wave_inversion":
        table = _T_INVERTED[diagnosis.territory or ""]
        leads = np.array([own if given is None else severity * given for own, given in zip(leads, table, strict=True)])
        rise = 0.05 * stretch  # ischaemic T waves are symmetric
    elif diagnosis.waveform == "st_elevation":
        leads = np.where(_st_levels(diagnosis) > 0.1, np.maximum(leads, 0.15) + 0.12 * severity, leads)
    elif diagnosis.waveform == "st_depression":
        leads = np.where(_st_levels(diagnosis) < -0.05, 0.55 * leads, leads)
    leads = leads * np.exp(0.06 * rng.standard_normal(8))
    return make_waves(leads[:, None], T, [(0.0, 0.0, rise, fall)])


def _st_levels(diagnosis: Diagnosis) -> np.ndarray:
    return np.array(_ST[diagnosis.waveform or "", diagnosis.territory])


def _segment(diagnosis: Diagnosis, severity: float, width: float, qt: float, stretch: float) -> Waves | None:
    """Make the shift of the ST segment: from the J point to the peak of T, then away with it."""
    to_peak = qt - 0.09 * stretch
    if diagnosis.waveform in ("st_elevation", "st_depression"):
        levels = _st_levels(diagnosis) * severity
        begin = width - 0.004
        flat = max(0.05, (to_peak - 0.045 * stretch if diagnosis.waveform == "st_depression" else to_peak) - begin)
        return make_waves(levels[:, None], QRS, [(begin, flat, 0.012, 0.045 * stretch)])
    if diagnosis.waveform == "left_bundle_branch_block":
        begin = width * 0.98
        return make_waves(project([_ST_LEFT_BLOCK]), QRS, [(begin, max(0.03, to_peak - begin), 0.014, 0.045 * stretch)])
    return None


def _scale_voltage(waves: Waves, of_qrs: np.ndarray, low: bool, rng: np.random.Generator) -> Waves:
    """Scale the leads so that the QRS is low where it has to be and never where not.

    Low voltage: below 0.5 mV peak to peak in all limb leads and below 1 mV in all precordial ones; P and T shrink less.
    """
    limb, precordial = _qrs_heights(waves, of_qrs)
    factors = np.ones((8, 1))
    if low:
        factors[LIMB] = rng.uniform(0.26, 0.42) / limb
        factors[~LIMB] = rng.uniform(0.55, 0.85) / precordial
    else:
        factors[LIMB] = max(1.0, 0.85 / limb)
        factors[~LIMB] = max(1.0, 1.3 / precordial)
    leads = waves.leads * np.where(of_qrs, factors, factors**0.7 if low else 1.0)
    return Waves(leads, waves.anchor, waves.timing)


def _qrs_heights(waves: Waves, of_qrs: np.ndarray) -> tuple[float, float]:
    """Return the largest peak-to-peak of the QRS in mV over the limb leads and over the precordial ones."""
    strip = twelve_leads(render_waves(waves, np.full((1, 3), 0.05), of_qrs[None], 160, 500.0))
    height = np.ptp(strip, axis=1)
    return float(height[:6].max()), float(height[6:].max())
