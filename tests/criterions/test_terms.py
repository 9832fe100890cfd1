"""The registered criteria on a batch: each is its loss, their sum is D-BETA's, weight 0 is not computed."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import ecgtext_plugins
from ecgtext_plugins.data.text_plan import text_plan
from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.text.encoders import build_text_encoder

SIZES = {
    "conv_feature_layers": "[(16, 2, 2)] * 3",
    "conv_pos": 8,
    "conv_pos_groups": 4,
    "encoder_layers": 1,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 64,
    "encoder_attention_heads": 4,
    "hidden_dim": 32,
    "num_heads": 4,
    "num_top_layer": 1,
    "mem_layer": 1,
    "mem_decoder_hidden_dim": 16,
    "mem_decoder_num_layers": 1,
    "mem_decoder_num_heads": 4,
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    t5 = {"vocab_size": 50, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 1, "num_heads": 4}
    return DBeta(DBetaConfig(**SIZES), build_text_encoder(t5)).eval()


@pytest.fixture(scope="module")
def sample():
    rng = torch.Generator().manual_seed(1)
    original = torch.randn(4, 12, 160, generator=rng)
    hidden = torch.rand(4, 12, generator=rng) < 0.5
    labels = torch.full((4, 7), -100)
    labels[0, 2], labels[2, 5], labels[3, 1] = 9, 12, 40
    return {
        "id": torch.arange(4),
        "net_input": {
            "ecg": original.masked_fill(hidden[:, :, None], 0.0),
            "ecg_padding_mask": None,
            "text": torch.randint(3, 50, (4, 7), generator=rng),
            "text_padding_mask": torch.zeros(4, 7, dtype=torch.bool),
            "text_plan": text_plan(np.full(4, 7), np.arange(4), labels.numpy(), groups=1),
        },
        "target": {
            "ecg_original": original,
            "lead_mask": hidden,
            "patch_seed": torch.arange(4),
            "mlm_labels": labels,
            "mlm_scored": labels[labels != -100],
            "is_aligned": torch.tensor([1, 0, 1, 1]),
            "report_id": torch.tensor([5, 6, 5, 8]),
            "text_report_id": torch.tensor([5, 9, 5, 8]),
        },
        "ntokens": 28,
        "nsentences": 4,
    }


def build(name, **keys):
    from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, build_criterion

    ecgtext_plugins.register_all()
    cfg = OmegaConf.structured(CRITERION_DATACLASS_REGISTRY[name](_name=name, **keys))
    return build_criterion(cfg, task=None)


def run(criterion, model, sample):
    torch.manual_seed(4)
    with torch.no_grad():
        return criterion(model, sample)


def test_sum_of_the_single_criteria(model, sample):
    weights = {"mlm": 0.5, "mem": 2.0, "etm": 1.0, "ets": 0.25}
    singles = {name: run(build(name), model, sample)[0].item() for name in weights}
    loss, size, log = run(build("dbeta", **{f"{k}_weight": v for k, v in weights.items()}), model, sample)
    assert size == 1
    assert loss.item() == pytest.approx(sum(weights[name] * singles[name] for name in weights), rel=1e-5)
    for name, value in singles.items():
        assert log[f"{name}_loss"].item() == pytest.approx(value, rel=1e-5)


def test_weight_zero_is_not_computed(model, sample, monkeypatch):
    def refuse(*args):
        raise AssertionError("computed")

    monkeypatch.setattr(model.mim_head, "forward", refuse)
    monkeypatch.setattr(model.mlm_head, "forward", refuse)
    monkeypatch.setattr(model.multi_modal_ecg_layers[0], "forward", refuse)
    _, _, log = run(build("dbeta", mlm_weight=0, mem_weight=0, etm_weight=0), model, sample)
    assert "mem_loss" not in log and "ets_loss" in log
    with pytest.raises(AssertionError, match="computed"):
        run(build("mem"), model, sample)


def test_mem_target_input_asks_for_zeroed_leads(model, sample):
    original, masked = (run(build("mem", mem_target=kind), model, sample)[0] for kind in ("original", "input"))
    assert original != masked
    unmasked = {**sample, "net_input": {**sample["net_input"], "ecg": sample["target"]["ecg_original"]}}
    a, b = (run(build("mem", mem_target=kind), model, unmasked)[0] for kind in ("original", "input"))
    assert a == b


def test_metrics_are_plain_floats_and_equal_to_the_sums(model, sample):
    """Two batches with unequal counts: fairseq's meters and metrics.csv give the same figures."""
    from fairseq import metrics

    from ecgtext_plugins.criterions._terms import summarise

    criterion = build("dbeta")
    _, _, log = run(criterion, model, sample)
    other = {**log, "loss": log["loss"] + 1, "etm_correct": 9, "etm_total": 12, "nsentences": 12}
    with metrics.aggregate(new_root=True) as meters:
        criterion.reduce_metrics([log])
        criterion.reduce_metrics([other])
    values, expected = meters.get_smoothed_values(), summarise([log, other])
    assert all(type(value) is float for value in values.values())
    assert set(expected) >= {"mlm_accuracy", "retrieval_accuracy", "mlm_loss", "mem_loss", "etm_loss", "ets_loss"}
    assert values == {name: pytest.approx(value, abs=1e-4) for name, value in expected.items()}
    assert expected["etm_accuracy"] == (log["etm_correct"] + 9) / (4 + 12)
    assert expected["loss"] == pytest.approx(log["loss"].item() + 0.5)


def test_refusals():
    with pytest.raises(BadConfig, match="all weights"):
        build("dbeta", mlm_weight=0, mem_weight=0, etm_weight=0, ets_weight=0)
    for key, name in {
        "mem_target": "mem",
        "mem_reduction": "mem",
        "mlm_reduction": "mlm",
        "ets_duplicates": "ets",
    }.items():
        with pytest.raises(BadConfig, match=f"criterion.{key}=nonsense: expected one of"):
            build(name, **{key: "nonsense"})
