"""The signal engine against plain loops and against neurokit2's simulator."""

import neurokit2
import numpy as np
import pytest

from ecgtext_plugins.corpora.demo.findings import Diagnosis
from ecgtext_plugins.corpora.demo.leads import FILE_ORDER, PROJECTION, project, rotate, twelve_leads
from ecgtext_plugins.corpora.demo.noise import draw_noise
from ecgtext_plugins.corpora.demo.patients import draw_patient
from ecgtext_plugins.corpora.demo.rhythm import QRS, P, T, draw_beats
from ecgtext_plugins.corpora.demo.synthesis import synthesize
from ecgtext_plugins.corpora.demo.waves import join_waves, make_waves, render_waves


def test_waves_are_sums_of_gaussians():
    rng = np.random.default_rng(0)
    waves = join_waves(
        [
            make_waves(rng.normal(size=(8, 1)), P, [(0.03, 0.0, 0.02, 0.02)]),
            make_waves(rng.normal(size=(8, 2)), QRS, [(0.02, 0.0, 0.01, 0.015), (0.06, 0.05, 0.01, 0.02)]),
            make_waves(rng.normal(size=(8, 1)), T, [(0.0, 0.0, 0.06, 0.04)]),
        ]
    )
    anchors = np.array([[-0.1, 0.05, 0.3], [0.62, 0.8, 1.1], [0.8, 0.95, 1.3]])  # overlapping; beyond both ends
    shown = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [1, 1, 0, 1]], dtype=bool)
    rendered = render_waves(waves, anchors, shown, 600, 500.0)
    expected = np.zeros((8, 600))
    for sample in range(600):
        for beat in range(3):
            for wave in range(4):
                start, flat, rise, fall = waves.timing[:, wave]
                time = sample / 500 - anchors[beat, waves.anchor[wave]] - start
                away = -time / rise if time < 0 else max(time - flat, 0.0) / fall
                expected[:, sample] += waves.leads[:, wave] * np.exp(-0.5 * away**2) * shown[beat, wave]
    assert rendered.dtype == np.float32
    assert np.abs(rendered - expected).max() < 2e-3  # waves are cut at four standard deviations


def test_leads_by_hand():
    assert project([(1.0, 0.0, 0.0)])[:, 0] == pytest.approx(PROJECTION[:, 0])
    one, two = 0.6, 1.0
    values = dict(zip(FILE_ORDER, twelve_leads(np.array([one, two, *range(1, 7)], dtype=float)), strict=True))
    assert values == pytest.approx(
        {"I": 0.6, "II": 1.0, "III": 0.4, "aVR": -0.8, "aVF": 0.7, "aVL": 0.1}
        | {f"V{n}": float(n) for n in range(1, 7)}
    )


def test_rotation_keeps_length_and_turns_the_axis_as_said():
    dipoles = np.random.default_rng(1).normal(size=(5, 3))
    turned = rotate(dipoles, 0.4, -0.7)
    assert np.linalg.norm(turned, axis=1) == pytest.approx(np.linalg.norm(dipoles, axis=1))
    assert rotate([(1.0, 0.0, 0.0)], np.pi / 2, 0.0)[0] == pytest.approx([0, 1, 0], abs=1e-12)  # from I to aVF
    assert rotate([(1.0, 0.0, 0.0)], 0.0, np.pi / 2)[0] == pytest.approx([0, 0, 1], abs=1e-12)  # leftward to backward


def test_qt_shortens_with_the_rate():
    intervals = []
    for rate in (45, 70, 140):
        beats = draw_beats(Diagnosis("sinus_rhythm", rate), 0.4, 0.16, 0.0, 10.0, np.random.default_rng(0))
        intervals.append(beats.qt)
        assert beats.qt == pytest.approx(0.4 * (60 / rate) ** (1 / 3))
        assert (np.diff(beats.anchors[:, 1]) > beats.qt).all()
    assert intervals == sorted(intervals, reverse=True)


@pytest.mark.parametrize("rate", [45, 72, 130])
def test_neurokit_finds_our_rate(rate):
    rhythm = {45: "sinus_bradycardia", 72: "sinus_rhythm", 130: "sinus_tachycardia"}[rate]
    for seed in range(6):
        patient = draw_patient(np.random.default_rng([1, seed]))
        recording = synthesize(Diagnosis(rhythm, rate), patient, np.random.default_rng([2, seed]))
        lead = (recording.clean + recording.noise)[1]
        _, found = neurokit2.ecg_peaks(neurokit2.ecg_clean(lead, sampling_rate=500), sampling_rate=500)
        measured = 60 * 500 / np.diff(found["ECG_R_Peaks"]).mean()
        assert abs(measured - rate) < 0.05 * rate


def mean_beat(lead, peaks):
    """Return the mean beat around R, 0.25 s before to 0.4 s after, without its mean, of unit length."""
    beats = [lead[p - 125 : p + 200] for p in peaks if 125 <= p <= len(lead) - 200]
    beat = np.mean(beats, axis=0)
    return (beat - beat.mean()) / np.linalg.norm(beat - beat.mean())


def test_lead_ii_resembles_neurokits_simulation():
    theirs = neurokit2.ecg_simulate(
        duration=10, sampling_rate=500, heart_rate=72, method="ecgsyn", noise=0, random_state=1
    )
    their_peaks = neurokit2.ecg_peaks(theirs, sampling_rate=500)[1]["ECG_R_Peaks"]
    their_beat = mean_beat(theirs, their_peaks)
    their_power = np.abs(np.fft.rfft(theirs - theirs.mean())) ** 2
    bands = [(0.5, 5), (5, 15), (15, 40), (40, 100)]
    frequencies = np.fft.rfftfreq(5000, 1 / 500)

    def shares(power):
        return np.array([power[(frequencies >= low) & (frequencies < high)].sum() for low, high in bands]) / power.sum()

    alike, ours = [], []
    for seed in range(12):
        patient = draw_patient(np.random.default_rng([1, seed]))
        lead = (
            synthesize(Diagnosis("sinus_rhythm", 72), patient, np.random.default_rng([2, seed])).clean[1].astype(float)
        )
        peaks = neurokit2.ecg_peaks(lead, sampling_rate=500)[1]["ECG_R_Peaks"]
        alike.append(float(mean_beat(lead, peaks) @ their_beat))
        ours.append(shares(np.abs(np.fft.rfft(lead - lead.mean())) ** 2))
    assert np.median(alike) > 0.75
    assert np.abs(np.mean(ours, axis=0) - shares(their_power)).max() < 0.25


def test_noise_is_modest_and_slow_or_white():
    for seed in range(20):
        patient = draw_patient(np.random.default_rng(seed))
        noise = draw_noise(patient, 5000, 500.0, np.random.default_rng(seed))
        assert noise.shape == (8, 5000) and noise.dtype == np.float32
        fast = np.diff(noise, axis=1).std(axis=1) / np.sqrt(2)
        assert 0.0005 < fast.min() and fast.max() < 0.03  # mV
        assert np.abs(noise).max() < 1.5
