"""Saliency against the published code's numbers, finite differences and hand-computed cases."""

import copy
from unittest import mock

import numpy as np
import pytest
import torch
from torch.nn import functional

from ecgtext_plugins.errors import BadCheckpoint, BadRecord, EcgTextError
from ecgtext_plugins.evaluation.saliency import (
    attention_saliency,
    frame_attention,
    gradient_saliency,
    joined,
    record_saliency,
    smoothed,
)
from ecgtext_plugins.modules.arcface import ArcFace
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.modules.ecg_classifier import EcgClassifier, EcgClassifierConfig
from ecgtext_plugins.modules.ecg_tower import EcgTower
from ecgtext_plugins.signals.leads import LEADS

SIZES = {
    "conv_feature_layers": "[(8, 2, 2)] * 3",
    "conv_pos": 4,
    "conv_pos_groups": 2,
    "encoder_layers": 2,
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 16,
    "encoder_attention_heads": 2,
    "initializer_range": 0.5,
}


def wrapped(network, encoder, labels=None):
    """Return a network with what `ecgtext_plugins.load` adds to it: 100 Hz, windows of 80 samples."""
    model = torch.nn.Module()
    model.model, model.ecg_encoder, model.labels = network, encoder, labels
    model.sample_rate, model.n_samples, model.standardize = 100.0, 80, False
    model.shown = lambda ecg: ecg
    if labels is not None:
        model.predict = lambda signal, fs, leads: dict.fromkeys(labels, 0.2) | {labels[-1]: 0.7}
    return model.eval().requires_grad_(False)


def classifier(**options):
    torch.manual_seed(3)
    network = EcgClassifier(EcgClassifierConfig(**SIZES | {"feature_grad_mult": 0.0, "num_labels": 3} | options))
    return wrapped(network, network.encoder, ["A", "B", "C"])


def dbeta():
    torch.manual_seed(4)
    network = EcgTower(DBetaConfig(**SIZES, hidden_dim=12, num_heads=2, num_top_layer=1, mem_layer=1))
    return wrapped(network, network.ecg_encoder)


def ecgs(count, samples=80, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 12, samples)).astype(np.float32))


@pytest.fixture(scope="module")
def golden(shared):
    import ecgtext_plugins

    model = ecgtext_plugins.load(shared / "golden" / "ecg_fm_finetuned_tiny.pt")
    return model, np.load(shared / "golden" / "ecg_fm_finetuned_tiny_ref.npz")


def test_attention_is_that_of_the_published_code(golden):
    model, reference = golden
    ours = frame_attention(model, torch.from_numpy(reference["source"]))
    for expected in (reference["attn_max"], reference["saliency_last"].max(axis=2)):
        assert np.abs(ours - expected).max() <= 1e-5 * np.abs(expected).max()
    first = frame_attention(model, torch.from_numpy(reference["source"]), layer=0)
    np.testing.assert_allclose(first, reference["saliency_layer0"].max(axis=2), rtol=1e-4)


def test_frames_become_samples_as_torch_interpolates(golden):
    model, reference = golden
    ours = attention_saliency(model, torch.from_numpy(reference["source"]))
    assert ours.shape == (8, 2500) and ours.dtype == np.float32
    frames = torch.from_numpy(reference["attn_max"])[:, None]
    expected = functional.interpolate(frames, size=156 * 16, mode="linear")[:, 0].numpy()
    np.testing.assert_allclose(ours[:, : 156 * 16], expected, rtol=1e-4)
    np.testing.assert_array_equal(ours[:, 156 * 16 :], np.repeat(ours[:, 156 * 16 - 1 :][:, :1], 4, axis=1))


def test_label_gradient_of_the_published_weights_in_double_precision(golden):
    model, reference = golden
    windows = torch.from_numpy(reference["source"][:1])
    ours = gradient_saliency(model, windows, model.labels[5])
    differences = _differences(
        model, windows, lambda network, pooled: network.proj(pooled)[:, 5], [(0, 100), (7, 1300), (11, 2490)]
    )
    np.testing.assert_allclose([ours[0, lead, t] for lead, t in differences], list(differences.values()), rtol=1e-3)


def _differences(model, windows, of, places, step=1e-4):
    """Absolute slopes of `of`(network, pooled frames (1, D)) by central differences, all in double precision."""
    network, out = copy.deepcopy(model.model).double(), {}
    for lead, t in places:
        sides = []
        for sign in (1, -1):
            moved = windows.double().clone()
            moved[0, lead, t] += sign * step
            with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):  # norm and activation ask for float32
                sides.append(float(of(network, network.encode_frames(moved)[0].mean(1))[0]))
        out[lead, t] = abs(sides[0] - sides[1]) / (2 * step)
    return out


def test_gradient_passes_a_frozen_stem_whole_and_leaves_it_frozen():
    frozen, slow = classifier(), classifier(feature_grad_mult=0.1)
    windows = ecgs(1)
    ours = gradient_saliency(frozen, windows, "B")
    assert ours.shape == (1, 12, 80) and (ours > 0).mean() > 0.99
    places = [(lead, t) for lead in (0, 4, 11) for t in (0, 33, 79)]
    expected = _differences(frozen, windows, lambda network, pooled: network.proj(pooled)[:, 1], places)
    np.testing.assert_allclose([ours[0][place] for place in places], list(expected.values()), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(gradient_saliency(slow, windows, "B"), ours, rtol=1e-3, atol=1e-4 * ours.max())
    assert frozen.ecg_encoder.feature_grad_mult == 0.0 and slow.ecg_encoder.feature_grad_mult == 0.1


def test_without_label_it_is_the_gradient_of_the_squared_norm():
    model, windows = classifier(), ecgs(1)
    ours = gradient_saliency(model, windows)
    expected = _differences(model, windows, lambda network, pooled: pooled.square().sum(1), [(2, 40), (9, 11)])
    np.testing.assert_allclose([ours[0, lead, t] for lead, t in expected], list(expected.values()), rtol=1e-3)


def test_arcface_is_looked_at_before_its_embedding_is_normed():
    torch.manual_seed(3)
    network = ArcFace(EcgClassifierConfig(**SIZES, num_labels=3))
    model, twin = wrapped(network, network.encoder), classifier()
    twin.model.encoder.load_state_dict(network.encoder.state_dict())
    np.testing.assert_allclose(gradient_saliency(model, ecgs(2)), gradient_saliency(twin, ecgs(2)), rtol=1e-5)


def test_class_token_of_dbeta_is_left_out():
    model, windows = dbeta(), ecgs(2)
    frames, _ = model.ecg_encoder.embed(windows)
    token = model.model.class_embedding.expand(2, 1, -1)
    layers = model.ecg_encoder.encoder
    x = layers.layers[0](layers.layer_norm(torch.cat([token, frames], dim=1)))
    query, key = (getattr(layers.layers[1].self_attn, name)(x) for name in ("q_proj", "k_proj"))
    heads = [  # of width 8
        torch.softmax(query[..., part] @ key[..., part].transpose(1, 2) / 8**0.5, dim=-1)
        for part in (slice(0, 8), slice(8, 16))
    ]
    expected = ((heads[0] + heads[1]) / 2)[:, 1:, 1:].amax(2)
    np.testing.assert_allclose(frame_attention(model, windows), expected.numpy(), rtol=1e-5)
    assert (gradient_saliency(model, windows) > 0).mean() > 0.99


@pytest.mark.parametrize("model", [classifier(), dbeta()], ids=["classifier", "dbeta"])
def test_padding_changes_nothing_before_it(model):
    alone, length = ecgs(1, 56), 56
    padded = torch.cat([alone, torch.zeros(1, 12, 24)], dim=2)
    padding = torch.arange(80)[None] >= length
    for of in (attention_saliency, lambda m, w, padding: gradient_saliency(m, w, None, padding)):
        ours, expected = of(model, padded, padding), of(model, alone, None)
        np.testing.assert_allclose(ours[..., :length], expected, rtol=1e-3, atol=1e-4 * expected.max())
        assert np.isnan(ours[..., length:]).all()


def test_many_windows_are_as_each_alone():
    model, windows = classifier(), ecgs(19)
    alone = np.concatenate([gradient_saliency(model, window[None], "A") for window in windows])
    np.testing.assert_allclose(gradient_saliency(model, windows, "A"), alone, rtol=1e-3, atol=1e-4 * alone.max())
    alone = np.concatenate([attention_saliency(model, window[None]) for window in windows])
    np.testing.assert_allclose(attention_saliency(model, windows), alone, rtol=1e-4)


def test_windows_join_with_the_mean_where_they_overlap():
    values = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8], [10, 20, 30, 40]])
    whole = joined(values, np.array([0, 4, 6]), 10)
    np.testing.assert_array_equal(whole, [1, 2, 3, 4, 5, 6, 8.5, 14, 30, 40])
    np.testing.assert_array_equal(joined(values[:1, None], np.array([0]), 3), [[1, 2, 3]])


def test_smoothing_is_a_mean_of_40_ms():
    rng = np.random.default_rng(1)
    values = rng.random((12, 300))
    smooth = smoothed(values, 500.0)
    np.testing.assert_allclose(smooth[:, 100], values[:, 90:111].mean(axis=1))  # 20 ms to each side
    assert smoothed(values, 10.0).tolist() == values.tolist()


def test_record_is_scaled_over_all_windows_and_leads():
    model = classifier()
    signal = np.random.default_rng(2).normal(size=(12, 200)).astype(np.float32)
    found = record_saliency(model, signal, 100.0, LEADS)
    assert found.values.shape == (200,) and found.starts.tolist() == [0, 80, 120]
    assert (found.label, found.probability) == ("C", 0.7)
    windows = torch.from_numpy(np.stack([signal[:, s : s + 80] for s in (0, 80, 120)]))
    raw = attention_saliency(model, windows)
    expected = np.concatenate([raw[0], raw[1, :40], (raw[1, 40:] + raw[2, :40]) / 2, raw[2, 40:]])
    low, high = expected.min(), expected.max()
    np.testing.assert_allclose(found.values, (expected - low) / (high - low), atol=1e-5)
    assert found.span == pytest.approx((low, high))
    np.testing.assert_array_equal(found.signal_mv, signal)
    by_gradient = record_saliency(model, signal, 100.0, LEADS, "gradient", "A")
    assert by_gradient.values.shape == (12, 200) and (by_gradient.label, by_gradient.probability) == ("A", 0.2)
    assert by_gradient.values.min() == 0 and by_gradient.values.max() == 1


def test_other_rates_few_leads_and_short_recordings():
    model = classifier()
    signal = np.random.default_rng(2).normal(size=(2, 100)).astype(np.float32)
    found = record_saliency(model, signal, 200.0, ["V1", "II"], "gradient")  # 0.5 s: 50 samples, a padded window
    assert found.signal_mv.shape == (12, 50) and found.values.shape == (12, 50)
    there = [LEADS.index("II"), LEADS.index("V1")]
    assert np.isfinite(found.signal_mv).all(axis=1).nonzero()[0].tolist() == there
    assert np.isfinite(found.values).all() and found.starts.tolist() == [0]
    model.standardize = True
    assert record_saliency(model, signal, 130.0, ["V1", "II"]).values.shape == (76,)
    silent = record_saliency(dbeta(), np.zeros((12, 80), np.float32), 100.0, LEADS, "gradient")
    assert np.isfinite(silent.values).all()


def test_what_is_not_there_is_told():
    signal = np.zeros((12, 100), np.float32)
    with pytest.raises(EcgTextError, match="no layer 2: expected -2 to 1"):
        record_saliency(classifier(), signal, 100.0, LEADS, layer=2)
    with pytest.raises(EcgTextError, match="no label 'X': expected one of A, B, C"):
        record_saliency(classifier(), signal, 100.0, LEADS, label="X")
    with pytest.raises(EcgTextError, match="has no labels"):
        record_saliency(dbeta(), signal, 100.0, LEADS, "gradient", "A")
    with pytest.raises(EcgTextError, match="expected one of attention, gradient"):
        record_saliency(dbeta(), signal, 100.0, LEADS, "rollout")
    with pytest.raises(BadRecord, match="one frame"):
        record_saliency(dbeta(), signal[:, :5], 100.0, LEADS)
    broken = dbeta()
    broken.ecg_encoder.layer_norm.weight.fill_(torch.nan)
    for method in ("attention", "gradient"):
        with pytest.raises(BadCheckpoint, match="diverged"):
            record_saliency(broken, signal, 100.0, LEADS, method)
