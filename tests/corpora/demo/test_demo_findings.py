"""Every finding is measured on noiseless signals, in many patients, apart from how it was made."""

import itertools

import numpy as np
import pytest

from ecgtext_plugins.corpora.demo.findings import FINDINGS, RHYTHMS, WAVEFORMS, Diagnosis, draw_diagnosis, draw_tendency
from ecgtext_plugins.corpora.demo.leads import FILE_ORDER, twelve_leads
from ecgtext_plugins.corpora.demo.patients import draw_patient
from ecgtext_plugins.corpora.demo.plan import diagnosis_of, patient_of, plan_studies
from ecgtext_plugins.corpora.demo.synthesis import RATE, synthesize, to_counts

PATIENTS = 12
LIMB = FILE_ORDER[:6]


def strips(diagnosis):
    """Yield (leads by name (5000,) mV without noise, recording) of several patients."""
    for seed in range(PATIENTS):
        patient = draw_patient(np.random.default_rng([3, seed]))
        recording = synthesize(diagnosis, patient, np.random.default_rng([4, seed]))
        yield dict(zip(FILE_ORDER, twelve_leads(recording.clean.astype(float)), strict=True)), recording


def conducted(recording, before=0.4, after=0.6):
    """Return the QRS onsets (samples) of conducted beats that lie whole in the strip, none next to an ectopic one."""
    beats = recording.beats
    near = beats.ectopic | np.roll(beats.ectopic, 1) | np.roll(beats.ectopic, -1)
    onsets = beats.anchors[~near, 1]
    onsets = onsets[(onsets > before) & (onsets < 10 - after)]
    return np.rint(onsets * RATE).astype(int)


def at(lead, onsets, seconds):
    """Return the median value of a lead `seconds` after the onsets, relative to just before them."""
    shift = round(seconds * RATE)
    return float(np.median(lead[onsets + shift] - lead[onsets - round(0.008 * RATE)]))


def t_extreme(lead, onsets, recording, width):
    """Return the largest excursion (signed) from 60 ms after the J point to the end of T."""
    start, stop = round((width + 0.06) * RATE), round((recording.beats.qt + 0.02) * RATE)
    beat = np.median([lead[o + start : o + stop] - lead[o - 4] for o in onsets], axis=0)
    return float(beat[np.argmax(np.abs(beat))])


def qrs_extent(leads, onset, gap=0.02):
    """Return onset and end in seconds of the fast part of a beat, by the spatial velocity of the eight leads."""
    first = onset - round(0.05 * RATE)
    part = np.stack([leads[name] for name in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")])
    speed = np.abs(np.diff(part[:, first : onset + round(0.25 * RATE)], axis=1)).sum(axis=0)
    fast = np.flatnonzero(speed > 0.1 * speed.max())
    runs = np.split(fast, np.flatnonzero(np.diff(fast) > gap * RATE) + 1)  # the T wave is another run
    run = next(run for run in runs if speed.argmax() in run)
    return (first + run[0]) / RATE, (first + run[-1] + 1) / RATE


def r_peaks(recording):
    """Find beats by the spatial velocity alone, in seconds."""
    speed = np.abs(np.diff(recording.clean.astype(float), axis=1)).sum(axis=0)
    speed = np.convolve(speed, np.ones(40) / 40, "same")
    peaks, threshold = [], 0.35 * np.quantile(speed, 0.99)
    for place in np.flatnonzero(speed > threshold):
        if peaks and place - peaks[-1] < 0.22 * RATE:
            peaks[-1] = place if speed[place] > speed[peaks[-1]] else peaks[-1]
        else:
            peaks.append(place)
    return np.array(peaks) / RATE


@pytest.mark.parametrize(
    ("rhythm", "rate", "low", "high"),
    [
        ("sinus_rhythm", 62, 60, 99),
        ("sinus_rhythm", 97, 60, 99),
        ("sinus_bradycardia", 39, 30, 60),
        ("sinus_bradycardia", 56, 30, 60),
        ("sinus_tachycardia", 104, 100, 160),
        ("sinus_tachycardia", 150, 100, 160),
    ],
)
def test_rate_and_regularity_of_sinus_rhythms(rhythm, rate, low, high):
    for leads, recording in strips(Diagnosis(rhythm, rate)):
        intervals = np.diff(r_peaks(recording))
        assert low <= 60 / intervals.mean() <= high
        assert abs(60 / intervals.mean() - rate) < 0.05 * rate
        assert intervals.std() / intervals.mean() < 0.06
        assert (
            np.median(leads["II"][conducted(recording) - round((recording.beats.pr - 0.05) * RATE)]) > 0.02
        )  # P waves


@pytest.mark.parametrize("rate", [58, 90, 140])
def test_atrial_fibrillation_is_irregular_without_p_waves(rate):
    for leads, recording in strips(Diagnosis("atrial_fibrillation", rate)):
        intervals = np.diff(r_peaks(recording))
        assert intervals.std() / intervals.mean() > 0.1
        assert abs(60 / intervals.mean() - rate) < 0.2 * rate
        assert not recording.beats.has_p.any()
        onsets = conducted(recording, before=0.3)
        before = np.stack([leads["V1"][o - 120 : o - 10] for o in onsets])
        # Fibrillatory waves do not keep step with the beats: their average is smaller than each of them.
        assert before.mean(axis=0).std() < 0.85 * before.std(axis=1).mean()
        assert 0.01 < before.std(axis=1).mean() < 0.15


def test_fibrillatory_waves_lie_between_4_and_8_hertz():
    from ecgtext_plugins.corpora.demo.noise import draw_fibrillation

    for seed in range(PATIENTS):
        lead = draw_fibrillation(5000, 500.0, np.random.default_rng(seed))[2]
        power = np.abs(np.fft.rfft(lead - lead.mean())) ** 2
        frequencies = np.fft.rfftfreq(5000, 1 / 500)
        assert 4 < frequencies[power.argmax()] < 8
        assert power[(frequencies > 3) & (frequencies < 20)].sum() > 0.95 * power.sum()


def p_onset(leads, onset, longest):
    """Return how long before the QRS onset (s) the P wave begins, by the curvature of leads I and II."""
    part = leads["I"][onset - round(longest * RATE) : onset] + leads["II"][onset - round(longest * RATE) : onset]
    peak = part.argmax()
    quiet = np.flatnonzero(np.diff(part[: peak + 1]) > 0.06 * np.diff(part[: peak + 1]).max())
    gaps = np.flatnonzero(np.diff(quiet) > 1)
    return (len(part) - (quiet[gaps[-1] + 1] if len(gaps) else quiet[0])) / RATE


@pytest.mark.parametrize(("block", "low", "high"), [(True, 0.22, 0.345), (False, 0.11, 0.2)])
def test_pr_interval(block, low, high):
    for leads, recording in strips(Diagnosis("sinus_rhythm", 66, first_degree=block)):
        for onset in conducted(recording):
            start, _ = qrs_extent(leads, onset)
            assert low < p_onset(leads, round(start * RATE), 0.36 if block else 0.25) < high


@pytest.mark.parametrize(
    ("waveform", "low", "high"),
    [(None, 0.06, 0.115), ("left_bundle_branch_block", 0.12, 0.185), ("right_bundle_branch_block", 0.118, 0.175)],
)
def test_qrs_width(waveform, low, high):
    for leads, recording in strips(Diagnosis("sinus_rhythm", 70, waveform)):
        extents = [np.diff(qrs_extent(leads, onset))[0] for onset in conducted(recording)]
        assert low <= np.median(extents) <= high


def test_left_bundle_branch_block():
    for leads, recording in strips(Diagnosis("sinus_rhythm", 70, "left_bundle_branch_block")):
        onsets = conducted(recording)
        beats = {
            name: np.median([lead[o : o + 95] - lead[o - 4] for o in onsets], axis=0) for name, lead in leads.items()
        }
        for name in ("I", "aVL", "V5", "V6"):
            assert beats[name].max() > 0.25 and beats[name][: round(0.9 * recording.width * RATE)].min() > -0.12, (
                name
            )  # R without Q or S
            assert (beats[name] > 0.4 * beats[name].max()).sum() > 0.05 * RATE, name  # broad
            assert t_extreme(leads[name], onsets, recording, recording.width) < -0.08, name
        for name in ("V1", "V2", "V3"):
            assert -beats[name].min() > 3 * max(beats[name][: round(0.1 * RATE)].max(), 0.0), name  # QS or rS
        assert t_extreme(leads["V1"], onsets, recording, recording.width) > 0.15
        assert t_extreme(leads["V2"], onsets, recording, recording.width) > 0.15


def test_right_bundle_branch_block():
    for leads, recording in strips(Diagnosis("sinus_rhythm", 70, "right_bundle_branch_block")):
        onsets, stop = conducted(recording), round(recording.width * RATE)
        for name in ("V1", "V2"):
            beat = np.median([leads[name][o : o + stop] - leads[name][o - 4] for o in onsets], axis=0)
            s_wave = beat[: round(0.6 * stop)].argmin()
            assert beat[:s_wave].max() > 0.05, name  # r
            assert beat[s_wave:].max() > 0.3, name  # R'
            assert beat[s_wave:].max() - beat[s_wave] > 0.4, name
        assert t_extreme(leads["V1"], onsets, recording, recording.width) < -0.08
        assert t_extreme(leads["V2"], onsets, recording, recording.width) < 0
        for name in ("I", "V5", "V6"):
            beat = np.median([leads[name][o : o + stop] - leads[name][o - 4] for o in onsets], axis=0)
            assert beat[round(0.5 * stop) :].min() < -0.12, name
            assert (beat[round(0.5 * stop) :] < 0.4 * beat[round(0.5 * stop) :].min()).sum() >= 0.03 * RATE, (
                name
            )  # wide


RAISED = {
    "inferior": (("II", "III", "aVF"), ("aVL",)),
    "anterior": (("V2", "V3", "V4"), ()),
    "lateral": (("I", "aVL", "V5", "V6"), ("III",)),
}


@pytest.mark.parametrize(("territory", "rate"), [*itertools.product(RAISED, (65, 95))])
def test_st_elevation(territory, rate):
    raised, reciprocal = RAISED[territory]
    for leads, recording in strips(Diagnosis("sinus_rhythm", rate, "st_elevation", territory)):
        onsets = conducted(recording)
        for name in raised:
            assert at(leads[name], onsets, recording.width + 0.06) >= 0.15, name
        for name in reciprocal:
            assert at(leads[name], onsets, recording.width + 0.06) < -0.08, name


@pytest.mark.parametrize("rate", [65, 95])
def test_st_depression_is_not_upsloping(rate):
    for leads, recording in strips(Diagnosis("sinus_rhythm", rate, "st_depression")):
        onsets = conducted(recording)
        for name in ("II", "V4", "V5", "V6"):
            level = at(leads[name], onsets, recording.width + 0.06)
            assert -0.32 < level < -0.09, name
            assert level - at(leads[name], onsets, recording.width + 0.03) < 0.06, name


@pytest.mark.parametrize("waveform", [None, "t_wave_inversion"])
def test_st_level_is_ordinary_elsewhere(waveform):
    for leads, recording in strips(Diagnosis("sinus_rhythm", 75, waveform, waveform and "anterior")):
        for name, lead in leads.items():
            assert abs(at(lead, conducted(recording), recording.width + 0.06)) < 0.12, name


INVERTED = {
    "anterior": ("V1", "V2", "V3", "V4", "V5"),
    "lateral": ("I", "aVL", "V5", "V6"),
    "inferior": ("II", "III", "aVF"),
}


@pytest.mark.parametrize("territory", INVERTED)
def test_t_wave_inversion(territory):
    for leads, recording in strips(Diagnosis("sinus_rhythm", 75, "t_wave_inversion", territory)):
        onsets = conducted(recording)
        for name in INVERTED[territory]:
            assert t_extreme(leads[name], onsets, recording, recording.width) < -0.12, name


@pytest.mark.parametrize("rhythm", ["sinus_rhythm", "atrial_fibrillation"])
def test_t_waves_are_upright_otherwise(rhythm):
    for leads, recording in strips(Diagnosis(rhythm, 75)):
        for name in ("I", "II", "V3", "V4", "V5", "V6"):
            assert t_extreme(leads[name], conducted(recording), recording, recording.width) > 0.04, name


def qrs_height(lead, onsets, recording):
    stop = round(recording.width * RATE) + 1
    return max(np.ptp(lead[o : o + stop]) for o in onsets)


@pytest.mark.parametrize("rhythm", ["sinus_rhythm", "atrial_fibrillation"])
def test_low_voltage(rhythm):
    for leads, recording in strips(Diagnosis(rhythm, 80, "low_voltage")):
        onsets = conducted(recording)
        heights = {name: qrs_height(lead, onsets, recording) for name, lead in leads.items()}
        assert max(heights[name] for name in LIMB) < 0.5
        assert max(height for name, height in heights.items() if name not in LIMB) < 1.0


@pytest.mark.parametrize("waveform", [None, *(name for name in WAVEFORMS if name != "low_voltage")])
def test_voltage_is_never_low_otherwise(waveform):
    territory = "anterior" if waveform in ("st_elevation", "t_wave_inversion") else None
    for leads, recording in strips(Diagnosis("sinus_rhythm", 80, waveform, territory)):
        onsets = conducted(recording)
        assert max(qrs_height(leads[name], onsets, recording) for name in LIMB) > 0.7


@pytest.mark.parametrize(
    ("rhythm", "rate"), [("sinus_rhythm", 70), ("sinus_bradycardia", 45), ("sinus_tachycardia", 112)]
)
def test_premature_ventricular_complexes(rhythm, rate):
    for leads, recording in strips(Diagnosis(rhythm, rate, pvc=True)):
        beats = recording.beats
        onsets = beats.anchors[:, 1]
        typical = 60 / rate
        ectopics = np.flatnonzero(beats.ectopic)
        assert 1 <= len(ectopics) <= 4
        for beat in ectopics:
            assert onsets[beat] - onsets[beat - 1] < 0.8 * typical  # early
            pause = onsets[beat + 1] - onsets[beat - 1]
            assert abs(pause - 2 * typical) < 0.12 * typical  # fully compensatory
            start, stop = qrs_extent(leads, round(onsets[beat] * RATE), gap=0.04)
            assert stop - start > 0.11
            begin = round(onsets[beat] * RATE)
            part = np.stack([leads[name][begin : begin + 250] for name in FILE_ORDER])
            part = part - np.stack([leads[name][begin - 4 : begin - 3] for name in FILE_ORDER])
            lead = np.abs(part[:, :90]).max(axis=1).argmax()
            peak = part[lead, np.abs(part[lead, :90]).argmax()]
            assert part[lead, 110:210][np.abs(part[lead, 110:210]).argmax()] * peak < 0  # T opposite to QRS


def test_einthoven_and_goldberger_hold_to_quantisation():
    for seed, waveform in enumerate([None, *WAVEFORMS]):
        territory = "lateral" if waveform in ("st_elevation", "t_wave_inversion") else None
        patient = draw_patient(np.random.default_rng(seed))
        diagnosis = Diagnosis("sinus_rhythm", 75, waveform, territory)
        recording = synthesize(diagnosis, patient, np.random.default_rng(seed))
        counts = to_counts(recording.clean + recording.noise)
        assert counts.dtype == np.int16 and counts.shape == (12, 5000) and np.abs(counts).max() < 10000
        lead = dict(zip(FILE_ORDER, counts.astype(int), strict=True))
        assert (lead["III"] == lead["II"] - lead["I"]).all()
        assert np.abs(2 * lead["aVR"] + lead["I"] + lead["II"]).max() <= 1
        assert np.abs(2 * lead["aVL"] + lead["III"] - lead["I"]).max() <= 1
        assert np.abs(2 * lead["aVF"] - lead["II"] - lead["III"]).max() <= 1


def drawn(records=6000, seed=5):
    return [diagnosis_of(s, patient_of(s, seed), seed) for s in plan_studies(records, seed)]


def test_prevalence_and_combinations():
    diagnoses = drawn()
    for name in FINDINGS:
        assert np.mean([name in d.findings for d in diagnoses]) >= 0.07, name
    for diagnosis in diagnoses:
        assert sum(name in RHYTHMS for name in diagnosis.findings) == 1
        assert sum(name in WAVEFORMS for name in diagnosis.findings) <= 1
        assert len(diagnosis.findings) <= 3
        assert not diagnosis.first_degree or diagnosis.rhythm in ("sinus_rhythm", "sinus_bradycardia")
        low, high = {
            "sinus_rhythm": (60, 99),
            "sinus_bradycardia": (38, 56),
            "sinus_tachycardia": (104, 150),
            "atrial_fibrillation": (50, 150),
        }[diagnosis.rhythm]
        assert low <= diagnosis.rate <= high
    assert 0.15 < np.mean([d.normal for d in diagnoses]) < 0.2


def test_chronic_findings_persist():
    kept = []
    for seed in range(400):
        tendency = draw_tendency(np.random.default_rng(seed))
        if tendency.chronic:
            rng = np.random.default_rng([1, seed])
            kept += [draw_diagnosis(tendency, rng).waveform == tendency.chronic for _ in range(5)]
    assert len(kept) > 300 and 0.85 < np.mean(kept) < 0.97
