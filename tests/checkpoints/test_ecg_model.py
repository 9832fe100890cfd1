"""ECG-FM's checkpoints as models: the published outputs, and recordings as they are."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import ecgtext_plugins
from ecgtext_plugins.checkpoints.convert import convert_checkpoint
from ecgtext_plugins.checkpoints.ecg_fm import MAXIMUM_LABELS, MIMIC_LABELS
from ecgtext_plugins.checkpoints.ecg_model import EcgModel
from ecgtext_plugins.errors import BadCheckpoint, BadRecord
from ecgtext_plugins.evaluation.embed import pooled
from ecgtext_plugins.evaluation.saliency import frame_attention, gradient_saliency
from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.signals.resampling import resample_linear
from ecgtext_plugins.store.fairseq_signals.standardise import standardise
from tests.checkpoints.tiny_ecg_fm import save_signals, save_trained_ecg, tiny_network

ALONE = "import sys, numpy, ecgtext_plugins; m = ecgtext_plugins.load(sys.argv[1]); "
ALONE += "m.embed(numpy.random.default_rng(0).normal(size=(1, 900)), 400, ['II']); "
ALONE += "print([n for n in ('transformers', 'fairseq', 'huggingface_hub', 'omegaconf') if n in sys.modules])"


def assert_parity(ours, reference):
    assert tuple(ours.shape) == reference.shape
    assert np.abs(np.asarray(ours) - reference).max() <= 1e-5 * np.abs(reference).max()


def test_golden_classifier(shared):
    reference = np.load(shared / "golden" / "ecg_fm_finetuned_tiny_ref.npz")
    names = list("abcdefgh")
    loaded = ecgtext_plugins.load(shared / "golden" / "ecg_fm_finetuned_tiny.pt", labels=names)
    assert isinstance(loaded, EcgModel) and not loaded.training and loaded.labels == names
    assert (loaded.sample_rate, loaded.n_samples, loaded.standardize) == (500.0, 2500, True)
    source = torch.from_numpy(reference["source"])
    assert_parity(loaded.logits(source), reference["logits"])
    assert_parity(loaded.encode_ecg(source), reference["embedding"])
    assert_parity(loaded.attention_maps(source)[:, 0], reference["saliency_last"])


def test_golden_pretrained_model(shared):
    reference = np.load(shared / "golden" / "ecg_fm_pretrained_tiny_ref.npz")
    loaded = ecgtext_plugins.load(shared / "golden" / "ecg_fm_pretrained_tiny.pt")
    assert_parity(loaded.encode_ecg(torch.from_numpy(reference["source"])), reference["x"].mean(axis=1))
    assert loaded.labels is None
    with pytest.raises(BadCheckpoint, match="without labels"):
        loaded.logits(torch.zeros(1, 12, 2500))
    with pytest.raises(BadCheckpoint, match="no labels"):
        loaded.predict(np.zeros((12, 2500)), 500, LEADS)


@pytest.fixture
def signals(tmp_path):
    return ecgtext_plugins.load(
        save_signals(tmp_path / "a.pt", tiny_network("ecg_transformer_classifier"), "ecg_transformer_classifier")
    )


@pytest.fixture
def millivolt(tmp_path):
    """A model trained on windows of 400 samples at 100 Hz."""
    network = tiny_network("ecg_transformer_classifier")
    return ecgtext_plugins.load(save_trained_ecg(tmp_path / "b.pt", network, "ecg_transformer_classifier"))


def recording(samples, leads=12, seed=0):
    return np.random.default_rng(seed).normal(size=(leads, samples)).astype(np.float32).cumsum(axis=1) / 20


def test_a_standardised_model_takes_fairseq_signals_steps(signals):
    """Resampled by straight lines, standardised over the whole record, and only then cut."""
    signal = recording(4400)
    values = standardise(resample_linear(signal, 400.0, 500.0, np.float64))[0].astype(np.float32)
    assert values.shape == (12, 5500)
    windows = torch.from_numpy(np.stack([values[:, :2500], values[:, 2500:5000], values[:, 3000:]]))
    expected = signals.encode_ecg(windows).mean(dim=0).numpy()
    found = signals.embed(signal, 400, LEADS)
    assert found.dtype == np.float32 and found.shape == (128,) and np.allclose(found, expected, atol=1e-6)
    assert np.array_equal(found, signals.embed(signal, 400, LEADS))


def test_leads_by_name(millivolt):
    signal = recording(1200)
    order = np.random.default_rng(1).permutation(12)
    expected = millivolt.embed(signal, 100, LEADS)
    assert np.array_equal(millivolt.embed(signal[order], 100, [LEADS[n].upper() for n in order]), expected)
    some = np.zeros_like(signal)
    some[[0, 1, 7]] = signal[[0, 1, 7]]
    found = millivolt.embed(signal[[7, 0, 1]], 100, ["V2", "I", "II"])
    assert np.array_equal(found, millivolt.embed(some, 100, LEADS)) and not np.allclose(found, expected)


def test_leads_that_training_hid_are_hidden_wherever_the_model_is_used(tmp_path):
    network = tiny_network("ecg_transformer_classifier")
    whole = ecgtext_plugins.load(save_trained_ecg(tmp_path / "a.pt", network, "ecg_transformer_classifier"))
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    state["cfg"]["task"] |= {"enable_padding_leads": True, "leads_to_load": ["I", "II", "V2"]}
    torch.save(state, tmp_path / "b.pt")
    three = ecgtext_plugins.load(tmp_path / "b.pt")
    convert_checkpoint(tmp_path / "b.pt", "ecgtext", tmp_path / "folder")
    assert (whole.hidden_leads, three.hidden_leads) == ((), (2, 3, 4, 5, 6, 8, 9, 10, 11))
    signal = recording(400)
    shown = np.zeros_like(signal)
    shown[[0, 1, 7]] = signal[[0, 1, 7]]
    expected, other = whole.embed(shown, 100, LEADS), whole.embed(signal, 100, LEADS)
    assert not np.allclose(expected, other)
    for model in (three, ecgtext_plugins.load(tmp_path / "folder")):
        assert np.array_equal(model.embed(signal, 100, LEADS), expected)
        assert model.predict(signal, 100, LEADS) == whole.predict(shown, 100, LEADS)
    windows, zeroed = (torch.from_numpy(x)[None] for x in (signal, shown))
    assert torch.equal(pooled(three, "mean")(windows), pooled(whole, "mean")(zeroed))
    assert np.array_equal(frame_attention(three, windows), frame_attention(whole, zeroed))
    gradient = gradient_saliency(three, windows, label=None)
    assert not gradient[:, list(three.hidden_leads)].any() and gradient[:, [0, 1, 7]].all(axis=1).any()


def test_missing_samples_are_zero(millivolt):
    signal = recording(400)
    holes, zeros = signal.copy(), signal.copy()
    holes[3, 100:150], zeros[3, 100:150] = np.nan, 0.0
    assert np.array_equal(millivolt.embed(holes, 100, LEADS), millivolt.embed(zeros, 100, LEADS))


def test_windows(millivolt):
    signal = recording(1000)
    windows = torch.from_numpy(np.stack([signal[:, :400], signal[:, 400:800], signal[:, 600:]]))
    assert np.allclose(millivolt.embed(signal, 100, LEADS), millivolt.encode_ecg(windows).mean(dim=0), atol=1e-6)
    exact = millivolt.encode_ecg(torch.from_numpy(signal[None, :, :400]))[0]
    assert np.allclose(millivolt.embed(signal[:, :400], 100, LEADS), exact, atol=1e-6)


def test_a_short_recording_has_the_vector_that_it_has_unpadded(millivolt):
    signal = recording(160)
    alone = millivolt.encode_ecg(torch.from_numpy(signal[None]))[0].numpy()
    assert np.allclose(millivolt.embed(signal, 100, LEADS), alone, atol=1e-5)
    with pytest.raises(BadRecord, match="has 15 samples at 100 Hz: expected at least 16"):
        millivolt.embed(signal[:, :15], 100, LEADS)


def test_resampling(millivolt):
    time = np.arange(1600) / 400
    signal = np.stack([np.sin(2 * np.pi * (1 + lead / 4) * time) for lead in range(12)])
    assert np.allclose(
        millivolt.embed(signal, 400, LEADS), millivolt.embed(signal[:, ::4], 100, LEADS), rtol=0.05, atol=0.05
    )


@pytest.mark.parametrize(
    ("signal", "fs", "leads", "said"),
    [
        (np.zeros((500, 12)), 100, LEADS, r"shape \(500, 12\) with 12 lead names"),
        (np.zeros(500), 100, ["I"], "expected numbers of shape"),
        (np.zeros((12, 500), dtype=object), 100, LEADS, "is object"),
        (np.zeros((12, 500)), 0, LEADS, "fs=0: expected its sampling rate"),
        (np.zeros((12, 500)), np.nan, LEADS, "fs=nan"),
        (np.full((12, 500), np.inf), 100, LEADS, "infinite values"),
        (np.zeros((2, 500)), 100, ["I", "I"], "has lead I twice"),
        (np.zeros((2, 500)), 100, ["I", "X"], "expected the names"),
        (np.full((12, 500), np.nan), 100, LEADS, "all leads miss all samples"),
    ],
)
def test_signals_that_are_refused(millivolt, signal, fs, leads, said):
    with pytest.raises(BadRecord, match=said):
        millivolt.embed(signal, fs, leads)


def test_probabilities_are_means_but_for_five_of_ecg_fm_s_labels(tmp_path):
    network = tiny_network("ecg_transformer_classifier", num_labels=17)
    path = save_signals(tmp_path / "a.pt", network, "ecg_transformer_classifier")
    signal = recording(7500)
    values = torch.from_numpy(standardise(signal.astype(np.float64))[0].astype(np.float32))
    each = network(values.reshape(12, 3, 2500).transpose(0, 1).contiguous())["logits"].sigmoid().detach().numpy()
    named = ecgtext_plugins.load(path, labels=list(MIMIC_LABELS)).predict(signal, 500, LEADS)
    assert tuple(named) == MIMIC_LABELS
    for place, label in enumerate(MIMIC_LABELS):
        expected = each[:, place].max() if label in MAXIMUM_LABELS else each[:, place].mean()
        assert named[label] == pytest.approx(expected, abs=1e-6)
    plain = ecgtext_plugins.load(path)
    assert plain.labels == [f"label_{n}" for n in range(17)]
    assert list(plain.predict(signal, 500, LEADS).values()) == pytest.approx(list(each.mean(axis=0)), abs=1e-6)


def test_training_mode_does_not_matter_and_stays(millivolt):
    signal = recording(800)
    expected = millivolt.embed(signal, 100, LEADS)
    for module in millivolt.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    assert np.array_equal(millivolt.train().embed(signal, 100, LEADS), expected) and millivolt.training


def test_dbeta_embeds_recordings_too(trained):
    loaded = ecgtext_plugins.load(trained)
    signal = recording(800)
    windows = torch.from_numpy(np.stack([signal[:, :400], signal[:, 400:]]))
    assert np.allclose(loaded.embed(signal, 100, LEADS), loaded.encode_ecg(windows).mean(dim=0), atol=1e-6)
    with pytest.raises(BadCheckpoint, match="no labels"):
        loaded.predict(signal, 100, LEADS)


def test_labels_that_do_not_fit(shared):
    with pytest.raises(BadCheckpoint, match="8 outputs and 2 labels"):
        ecgtext_plugins.load(shared / "golden" / "ecg_fm_finetuned_tiny.pt", labels=["a", "b"])
    with pytest.raises(BadCheckpoint, match="has no labels"):
        ecgtext_plugins.load(shared / "golden" / "ecg_fm_pretrained_tiny.pt", labels=["a", "b"])


def test_untrained_weights_are_a_function_of_the_seed(shared):
    path = shared / "golden" / "ecg_fm_finetuned_tiny.pt"
    ecg = torch.randn(1, 12, 2500)
    one, two, trained = (ecgtext_plugins.load(path, seed).encode_ecg(ecg) for seed in (1, 1, None))
    assert torch.equal(one, two) and not torch.allclose(one, trained)


def test_no_heavy_library_is_needed(tmp_path):
    path = save_signals(tmp_path / "a.pt", tiny_network("wav2vec2_cmsc"), "wav2vec2_cmsc")
    done = subprocess.run([sys.executable, "-c", ALONE, str(path)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "[]", done.stdout + done.stderr[-2000:]


def test_preprocessing_that_is_not_done_here_is_told(tmp_path, caplog):
    network = tiny_network("wav2vec2_cmsc")
    path = save_signals(tmp_path / "a.pt", network, "wav2vec2_cmsc")
    state = torch.load(path, weights_only=True)
    state["cfg"]["task"]["normalize"] = True
    torch.save(state, path)
    convert_checkpoint(path, "ecgtext", tmp_path / "folder")
    report = convert_checkpoint(tmp_path / "folder", "fairseq-signals", tmp_path / "b.pt")
    assert any("task.normalize=true" in note for note in report["notes"]) and not caplog.records
    for place in ("a.pt", "folder", "b.pt"):
        caplog.clear()
        ecgtext_plugins.load(tmp_path / place)
        assert "task.normalize=true, which is not done to ECGs here" in caplog.text
