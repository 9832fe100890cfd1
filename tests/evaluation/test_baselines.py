"""Features measured by hand against what the simulator was asked for; the untrained encoder; medians."""

import numpy as np
import pytest
import torch

from ecgtext_plugins.checkpoints.load import load_model
from ecgtext_plugins.corpora.demo.findings import Diagnosis
from ecgtext_plugins.corpora.demo.leads import FILE_ORDER
from ecgtext_plugins.corpora.demo.patients import draw_patient
from ecgtext_plugins.corpora.demo.synthesis import synthesize, to_counts
from ecgtext_plugins.errors import BadEnvironment, BadRecord
from ecgtext_plugins.evaluation import baselines, handcrafted
from ecgtext_plugins.evaluation.baselines import fill_medians, handcrafted_features
from ecgtext_plugins.evaluation.embedding_cache import EmbeddingCache
from ecgtext_plugins.evaluation.handcrafted import NAMES, record_features
from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.store.manifest import read_manifest
from tests.checkpoints.tiny import ecgs, save_released, tiny_dbeta
from tests.text.tiny_encoders import tiny_t5

ORDER = [FILE_ORDER.index(lead) for lead in LEADS]


def simulated(diagnosis, seed):
    """Return a recording and its signal (12, 5000) in mV."""
    patient = draw_patient(np.random.default_rng([21, seed]))
    recording = synthesize(diagnosis, patient, np.random.default_rng([22, seed]))
    return recording, (to_counts(recording.clean + recording.noise)[ORDER] * 0.005).astype(np.float32)


def measured(signal, rate=500.0):
    return dict(zip(NAMES, record_features(signal, rate).tolist(), strict=True))


def angle(degrees):
    return abs((degrees + 180) % 360 - 180)


@pytest.mark.parametrize("seed", range(4))
def test_rate_intervals_and_axes_are_those_asked_for(seed):
    recording, signal = simulated(Diagnosis("sinus_rhythm", 64 + 9 * seed), seed)
    found = measured(signal)
    onsets = recording.beats.anchors[:, 1]
    onsets = onsets[(onsets > 0.05) & (onsets < 9.9)]
    assert found["heart_rate"] == pytest.approx(60 / np.diff(onsets).mean(), abs=1.0)
    assert found["rr_mean"] == pytest.approx(60 / found["heart_rate"])
    assert found["rr_sd"] == pytest.approx(np.diff(onsets).std(), abs=0.005)
    assert found["pr"] == pytest.approx(recording.beats.pr, abs=0.02)
    assert found["qrs"] == pytest.approx(recording.width, abs=0.01)
    assert found["qt"] == pytest.approx(recording.beats.qt, abs=0.035)
    assert found["qtc_fridericia"] == pytest.approx(found["qt"] / found["rr_mean"] ** (1 / 3))
    assert found["qtc_bazett"] == pytest.approx(found["qt"] / found["rr_mean"] ** 0.5)
    assert angle(found["qrs_axis"] - recording.axes[1]) < 15 and angle(found["t_axis"] - recording.axes[2]) < 25


def test_findings_move_their_features():
    normal = measured(simulated(Diagnosis("sinus_rhythm", 70), 1)[1])
    block = measured(simulated(Diagnosis("sinus_rhythm", 70, "left_bundle_branch_block"), 1)[1])
    inverted = measured(simulated(Diagnosis("sinus_rhythm", 70, "t_wave_inversion", "anterior"), 1)[1])
    elevated = measured(simulated(Diagnosis("sinus_rhythm", 70, "st_elevation", "anterior"), 1)[1])
    long_pr = measured(simulated(Diagnosis("sinus_rhythm", 60, first_degree=True), 1)[1])
    flutter = measured(simulated(Diagnosis("atrial_fibrillation", 80), 1)[1])
    low = measured(simulated(Diagnosis("sinus_rhythm", 70, "low_voltage"), 1)[1])
    assert block["qrs"] > 0.12 > normal["qrs"]
    assert inverted["t_sign_V3"] == -1 and normal["t_sign_V3"] == 1 and inverted["t_V3"] < -0.2
    assert elevated["st_V3"] > normal["st_V3"] + 0.2
    assert long_pr["pr"] > 0.2 > normal["pr"]
    assert flutter["rr_sd"] > 0.1 > normal["rr_sd"]
    assert max(low[f"r_{lead}"] - low[f"s_{lead}"] for lead in ("I", "II", "III")) < 0.6
    assert normal["r_V5"] > 0.5 and normal["s_V1"] < -0.2


def test_leads_obey_einthoven_and_amplitudes_scale():
    signal = simulated(Diagnosis("sinus_rhythm", 75), 2)[1]
    once, twice = measured(signal), measured(2 * signal)
    assert once["qrs_area_III"] == pytest.approx(once["qrs_area_II"] - once["qrs_area_I"], abs=0.002)
    assert once["st_aVR"] == pytest.approx(-(once["st_I"] + once["st_II"]) / 2, abs=0.03)
    assert twice["r_V4"] == pytest.approx(2 * once["r_V4"], rel=1e-3) and twice["qrs"] == once["qrs"]


def test_other_rates_measure_the_same():
    _, signal = simulated(Diagnosis("sinus_rhythm", 75), 3)
    fine, coarse = measured(signal), measured(signal[:, ::2], 250.0)
    for name, tolerance in (("heart_rate", 0.5), ("pr", 0.02), ("qrs", 0.012), ("qt", 0.03), ("r_V5", 0.1)):
        assert coarse[name] == pytest.approx(fine[name], abs=tolerance)


@pytest.mark.parametrize("signal", [np.zeros((12, 5000)), np.full((12, 5000), np.nan), np.zeros((12, 40))])
def test_a_signal_without_beats_is_a_bad_record(signal):
    with pytest.raises(BadRecord) as caught:
        record_features(signal.astype(np.float32), 500.0)
    assert caught.value.reason in baselines.REASONS[1:]


def test_missing_neurokit_tells_what_to_install(monkeypatch, demo_data):
    monkeypatch.setitem(__import__("sys").modules, "neurokit2", None)
    with pytest.raises(BadEnvironment, match=r"pip install 'ecgtext-plugins\[evaluation\]'"):
        handcrafted_features(read_manifest(demo_data / "manifests" / "valid.tsv"))


def test_features_of_a_manifest_with_a_failure_and_a_resume(demo_data, tmp_path, monkeypatch, caplog):
    manifest = read_manifest(demo_data / "manifests" / "valid.tsv")
    real, calls = handcrafted.record_features, []

    def failing(signal, rate):
        calls.append(rate)
        if len(calls) == 2:
            raise BadRecord("no_delineation", "for a test")
        return real(signal, rate)

    monkeypatch.setattr(baselines, "record_features", failing)
    cache = EmbeddingCache(tmp_path)
    found = handcrafted_features(manifest, cache)
    assert found.failures == [(1, "no_delineation")] and np.isnan(found.values[1]).all()
    assert f"1 of {len(manifest)} ECGs could not be measured" in caplog.text
    expected = np.float32(real(manifest.signal_mv(0), manifest.store.sample_rate))
    assert np.array_equal(found.values[0], expected, equal_nan=True)
    again = handcrafted_features(manifest, cache)
    assert len(calls) == len(manifest) and again.failures == found.failures
    assert np.array_equal(again.values, found.values, equal_nan=True)


def test_processes_give_the_same(demo_data, monkeypatch):
    manifest = read_manifest(demo_data / "manifests" / "test.tsv")
    monkeypatch.setattr(baselines, "RECORDS_A_TASK", 4)
    one, two = (handcrafted_features(manifest, workers=workers) for workers in (1, 2))
    assert np.array_equal(one.values, two.values, equal_nan=True) and one.values.shape == (len(manifest), len(NAMES))


def test_medians_are_trains():
    train = np.array([[1.0, np.nan, 3.0], [5.0, np.nan, np.nan], [2.0, np.nan, 7.0]])
    (filled, other), lacking = fill_medians(train, np.array([[np.nan, 9.0, np.nan]]))
    assert filled.tolist() == [[1, 0, 3], [5, 0, 5], [2, 0, 7]] and other.tolist() == [[2, 0, 5]] and lacking == [1]


def test_random_encoder_has_the_architecture_and_weights_of_the_seed(tmp_path):
    model = tiny_dbeta(tiny_t5(tmp_path / "encoder"))
    path, ecg = save_released(tmp_path / "sample.pt", model), ecgs()
    trained, one, again, other = load_model(path), *(baselines.random_encoder(path, seed) for seed in (5, 5, 6))
    vectors = [each.encode_ecg(ecg) for each in (trained, one, again, other)]
    assert torch.equal(vectors[1], vectors[2]) and len({each.shape for each in vectors}) == 1
    assert not any(torch.allclose(vectors[1], vectors[place]) for place in (0, 3))
    shapes = {name: value.shape for name, value in trained.model.named_parameters()}
    assert all(shapes[name] == value.shape for name, value in one.model.named_parameters())
