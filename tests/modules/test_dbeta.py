"""D-BETA as a module: sizes, switches, gradients."""

import numpy as np
import pytest
import torch

from ecgtext_plugins.data.text_plan import text_plan
from ecgtext_plugins.modules.dbeta import HEADS, DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.modules.mem_loss import mem_loss
from ecgtext_plugins.text.encoders import build_text_encoder

TINY = {
    "conv_feature_layers": "[(16, 2, 2)] * 3",
    "conv_pos": 8,
    "conv_pos_groups": 4,
    "encoder_layers": 1,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 64,
    "encoder_attention_heads": 4,
    "hidden_dim": 32,
    "num_heads": 4,
    "num_top_layer": 2,
    "mem_layer": 1,
    "mem_decoder_hidden_dim": 16,
    "mem_decoder_num_layers": 1,
    "mem_decoder_num_heads": 4,
}
T5_BASE = {
    "vocab_size": 32128,
    "d_model": 768,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 12,
    "num_heads": 12,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
}
T5_TINY = {
    "vocab_size": 50,
    "d_model": 24,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 1,
    "num_heads": 3,
    "feed_forward_proj": "gated-gelu",
}


def tiny_model(**changes):
    torch.manual_seed(0)
    return DBeta(DBetaConfig(**{**TINY, **changes}), build_text_encoder(T5_TINY))


def tiny_batch(rows=3, samples=200, length=9):
    generator = torch.Generator().manual_seed(1)
    padding = torch.zeros(rows, length, dtype=torch.bool)
    padding[-1, 5:] = True
    text = torch.randint(3, 50, (rows, length), generator=generator).masked_fill(padding, 0)
    return {"ecg": torch.randn(rows, 12, samples, generator=generator), "text": text, "text_padding_mask": padding}


def test_released_size():
    """321,387,330 parameters, counted on the published model; 645 keys, the tied T5 embedding twice and one buffer."""
    with torch.device("meta"):
        model = DBeta(DBetaConfig(), build_text_encoder(T5_BASE))
    assert sum(parameter.numel() for parameter in model.parameters()) == 321_387_330
    keys = set(model.state_dict())
    assert len(keys) == 645
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert shapes["ecg_encoder.conv_pos.pos_conv.0.weight_v"] == (768, 48, 128)
    assert shapes["mim_head.decoder.resblocks.3.attn.in_proj_weight"] == (1152, 384)
    assert shapes["itm_head.fc.weight"] == (2, 1536)


def test_every_parameter_gets_a_gradient_from_the_four_heads():
    model = tiny_model(ets_learnable_scale=True).train()
    out = model(**tiny_batch())
    scale, bias = model.ets_scale_and_bias()
    loss = sum(out[name].square().mean() for name in ("mlm_logits", "mem_logits", "etm_logits"))
    loss = loss + (scale * out["ecg_features"] @ out["text_features"].T + bias).square().mean()
    loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_text_padding_does_not_change_features():
    model, batch = tiny_model().eval(), tiny_batch()
    alone = model.encode_text(batch["text"][-1:, :5])
    together = model.encode_text(batch["text"], batch["text_padding_mask"])[-1:]
    assert torch.allclose(alone, together, atol=1e-6)
    leaky = tiny_model(text_attention_mask=False).eval()
    leaked = leaky.encode_text(batch["text"], batch["text_padding_mask"])[-1:]
    assert not torch.allclose(alone, leaked, atol=1e-3)


def test_text_padding_does_not_reach_the_ecg_stream():
    model, batch = tiny_model().eval(), tiny_batch()
    other = {**batch, "text": batch["text"].masked_fill(batch["text_padding_mask"], 7)}
    ours, theirs = (model(**b, mask=False)["etm_logits"] for b in (batch, other))
    assert torch.equal(ours, theirs)


def test_heads_compute_only_what_they_need():
    model, batch = tiny_model().eval(), tiny_batch()
    noise = torch.rand(3, 25, generator=torch.Generator().manual_seed(2))
    everything = model(**batch, mask_noise=noise)
    assert set(model(**batch, heads=("ets",))) == {"ecg_features", "text_features"}
    for head in HEADS[:3]:
        out = model(**batch, heads=(head,), mask_noise=noise)
        assert torch.equal(out[f"{head}_logits"], everything[f"{head}_logits"])
        assert not {f"{name}_logits" for name in HEADS if name != head} & set(out)


def planned_batch():
    """Rows by length, the second a copy of the first; tokens scored in three rows, the same ones in copies."""
    lengths = np.array([4, 4, 5, 9])
    batch = tiny_batch(rows=4)
    batch["text"][1] = batch["text"][0]
    batch["text_padding_mask"] = torch.arange(9) >= torch.from_numpy(lengths)[:, None]
    batch["text"] = batch["text"].masked_fill(batch["text_padding_mask"], 0)
    labels = np.full((4, 9), -100)
    labels[0, 2] = labels[1, 2] = labels[2, 1] = labels[3, 3] = labels[3, 7] = 5
    return batch, labels, text_plan(lengths, np.array([0, 0, 1, 2]), labels, groups=3)


@pytest.mark.parametrize("mem_layer", [1, 2])
def test_a_plan_changes_no_loss_and_no_gradient(mem_layer):
    """Less padding, copies encoded once, and the last fusion layer only where heads read, against all of it."""
    model, (batch, labels, plan) = tiny_model(mem_layer=mem_layer, initializer_range=0.2).eval(), planned_batch()
    assert len(plan["groups"]) == 3 and len(plan["rows"]) == 3
    noise = torch.rand(4, 25, generator=torch.Generator().manual_seed(2))
    scored, target = torch.from_numpy(labels != -100), torch.randn(4, 25, 12 * 8)

    def loss_and_gradients(text_plan):
        model.zero_grad()
        out = model(**batch, mask_noise=noise, text_plan=text_plan)
        mlm = out["mlm_logits"] if text_plan else out["mlm_logits"][scored]
        mem = mem_loss(out["mem_logits"], target, out["mem_removed"], places=out["mem_places"])
        pairs = out["ecg_features"] @ out["text_features"].T
        loss = mlm.square().sum() + mem + out["etm_logits"].square().sum() + pairs.square().sum()
        loss.backward()
        return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}

    (planned, gradients), (whole, expected) = loss_and_gradients(plan), loss_and_gradients(None)
    assert torch.allclose(planned, whole, rtol=1e-5)
    for name, gradient in expected.items():
        atol = 1e-5 * max(gradient.abs().max(), 1.0)  # a key's bias has no effect, hence rounding errors for gradients
        assert torch.allclose(gradients[name], gradient, rtol=1e-4, atol=atol), name


def test_padded_ecgs_have_the_outputs_that_they_have_alone():
    """Through stem, norm, positional convolution, masking, encoder, fusion and decoder."""
    model, batch = tiny_model(initializer_range=0.2).eval(), tiny_batch()
    lengths, noise = (200, 131, 88), torch.rand(3, 25, generator=torch.Generator().manual_seed(5))
    batch["ecg_padding_mask"] = torch.stack([torch.arange(200) >= n for n in lengths])
    batch["ecg"] = batch["ecg"].masked_fill(batch["ecg_padding_mask"][:, None], 7.0)  # whatever stands there
    out = model(**batch, mask_noise=noise)
    features = model.encode_ecg(batch["ecg"], batch["ecg_padding_mask"])
    for row, n in enumerate(lengths):
        one = slice(row, row + 1)
        own = {"ecg": batch["ecg"][one, :, :n], "text": batch["text"][one]}
        own["text_padding_mask"] = batch["text_padding_mask"][one]
        alone = model(**own, mask_noise=noise[one, : n // 8])
        for name in ("ecg_features", "text_features", "mlm_logits", "etm_logits"):
            assert torch.allclose(out[name][one], alone[name], atol=1e-5), name
        assert torch.allclose(out["mem_logits"][row, : n // 8], alone["mem_logits"][0], atol=1e-5)
        assert torch.equal(out["mem_removed"][row, : n // 8], alone["mem_removed"][0])
        assert not out["mem_removed"][row, n // 8 :].any()
        assert torch.allclose(features[one], model.encode_ecg(own["ecg"]), atol=1e-5)
    planned = model(**batch, mask_noise=noise, text_plan=text_plan_of_three())
    target = torch.randn(3, 25, 96)
    losses = [
        mem_loss(o["mem_logits"], target, o["mem_removed"], places=o["mem_places"]).item() for o in (out, planned)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def text_plan_of_three():
    return text_plan(np.array([9, 9, 9]), np.arange(3), np.full((3, 9), -100), groups=1)


def test_checkpointed_activations_change_nothing():
    batch, _, plan = planned_batch()
    results = []
    for checkpoint_activations in (False, True):
        model = tiny_model(checkpoint_activations=checkpoint_activations).train()
        torch.manual_seed(3)
        out = model(**batch, mask_noise=torch.rand(4, 25), text_plan=plan)
        (out["mlm_logits"].square().mean() + out["etm_logits"].square().mean() + out["mem_logits"].mean()).backward()
        results.append([p.grad for p in model.parameters() if p.grad is not None])
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-7)


@pytest.mark.slow
def test_compiled_layers_compute_the_same():
    batch, _, plan = planned_batch()
    noise = torch.rand(4, 25, generator=torch.Generator().manual_seed(2))
    plain, compiled = tiny_model().eval(), tiny_model(compile_layers=True).eval()
    assert set(plain.state_dict()) == set(compiled.state_dict())
    ours, theirs = (model(**batch, mask_noise=noise, text_plan=plan) for model in (compiled, plain))
    for name, value in theirs.items():
        assert torch.allclose(ours[name], value, atol=1e-5), name


def test_a_batch_of_one():
    model = tiny_model().train()
    out = model(**{name: value[:1] for name, value in tiny_batch().items()})
    out["mem_logits"].square().mean().backward()
    assert all(torch.isfinite(value).all() for value in out.values() if isinstance(value, torch.Tensor))


def test_gain_and_lead_offsets_do_not_change_the_features():
    """The stem has no bias and is normed per channel, as measured on the published code."""
    model, ecg = tiny_model(initializer_range=0.2).eval(), tiny_batch()["ecg"]
    features = model.encode_ecg(ecg)

    def change(other):
        return ((model.encode_ecg(other) - features).norm() / features.norm()).item()

    assert change(ecg * 50) < 1e-3
    assert change(ecg + torch.arange(12.0)[None, :, None]) < 1e-3
    assert change(ecg.flip(1)) > 0.05


@pytest.mark.parametrize("samples", [200, 4096, 5000])
def test_any_length_decodes(samples):
    """25, 512 and 625 patches: the published decoder stops at 511."""
    out = tiny_model().eval()(**tiny_batch(samples=samples))
    assert out["mem_logits"].shape == (3, samples // 8, 12, 8)


def test_refusals():
    model, batch = tiny_model(), tiny_batch()
    with pytest.raises(ValueError, match="unknown heads \\['itm'\\]"):
        model(**batch, heads=("itm",))
    with pytest.raises(ValueError, match="an ECG of 0 samples is too short"):
        model(**batch, ecg_padding_mask=torch.ones(3, 200, dtype=torch.bool))
    with pytest.raises(ValueError, match="text_lr_factor=0"):
        tiny_model(text_lr_factor=0.0)
    with pytest.raises(ValueError, match="mem_layer=3"):
        tiny_model(mem_layer=3)
    with pytest.raises(ValueError, match=r"layer \(16, 5, 3\) whose kernel is not its stride"):
        tiny_model(conv_feature_layers="[(16, 2, 2), (16, 5, 3)]")
    with pytest.raises(ValueError, match="too short"):
        model(**tiny_batch(samples=7))


def test_bfloat16_forward_and_backward():
    """fairseq casts the whole model under common.bf16."""
    model, batch = tiny_model().bfloat16().train(), tiny_batch()
    out = model(**{**batch, "ecg": batch["ecg"].bfloat16()})
    loss = sum(out[f"{head}_logits"].float().square().mean() for head in HEADS[:3])
    loss = loss + (out["ecg_features"] @ out["text_features"].T).float().square().mean()
    loss.backward()
    assert out["mem_logits"].dtype == torch.bfloat16
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
