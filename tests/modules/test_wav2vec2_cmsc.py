"""ECG-FM's pretraining network: size, seeds, negatives against fairseq's, options."""

import pytest
import torch
from torch.nn import functional

from ecgtext_plugins.modules.infonce_loss import diversity_loss, infonce_loss
from ecgtext_plugins.modules.wav2vec2_cmsc import Wav2Vec2Cmsc, Wav2Vec2CmscConfig

SMALL = {
    "conv_feature_layers": "[(16, 2, 2)] * 4",
    **{"encoder_layers": 2, "encoder_embed_dim": 24, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 4},
    **{"conv_pos": 8, "conv_pos_groups": 4, "final_dim": 12, "latent_vars": 6, "latent_groups": 2},
    "num_negatives": 10,
}


def small(seed=0, **options):
    torch.manual_seed(seed)
    return Wav2Vec2Cmsc(Wav2Vec2CmscConfig(**{**SMALL, **options}))


def batch(rows=4, samples=640):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(rows, 12, samples, generator=generator), torch.arange(rows) + 100


def test_published_size():
    with torch.device("meta"):
        weights = Wav2Vec2Cmsc(Wav2Vec2CmscConfig()).state_dict()
    assert len(weights) == 215
    assert sum(tensor.numel() for tensor in weights.values()) == 90_883_072
    shapes = {
        "mask_emb": (768,),
        "layer_norm.weight": (256,),
        "layer_norm.bias": (256,),
        "post_extract_proj.weight": (768, 256),
        "post_extract_proj.bias": (768,),
        "feature_extractor.conv_layers.0.0.weight": (256, 12, 2),
        "feature_extractor.conv_layers.0.2.weight": (256,),
        "feature_extractor.conv_layers.0.2.bias": (256,),
        **{f"feature_extractor.conv_layers.{i}.0.weight": (256, 256, 2) for i in (1, 2, 3)},
        "conv_pos.pos_conv.0.bias": (768,),
        "conv_pos.pos_conv.0.weight_g": (1, 1, 128),
        "conv_pos.pos_conv.0.weight_v": (768, 48, 128),
        "encoder.layer_norm.weight": (768,),
        "encoder.layer_norm.bias": (768,),
        "quantizer.vars": (1, 640, 128),
        "quantizer.weight_proj.weight": (640, 256),
        "quantizer.weight_proj.bias": (640,),
        "project_q.weight": (256, 256),
        "project_q.bias": (256,),
        "final_proj.weight": (256, 768),
        "final_proj.bias": (256,),
    }
    for layer in range(12):
        start = f"encoder.layers.{layer}."
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            shapes |= {f"{start}self_attn.{name}.weight": (768, 768), f"{start}self_attn.{name}.bias": (768,)}
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            shapes |= {f"{start}{name}.weight": (768,), f"{start}{name}.bias": (768,)}
        shapes |= {f"{start}fc1.weight": (3072, 768), f"{start}fc1.bias": (3072,)}
        shapes |= {f"{start}fc2.weight": (768, 3072), f"{start}fc2.bias": (768,)}
    assert {key: tuple(tensor.shape) for key, tensor in weights.items()} == shapes


def test_initial_weights():
    model = small()
    assert model.encoder.layers[1].fc1.weight.std().item() == pytest.approx(0.02, rel=0.15)
    assert model.quantizer.weight_proj.weight.std().item() == pytest.approx(1.0, rel=0.15)
    for uniform in (model.quantizer.vars, model.mask_emb):
        assert uniform.min() >= 0 and uniform.max() <= 1
    assert not model.quantizer.weight_proj.bias.any()


@pytest.mark.parametrize("options", [{}, {"mask_channel_prob": 0.3, "mask_channel_length": 3}])
def test_a_row_depends_on_its_seed_alone(options):
    model = small(**options).eval()
    ecg, seeds = batch()
    out = model(ecg, mask_seed=seeds)
    assert torch.equal(out["mask_indices"], model(ecg, mask_seed=seeds)["mask_indices"])
    order = torch.tensor([2, 0, 3, 1])
    shuffled = model(ecg[order], mask_seed=seeds[order])
    assert torch.equal(shuffled["mask_indices"], out["mask_indices"][order])
    assert torch.allclose(shuffled["logits"], out["logits"][order], atol=1e-5)
    assert torch.allclose(shuffled["frames"], out["frames"][order], atol=1e-5)
    other = model(ecg, mask_seed=seeds + 1)
    assert not torch.equal(other["mask_indices"], out["mask_indices"])


def by_hand(model, ecg, mask):
    """Predictions and quantised, projected targets of the hidden frames: (B, M, F) each."""
    out = model.encode(model.add_position(model.hide(model.project(model.stem(ecg)[0])[1], None, None, mask)[0]))
    targets = model.quantizer(model.project(model.stem(ecg)[0])[0][mask].unflatten(0, (len(ecg), -1))).vectors
    return model.final_proj(out[mask].unflatten(0, (len(ecg), -1))), model.project_q(targets)


@torch.no_grad()
@pytest.mark.parametrize(("same", "cross"), [(10, 0), (0, 7)])  # of both, fairseq deals draws to wrong frames
def test_unseeded_negatives_are_those_of_fairseq(same, cross):
    from types import SimpleNamespace

    from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Model

    model = small(num_negatives=same, cross_sample_negatives=cross).eval()
    ecg, seeds = batch()
    mask = model(ecg, mask_seed=seeds)["mask_indices"]
    predicted, targets = by_hand(model, ecg, mask)
    theirs = SimpleNamespace(n_negatives=same, cross_sample_negatives=cross, logit_temp=0.1)
    torch.manual_seed(3)
    negatives, _ = Wav2Vec2Model.sample_negatives(theirs, targets, targets.shape[1])
    expected = Wav2Vec2Model.compute_preds(theirs, predicted, targets, negatives)
    torch.manual_seed(3)
    logits = model(ecg, mask_indices=mask)["logits"].permute(2, 0, 1)
    assert torch.equal(logits.isinf(), expected.isinf()) and logits.isinf().any()
    finite = ~logits.isinf()
    assert torch.allclose(logits[finite], expected[finite], atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("seeded", [False, True])
def test_all_kinds_of_negatives(seeded):
    model = small(num_negatives=5, cross_sample_negatives=4, codebook_negatives=3, target_glu=True).eval()
    ecg, seeds = batch()
    out = model(ecg, mask_seed=seeds if seeded else None)
    hidden = int(out["mask_indices"][0].sum())
    assert out["logits"].shape == (4, hidden, 13)
    assert not out["logits"][..., 0].isinf().any()
    assert (out["logits"].masked_fill(out["logits"].isinf(), 0).abs() <= 10.001).all()


@torch.no_grad()
def test_seeded_negatives_are_other_frames_drawn_evenly():
    model = small(quantize_targets=False, num_negatives=200).eval()
    ecg, seeds = batch()
    out = model(ecg, mask_seed=seeds)
    mask = out["mask_indices"]
    frames, targets = (x[mask].unflatten(0, (4, -1)) for x in (out["frames"], model.project(model.stem(ecg)[0])[0]))
    predicted, targets = model.final_proj(frames), model.project_q(targets)
    cosines = functional.cosine_similarity(predicted[:, :, None], targets[:, None], dim=-1) * 10
    assert torch.allclose(out["logits"][..., 0], cosines.diagonal(dim1=1, dim2=2), atol=1e-4)
    distance = (out["logits"][..., 1:, None] - cosines[:, :, None]).abs()
    drawn = functional.one_hot(distance.argmin(-1), cosines.shape[2]).sum(2)
    assert distance.amin(-1).max() < 1e-4
    assert not drawn.diagonal(dim1=1, dim2=2).any()
    expected = 200 / (cosines.shape[2] - 1)
    assert drawn.float().mean((0, 1)) == pytest.approx(expected, rel=0.35)
    assert "prob_perplexity" not in out


def test_every_parameter_gets_a_gradient_and_the_loss_falls():
    model = small(dropout=0.0, attention_dropout=0.0, feature_grad_mult=1.0)
    ecg, seeds = batch(8)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for step in range(40):
        model.set_num_updates(step)
        out = model(ecg, mask_seed=seeds + 1000 * step)
        frames = out["logits"].shape[0] * out["logits"].shape[1]
        loss = infonce_loss(out["logits"]) / frames + 0.1 * diversity_loss(out["prob_perplexity"], out["num_vars"])
        optimizer.zero_grad()
        (loss + 0.01 * out["features_pen"]).backward()
        if step == 0:
            assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert model.quantizer.temperature < 2.0


def test_padding_changes_no_row():
    model = small().eval()
    ecg, seeds = batch(3)
    padding = torch.zeros(3, 640, dtype=torch.bool)
    padding[1, 400:] = True
    ecg[1, :, 400:] = 0.0
    with torch.no_grad():
        out = model(ecg, padding, mask_seed=seeds)
        alone = model(ecg[1:2, :, :400], mask_indices=out["mask_indices"][1:2, :25])
    assert not (out["mask_indices"] & out["padding"]).any()
    assert torch.allclose(out["features"][1:2], alone["features"], atol=1e-5)
    stems = [model.stem(e[None])[0].square() for e in (ecg[0], ecg[1, :, :400], ecg[2])]
    expected = sum(s.sum() for s in stems) / sum(s.numel() for s in stems)
    assert out["features_pen"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_stem_gradient_factor():
    ecg, seeds = batch()
    norms = {}
    for factor in (0.0, 0.1, 1.0):
        model = small(feature_grad_mult=factor).eval()
        out = model(ecg, mask_seed=seeds)
        infonce_loss(out["logits"]).backward()
        gradients = [p.grad for p in model.feature_extractor.parameters()]
        norms[factor] = None if gradients[0] is None else sum(g.square().sum() for g in gradients).sqrt().item()
    assert norms[0.0] is None and not any(
        p.requires_grad for p in small(feature_grad_mult=0.0).feature_extractor.parameters()
    )
    assert norms[0.1] == pytest.approx(0.1 * norms[1.0], rel=1e-4)


def test_without_masks_there_is_nothing_to_predict():
    model = small(apply_mask=False).eval()
    ecg, _ = batch()
    out = model(ecg)
    assert set(out) == {"frames", "padding", "features", "features_pen"}
    assert torch.equal(out["features"], model.encode_ecg(ecg))
    assert not any(key.startswith(("mask_emb", "quantizer", "project_q", "final_proj")) for key in model.state_dict())


def test_no_projection_where_widths_agree():
    model = small(conv_feature_layers="[(24, 2, 2)] * 4")
    assert not any(key.startswith("post_extract_proj") for key in model.state_dict())
    model(batch()[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize_input": True}, "quantize_input=true"),
        ({"same_quantizer": True}, "same_quantizer=true"),
        ({"negatives_from_everywhere": True}, "negatives_from_everywhere=true"),
        ({"extractor_mode": "layer_norm"}, "extractor_mode='layer_norm'"),
        ({"num_negatives": 0}, "num_negatives=0"),
        ({"codebook_negatives": 2, "quantize_targets": False}, "codebook_negatives=2"),
        ({"mask_selection": "some"}, "mask_selection='some'"),
        ({"logit_temp": 0.0}, "logit_temp"),
    ],
)
def test_refused_options(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_uneven_or_missing_masks_are_refused():
    model, (ecg, seeds) = small().eval(), batch()
    mask = torch.zeros(4, 40, dtype=torch.bool)
    mask[:, :5] = True
    mask[2, 5] = True
    with pytest.raises(ValueError, match="5 to 6 of 40 frames"):
        model(ecg, mask_indices=mask)
    with pytest.raises(ValueError, match="0 to 0 of 1 frames"):
        model(ecg[:, :, :16], mask_seed=seeds)
