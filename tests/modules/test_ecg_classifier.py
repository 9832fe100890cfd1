"""Fine-tuning networks: size, what is frozen when, learning rates of layers, margins."""

import math

import pytest
import torch

from ecgtext_plugins.modules.arcface import ArcFace, arcface_logits, arcface_loss
from ecgtext_plugins.modules.ecg_classifier import EcgClassifier, EcgClassifierConfig

SMALL = {
    "conv_feature_layers": "[(16, 2, 2)] * 4",
    **{"encoder_layers": 3, "encoder_embed_dim": 24, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 4},
    **{"conv_pos": 8, "conv_pos_groups": 4, "num_labels": 5},
}


def small(kind=EcgClassifier, **options):
    torch.manual_seed(0)
    return kind(EcgClassifierConfig(**{**SMALL, **options}))


def ecgs(rows=4):
    return torch.randn(rows, 12, 640, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("labels", "parameters"), [(17, 90_386_321), (8, 90_379_400)])
def test_published_size(labels, parameters):
    with torch.device("meta"):
        weights = EcgClassifier(EcgClassifierConfig(num_labels=labels)).state_dict()
    assert len(weights) == 209
    assert weights["proj.weight"].shape == (labels, 768) and "encoder.encoder.layer_norm.weight" in weights
    assert sum(tensor.numel() for tensor in weights.values()) == parameters


def test_stem_is_frozen_by_default():
    model = small()
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {
        f"encoder.feature_extractor.{name}" for name, _ in model.encoder.feature_extractor.named_parameters()
    }
    assert all(parameter.requires_grad for parameter in small(feature_grad_mult=1.0).parameters())
    model(ecgs())["logits"].square().sum().backward()
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("kind", [EcgClassifier, ArcFace])
def test_encoder_waits_for_its_update(kind):
    model = small(kind, freeze_finetune_updates=3)
    for update, trains in ((0, False), (2, False), (3, True)):
        model.set_num_updates(update)
        model.zero_grad(set_to_none=True)
        model(ecgs())["logits"].square().sum().backward()
        names = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
        assert names & {"proj.weight", "kernel"}
        assert any(name.startswith("encoder.") for name in names) == trains
    model.eval().set_num_updates(0)
    assert model(ecgs())["frames"].requires_grad


def test_learning_rates_fall_towards_the_input():
    model = small(layer_lr_decay=0.5)
    factors = {name: getattr(parameter, "lr_factor", 1.0) for name, parameter in model.named_parameters()}
    for start, factor in {
        "proj.": 1.0,
        **{f"encoder.encoder.layers.{layer}.": 0.5 ** (2 - layer) for layer in range(3)},
        **{f"encoder.{part}": 0.125 for part in ("feature_extractor", "layer_norm", "post_extract", "conv_pos")},
        "encoder.encoder.layer_norm.": 0.125,
    }.items():
        found = {value for name, value in factors.items() if name.startswith(start)}
        assert found == {factor}
    assert not any(hasattr(parameter, "lr_factor") for parameter in small().parameters())
    with pytest.raises(ValueError, match="layer_lr_decay=1.5"):
        small(layer_lr_decay=1.5)


def test_masks_are_for_training():
    model = small(apply_mask=True, mask_prob=0.5, mask_length=4)
    assert "encoder.mask_emb" in model.state_dict() and "encoder.mask_emb" not in small().state_dict()
    seeds = torch.arange(4)
    logits = [model(ecgs(), mask_seed=seeds + shift)["logits"] for shift in (0, 0, 9)]
    assert torch.equal(logits[0], logits[1]) and not torch.allclose(logits[0], logits[2])
    model.eval()
    assert torch.equal(model(ecgs(), mask_seed=seeds)["logits"], model(ecgs())["logits"])


def test_labels_are_needed():
    assert EcgClassifier(EcgClassifierConfig(**{**SMALL, "num_labels": None}), 7).proj.out_features == 7
    for count in (None, 0):
        with pytest.raises(ValueError, match=f"num_labels={count}"):
            small(num_labels=count)


def test_arcface_embeds_on_the_sphere():
    model = small(ArcFace).eval()
    out = model(ecgs())
    assert torch.allclose(out["features"].norm(dim=1), torch.ones(4))
    assert torch.equal(out["features"], model.encode_ecg(ecgs()))
    expected = torch.nn.functional.cosine_similarity(out["features"][:, None], model.kernel, dim=-1)
    assert torch.allclose(out["logits"], expected, atol=1e-6)
    assert {key for key in model.state_dict() if not key.startswith("encoder.")} == {"kernel"}


def test_margins_widen_the_own_angle():
    angles = torch.linspace(0.05, math.pi - 0.05, 50, dtype=torch.double)
    cosines = torch.stack([angles.cos(), torch.full_like(angles, 0.3)], dim=1).float()
    identity = torch.zeros(50, dtype=torch.long)
    logits = arcface_logits(cosines, identity, 32.0, 0.5)
    assert torch.allclose(logits[:, 1], 32 * cosines[:, 1])
    below = angles + 0.5 < math.pi
    assert torch.allclose(logits[below, 0], 32 * (angles[below] + 0.5).cos().float(), atol=1e-3)
    assert (logits[:, 0].diff() < 0).all()  # falls with the angle everywhere
    assert torch.allclose(arcface_logits(cosines, identity, 2.0, 0.0), 2 * cosines, atol=1e-6)
    expected = torch.nn.functional.cross_entropy(logits, identity, reduction="sum")
    assert torch.allclose(arcface_loss(cosines, identity), expected)
    exact = torch.tensor([[1.0, -1.0]], requires_grad=True)
    arcface_loss(exact, torch.tensor([0])).backward()
    assert exact.grad.isfinite().all()
    with pytest.raises(ValueError, match="margin=4"):
        arcface_logits(cosines, identity, margin=4.0)
