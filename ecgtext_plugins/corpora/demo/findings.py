"""The findings of the demo corpus, which go together, and how a patient's and a study's are drawn."""

from dataclasses import dataclass

import numpy as np

RHYTHMS = ("sinus_rhythm", "sinus_bradycardia", "sinus_tachycardia", "atrial_fibrillation")
# At most one of these a record: each would hide or imitate another.
WAVEFORMS = (
    "left_bundle_branch_block",
    "right_bundle_branch_block",
    "st_elevation",
    "st_depression",
    "t_wave_inversion",
    "low_voltage",
)
FIRST_DEGREE, PVC = "first_degree_av_block", "premature_ventricular_complexes"
FINDINGS = (*RHYTHMS, FIRST_DEGREE, *WAVEFORMS, PVC)
CHRONIC = ("left_bundle_branch_block", "right_bundle_branch_block", "low_voltage")
TERRITORIES = {
    "st_elevation": ("inferior", "anterior", "lateral"),
    "t_wave_inversion": ("anterior", "lateral", "inferior"),
}

_CHRONIC_SHARE = 0.105  # of patients, each
_CHRONIC_PERSISTS = 0.9
_ACUTE_SHARE = 0.125  # of the other studies, each: ST elevation, ST depression, T wave inversion
_FIBRILLATION_SHARE = 0.15  # of patients
_RATES = {"sinus_rhythm": (61.5, 97.5), "sinus_bradycardia": (38.0, 56.0), "sinus_tachycardia": (104.0, 150.0)}
_FIBRILLATION_RATES = (55.0, 145.0)


@dataclass(frozen=True)
class Tendency:
    """What a patient is prone to."""

    chronic: str | None
    fibrillates: bool
    rate_rank: float  # 0 slow .. 1 fast, within the limits of a rhythm


@dataclass(frozen=True)
class Diagnosis:
    """The truth about a study; `rate` in beats per minute, `territory` of ST elevation or T wave inversion."""

    rhythm: str
    rate: float
    waveform: str | None = None
    territory: str | None = None
    first_degree: bool = False
    pvc: bool = False

    @property
    def findings(self) -> tuple[str, ...]:
        """All findings in the order of FINDINGS."""
        present = {self.rhythm, self.waveform}
        present |= {FIRST_DEGREE} if self.first_degree else set()
        present |= {PVC} if self.pvc else set()
        return tuple(name for name in FINDINGS if name in present)

    @property
    def normal(self) -> bool:
        """Sinus rhythm and nothing else."""
        return self.findings == ("sinus_rhythm",)


def draw_tendency(rng: np.random.Generator) -> Tendency:
    """Draw what a patient is prone to."""
    place = int(rng.random() / _CHRONIC_SHARE)
    return Tendency(
        chronic=CHRONIC[place] if place < len(CHRONIC) else None,
        fibrillates=bool(rng.random() < _FIBRILLATION_SHARE),
        rate_rank=float(rng.random()),
    )


def draw_diagnosis(tendency: Tendency, rng: np.random.Generator) -> Diagnosis:
    """Draw a study's findings: a rhythm and none to two compatible others."""
    rhythm = _draw_rhythm(tendency, rng)
    waveform = _draw_waveform(tendency, rng)
    first_degree = rhythm in ("sinus_rhythm", "sinus_bradycardia") and rng.random() < 0.15
    pvc = not (first_degree and waveform) and rng.random() < 0.13
    return Diagnosis(
        rhythm=rhythm,
        rate=_draw_rate(rhythm, first_degree, pvc, tendency, rng),
        waveform=waveform,
        territory=str(rng.choice(TERRITORIES[waveform])) if waveform in TERRITORIES else None,
        first_degree=bool(first_degree),
        pvc=bool(pvc),
    )


def _draw_rhythm(tendency: Tendency, rng: np.random.Generator) -> str:
    if rng.random() < (0.9 if tendency.fibrillates else 0.02):
        return "atrial_fibrillation"
    slow = 0.27 - 0.16 * tendency.rate_rank
    return str(rng.choice(RHYTHMS[:3], p=[0.62, slow, 0.38 - slow]))


def _draw_waveform(tendency: Tendency, rng: np.random.Generator) -> str | None:
    if tendency.chronic and rng.random() < _CHRONIC_PERSISTS:
        return tendency.chronic
    acute = ("st_elevation", "st_depression", "t_wave_inversion")
    place = int(rng.random() / _ACUTE_SHARE)
    return acute[place] if place < len(acute) else None


def _draw_rate(rhythm: str, first_degree: bool, pvc: bool, tendency: Tendency, rng: np.random.Generator) -> float:
    """Draw a rate; a long PR needs room before the P wave, a premature beat room before it."""
    low, high = _RATES.get(rhythm, _FIBRILLATION_RATES)
    if first_degree:
        high = min(high, 84.0)
    if pvc:
        high = min(high, 120.0)
    rank = np.clip(0.5 * tendency.rate_rank + 0.5 * rng.random() + rng.uniform(-0.25, 0.25), 0.0, 1.0)
    return float(low + (high - low) * rank)
