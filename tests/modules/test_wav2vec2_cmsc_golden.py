"""Parity of ECG-FM's pretraining network and losses with fairseq-signals on its tiny random configuration."""

import pytest
import torch

from ecgtext_plugins.modules.cmsc_loss import cmsc_loss
from ecgtext_plugins.modules.infonce_loss import diversity_loss, infonce_counts, infonce_loss
from ecgtext_plugins.modules.wav2vec2_cmsc import Wav2Vec2Cmsc, Wav2Vec2CmscConfig
from tests.modules.ecg_fm_golden import arrays, assert_parity, network


@pytest.fixture(scope="module")
def reference(shared):
    return arrays(shared, "pretrained")


@pytest.fixture(scope="module")
def model(shared):
    return network(shared, "pretrained", Wav2Vec2CmscConfig, Wav2Vec2Cmsc)


@torch.no_grad()
def test_frames(model, reference):
    stem, padding = model.stem(reference["source"])
    features, frames = model.project(stem)
    assert padding is None
    assert_parity(stem, reference["conv_features"])
    assert_parity(features, reference["conv_layer_norm"])
    assert_parity(features, reference["unmasked_features"])
    assert_parity(frames, reference["post_extract_proj"])
    assert_parity(model.conv_pos(frames), reference["pos_conv"])
    assert_parity(model.encode_frames(reference["source"])[0], reference["x"])


@torch.no_grad()
def test_frames_of_two_leads(model, reference):
    ecg = torch.zeros_like(reference["source"])
    ecg[:, :2] = reference["source"][:, :2]
    assert_parity(model.encode_frames(ecg)[0], reference["x_leads_I_II"])


@torch.no_grad()
def test_padded_frames_as_published_and_alone(model, reference, monkeypatch):
    ecg, padding_mask = reference["source_padded"], reference["padding_mask_in"][:, 0]
    frames, padding = model.encode_frames(ecg, padding_mask)
    assert torch.equal(padding, reference["padding_mask_out"])
    alone = model.encode_frames(ecg[:1, :, ~padding_mask[0]])[0]
    assert torch.allclose(frames[:1, : alone.shape[1]], alone, atol=1e-5)
    features = model.encode_ecg(ecg, padding_mask)
    assert torch.allclose(features[:1], model.encode_ecg(ecg[:1, :, ~padding_mask[0]]), atol=1e-5)
    monkeypatch.setattr(model, "padding_as_published", True)
    published = model.encode_frames(ecg, padding_mask)[0]
    assert_parity(published, reference["x_padded"])
    assert not torch.allclose(published[0], frames[0], atol=1e-3)


@torch.no_grad()
def test_pretraining_pass_and_criterion(model, reference):
    torch.manual_seed(7)
    out = model(reference["source"], mask_indices=reference["mask_indices"])
    frames_first = out["logits"].transpose(0, 1)  # as the reference orders its rows
    assert_parity(frames_first.flatten(0, 1), reference["pretrain_logits"])
    assert_parity(out["logits"].permute(2, 0, 1), reference["pretrain_logits_raw"])
    assert_parity(out["features"], reference["cmsc_features"])
    for key in ("features_pen", "prob_perplexity", "code_perplexity", "num_vars"):
        assert float(out[key]) == pytest.approx(reference[key], rel=1e-5)
    assert out["temp"] == reference["crit_log_temp"]

    correct, size = infonce_counts(out["logits"])
    assert (int(correct), size) == (reference["crit_log_correct"], reference["crit_sample_size"])
    patient, segment = reference["patient_id"].long(), reference["segment"].long()
    losses = [
        infonce_loss(out["logits"]),
        0.1 * size * diversity_loss(out["prob_perplexity"], out["num_vars"]),
        10 * size * out["features_pen"],
        size * cmsc_loss(out["features"], patient, segment),
    ]
    for place, loss in enumerate(losses):
        assert loss.item() == pytest.approx(reference[f"crit_log_loss_{place}"], rel=1e-5)
    assert sum(losses).item() == pytest.approx(reference["crit_loss"], rel=1e-5)
