"""Parity of D-BETA with the published code on its tiny random configuration."""

import dataclasses

import numpy as np
import pytest
import torch

from ecgtext_plugins.data.text_plan import text_plan
from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.modules.etm_loss import etm_counts, etm_loss
from ecgtext_plugins.modules.ets_loss import ets_labels, ets_logits, ets_loss
from ecgtext_plugins.modules.mem_loss import mem_loss
from ecgtext_plugins.modules.mlm_loss import mlm_counts, mlm_loss
from ecgtext_plugins.modules.patch_masking import patch_targets
from ecgtext_plugins.text.encoders import build_text_encoder


def assert_parity(ours, reference):
    ours = ours.detach().numpy() if isinstance(ours, torch.Tensor) else np.asarray(ours)
    assert ours.shape == reference.shape
    assert np.abs(ours - reference).max() <= 1e-5 * np.abs(reference).max()


@pytest.fixture(scope="module")
def reference(shared):
    arrays = np.load(shared / "golden" / "dbeta_tiny_ref.npz")
    return {key: torch.from_numpy(value) if value.ndim else value.item() for key, value in arrays.items()}


@pytest.fixture(scope="module", params=["", "withmask_"], ids=["release", "masked_text"])
def golden(request, shared, reference):
    """Model, batch and the reference's prefix, with and without the text mask."""
    checkpoint = torch.load(shared / "golden" / "dbeta_tiny.pt", weights_only=True)
    t5 = {**checkpoint["cfg"]["t5"], "model_type": "t5", "vocab_size": checkpoint["cfg"]["vocab_size"]}
    known = {f.name for f in dataclasses.fields(DBetaConfig)}
    values = {key: value for key, value in checkpoint["cfg"].items() if key in known}
    config = DBetaConfig(**values, text_attention_mask=request.param == "withmask_")
    model = DBeta(config, build_text_encoder(t5))
    model.load_state_dict(checkpoint["model"], strict=True)
    batch = {
        "ecg": reference["ecg"],
        "text": reference["text"],
        "text_padding_mask": reference["text_attention_mask"] == 0,
    }
    return model.eval(), batch, request.param


@torch.no_grad()
def test_features(golden, reference):
    model, batch, _ = golden
    assert_parity(model.ecg_encoder.embed(batch["ecg"])[0], reference["ecg_embeddings"].numpy())
    assert_parity(model.encode_ecg(batch["ecg"]), reference["ecg_features"].numpy())
    alone = [
        model.encode_text(ids[~padding][None])
        for ids, padding in zip(batch["text"], batch["text_padding_mask"], strict=True)
    ]
    assert_parity(torch.cat(alone), reference["text_features_unpadded"].numpy())


@torch.no_grad()
def test_forward_without_masking(golden, reference):
    model, batch, prefix = golden
    out = model(**batch, mask=False)
    arrays = {
        "uni_modal_text_feats": out["text_features"],
        "multi_modal_text_feats": out["text_streams"][-1],
        "multi_modal_ecg_feats": out["ecg_streams"][-1],
        "multi_modal_cls_feats": out["etm_features"],
        "etm_logits": out["etm_logits"],
    }
    for name, array in arrays.items():
        assert_parity(array, reference[f"{prefix}unmasked_{name}"].numpy())
    assert "mem_logits" not in out


@torch.no_grad()
def test_forward_with_masking_and_losses(golden, reference):
    model, batch, prefix = golden
    out = model(**batch, mask_noise=reference["mask_noise"])
    arrays = {
        "uni_modal_text_feats": out["text_features"],
        "uni_modal_ecg_feats": out["ecg_features"],
        "mem_masks": out["mem_removed"],
        "multi_modal_text_feats_2": out["text_streams"][1],
        "multi_modal_ecg_feats_2": out["ecg_streams"][1],
        "multi_modal_text_feats": out["text_streams"][-1],
        "multi_modal_ecg_feats": out["ecg_streams"][-1],
        "multi_modal_cls_feats": out["etm_features"],
        "mlm_logits": out["mlm_logits"],
        "mem_logits": out["mem_logits"],
        "etm_logits": out["etm_logits"],
    }
    for name, array in arrays.items():
        assert_parity(array, reference[f"{prefix}masked_{name}"].numpy())

    target = patch_targets(batch["ecg"], model.samples_per_patch)
    assert_parity(target, reference["mem_target"].numpy())
    scored = reference["mlm_labels"] != -100
    labels = reference["mlm_labels"][scored]
    aligned = reference["is_aligned"]
    rows = torch.arange(4)
    pairs = ets_labels(aligned, rows, torch.where(aligned == 1, rows, rows + 100), "negative")
    logits = ets_logits(out["ecg_features"], out["text_features"], 1.0, 0.0, normalize=False)
    # As training computes them: what no head reads is not computed (the rows of this batch have one length).
    plan = text_plan(np.full(4, 24), np.arange(4), reference["mlm_labels"].numpy(), groups=1)
    planned = model(**batch, mask_noise=reference["mask_noise"], text_plan=plan)
    assert planned["mem_logits"].shape[1] == 312 - 78
    positioned = planned["mlm_logits"]
    assert_parity(positioned, out["mlm_logits"][scored].numpy())
    losses = [
        mlm_loss(positioned, labels, reports=4),
        mem_loss(planned["mem_logits"], target, planned["mem_removed"], places=planned["mem_places"]),
        etm_loss(planned["etm_logits"], aligned),
        ets_loss(logits, pairs, "mean"),
    ]
    for place, loss in enumerate(losses):
        assert loss.item() == pytest.approx(reference[f"{prefix}release_loss_{place}"], rel=1e-5)
    assert sum(losses).item() == pytest.approx(reference[f"{prefix}release_loss"], rel=1e-5)
    assert mlm_counts(positioned, labels) == (
        reference[f"{prefix}release_mlm_correct"],
        reference[f"{prefix}release_mlm_count"],
    )
    assert etm_counts(out["etm_logits"], aligned) == (
        reference[f"{prefix}release_etm_correct"],
        reference[f"{prefix}release_etm_count"],
    )
    if prefix:
        assert ets_loss(logits, pairs, "sum_per_row").item() == pytest.approx(reference["withmask_ets_paper"], rel=1e-5)
