"""Parity of ECG-FM's fine-tuned classifier with fairseq-signals on its tiny random configuration."""

import pytest
import torch
from torch.nn import functional

from ecgtext_plugins.modules.ecg_classifier import EcgClassifier, EcgClassifierConfig
from tests.modules.ecg_fm_golden import arrays, assert_parity, network


@pytest.fixture(scope="module")
def reference(shared):
    return arrays(shared, "finetuned")


@pytest.fixture(scope="module")
def model(shared):
    return network(shared, "finetuned", EcgClassifierConfig, EcgClassifier)


@torch.no_grad()
def test_outputs(model, reference):
    out = model(reference["source"])
    assert_parity(out["frames"], reference["encoder_out"])
    assert_parity(out["features"], reference["embedding"])
    assert_parity(model.encode_ecg(reference["source"]), reference["embedding"])
    assert_parity(out["logits"], reference["logits"])
    weight, label = reference["pos_weight"].float(), reference["label"].float()
    loss = functional.binary_cross_entropy_with_logits(out["logits"], label, pos_weight=weight, reduction="sum")
    assert loss.item() == pytest.approx(reference["crit_loss"], rel=1e-5)
    assert label.numel() == reference["crit_sample_size"]


@torch.no_grad()
def test_padded_logits(model, reference, monkeypatch):
    ecg, padding_mask = reference["source_padded"], reference["padding_mask_in"][:, 0]
    exact = model(ecg, padding_mask)["logits"]
    alone = model(ecg[:1, :, ~padding_mask[0]])["logits"]
    assert torch.allclose(exact[:1], alone, atol=1e-5)
    monkeypatch.setattr(model.encoder, "padding_as_published", True)
    assert_parity(model(ecg, padding_mask)["logits"], reference["logits_padded"])


@torch.no_grad()
def test_attention_maps(model, reference):
    maps = model.attention_maps(reference["source"], layers=(-1, 0))
    assert_parity(maps[:, 0], reference["saliency_last"])
    assert_parity(maps[:, 1], reference["saliency_layer0"])
    assert_parity(maps[:, 0].amax(2), reference["attn_max"])
    assert torch.equal(model.attention_maps(reference["source"]), maps[:, :1])
    mask = torch.zeros(8, 2500, dtype=torch.bool)
    mask[0, 2000:] = True
    padded = model.attention_maps(reference["source"], mask)
    alone = model.attention_maps(reference["source"][:1, :, :2000])
    assert torch.allclose(padded[:1, :, :125, :125], alone, atol=1e-6)
    assert (padded[0, :, :, 125:] == 0).all()
    with pytest.raises(ValueError, match=r"layers=\[2\]"):
        model.attention_maps(reference["source"], layers=(2,))
