"""ECG-FM's pretraining criterion: the published numbers, and several processes against one on the whole batch."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from omegaconf import OmegaConf
from torch import nn

from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.modules.wav2vec2_cmsc import Wav2Vec2Cmsc, Wav2Vec2CmscConfig
from tests.processes import in_processes

SHARED = Path(os.environ["ECGTEXT_SHARED"]) if "ECGTEXT_SHARED" in os.environ else None
NEEDS_SHARED = pytest.mark.skipif(SHARED is None, reason="ECGTEXT_SHARED is not set")
PUBLISHED = {"loss_weights": [0.1, 10]}
SIZES = {
    "conv_feature_layers": "[(16, 2, 2)] * 3",
    "conv_pos": 8,
    "conv_pos_groups": 4,
    "encoder_layers": 1,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 64,
    "encoder_attention_heads": 4,
    "final_dim": 16,
    "latent_vars": 6,
    "num_negatives": 5,
    "feature_grad_mult": 1.0,
    **dict.fromkeys(("dropout", "attention_dropout", "dropout_input", "dropout_features"), 0.0),
}
PAIRS = 5
ROWS = {2: (range(6), range(6, 10)), 3: (range(2), range(2, 8), range(8, 10))}


def build(**keys):
    from ecgtext_plugins.criterions.wav2vec2_with_cmsc import Wav2Vec2WithCmsc, Wav2Vec2WithCmscConfig

    cfg = OmegaConf.merge(OmegaConf.structured(Wav2Vec2WithCmscConfig), keys)
    return Wav2Vec2WithCmsc.build_criterion(cfg, None)


class Given(nn.Module):
    """A network whose output is given."""

    def __init__(self, out):
        super().__init__()
        self.out = out

    def forward(self, ecg, ecg_padding_mask=None, mask_seed=None):
        return self.out


def published_output(golden):
    values = {name: torch.as_tensor(golden[name]) for name in golden.files if golden[name].dtype.kind == "f"}
    return {
        "logits": values["pretrain_logits"].view(8, 60, 101),
        "frames": values["x"],
        "padding": None,
        "features": values["cmsc_features"],
        "features_pen": values["features_pen"],
        "prob_perplexity": values["prob_perplexity"],
        "code_perplexity": values["code_perplexity"],
        "num_vars": int(golden["num_vars"]),
        "temp": 2.0,
    }


@NEEDS_SHARED
def test_golden_criterion():
    golden = np.load(SHARED / "golden/ecg_fm_pretrained_tiny_ref.npz")
    target = {name: torch.as_tensor(golden[name]).long() for name in ("patient_id", "segment")}
    batch = {"net_input": {"ecg": None}, "target": target, "nsentences": 8, "ntokens": 20000}
    loss, size, log = build(**PUBLISHED)(Given(published_output(golden)).eval(), batch)
    assert size == int(golden["crit_sample_size"])
    assert loss.item() == pytest.approx(float(golden["crit_loss"]), rel=1e-5)
    for name in (
        *(f"loss_{place}" for place in range(4)),
        *("loss", "nsignals", "sample_size", "prob_perplexity", "code_perplexity", "temp", "correct", "count"),
    ):
        assert float(log[name]) == pytest.approx(float(golden[f"crit_log_{name}"]), rel=1e-5), name


@NEEDS_SHARED
def test_golden_criterion_on_the_published_network():
    """From ECGs and weights, with the published masks and negatives."""
    golden = np.load(SHARED / "golden/ecg_fm_pretrained_tiny_ref.npz")
    state = torch.load(SHARED / "golden/ecg_fm_pretrained_tiny.pt", weights_only=True)
    sizes = {key: state["cfg"]["model"][key] for key in SIZES if key in state["cfg"]["model"]}
    sizes |= {key: state["cfg"]["model"][key] for key in ("latent_groups", "latent_temp")}
    model = Wav2Vec2Cmsc(Wav2Vec2CmscConfig(**sizes)).eval()
    spelling = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    weights = {}
    for name, value in state["model"].items():
        for theirs, ours in spelling.items():
            name = name.replace(theirs, ours)
        weights[name] = value
    model.load_state_dict(weights)
    net_input = {"ecg": torch.as_tensor(golden["source"]), "mask_indices": torch.as_tensor(golden["mask_indices"])}
    target = {name: torch.as_tensor(golden[name]).long() for name in ("patient_id", "segment")}
    torch.manual_seed(7)
    with torch.no_grad():
        batch = {"net_input": net_input, "target": target, "nsentences": 8, "ntokens": 20000}
        loss, size, log = build(**PUBLISHED)(model, batch)
    assert size == 480 and loss.item() == pytest.approx(float(golden["crit_loss"]), rel=1e-5)
    for place in range(4):
        assert log[f"loss_{place}"].item() == pytest.approx(float(golden[f"crit_log_loss_{place}"]), rel=1e-4), place


@NEEDS_SHARED
def test_metrics_are_in_bits_and_means():
    from fairseq import metrics

    golden = np.load(SHARED / "golden/ecg_fm_pretrained_tiny_ref.npz")
    out, criterion = published_output(golden), build(**PUBLISHED)
    target = {name: torch.as_tensor(golden[name]).long() for name in ("patient_id", "segment")}
    batch = {"net_input": {"ecg": None}, "target": target, "nsentences": 8, "ntokens": 20000}
    other = {**out, "temp": 1.0, "features_pen": out["features_pen"] * 2}
    logs = [criterion(Given(each).eval(), batch)[2] for each in (out, other)]
    with metrics.aggregate(new_root=True) as meters:
        criterion.reduce_metrics(logs)
    values, bits = meters.get_smoothed_values(), 480 * math.log(2)
    assert values["loss_0"] == pytest.approx(float(golden["crit_log_loss_0"]) / bits, abs=1e-4)
    assert values["loss_2"] == pytest.approx(1.5 * float(golden["crit_log_loss_2"]) / bits, abs=1e-4)
    assert values["accuracy"] == pytest.approx(29 / 480, abs=1e-4)
    assert values["temp"] == 1.5 and values["nsignals"] == 8


def network(**keys):
    torch.manual_seed(0)
    model = Wav2Vec2Cmsc(Wav2Vec2CmscConfig(**{**SIZES, **keys})).train()
    model.quantizer.eval()  # no Gumbel noise: that of a batch is not that of its parts
    return model


def sample(rows=range(2 * PAIRS)):
    """Adjacent segments, two pairs of one patient, other lengths in each row; four of twenty frames are hidden."""
    rng = torch.Generator().manual_seed(1)
    ecg = torch.randn(2 * PAIRS, 12, 160, generator=rng)
    lengths = torch.tensor([160, 160, 144, 128, 160, 96, 120, 112, 160, 128])
    padding = torch.arange(160) >= lengths[:, None]
    hidden = torch.zeros(2 * PAIRS, 20, dtype=torch.bool)
    for row in hidden:
        row[torch.randperm(12, generator=rng)[:4]] = True
    target = {
        "patient_id": torch.tensor([1, 1, 2, 2, 3, 3, 2, 2, 5, 5]),
        "segment": torch.tensor([0, 1] * PAIRS),
        "record": torch.arange(2 * PAIRS) // 2,
        "mask_seed": torch.arange(2 * PAIRS) + 7,
    }
    rows = list(rows)
    net_input = {"ecg": ecg.masked_fill(padding[:, None], 0.0), "ecg_padding_mask": padding, "mask_indices": hidden}
    return {
        "net_input": {name: value[rows] for name, value in net_input.items()},
        "target": {name: value[rows] for name, value in target.items()},
        "nsentences": len(rows),
        "ntokens": 160 * len(rows),
    }


def gradients(model):
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in model.named_parameters()
    }


def process(rank, world, folder, dummy_rank):
    model, criterion = network(), build(**PUBLISHED, all_gather=True)
    criterion.is_dummy = rank == dummy_rank
    loss, size, log = criterion(model, sample(ROWS[world][rank]))
    (loss * 0 if criterion.is_dummy else loss).backward()
    live = 0.0 if criterion.is_dummy else 1.0
    totals = torch.stack([torch.as_tensor(float(log[f"loss_{place}"])) for place in range(4)] + [torch.tensor(size)])
    totals = totals * live
    dist.all_reduce(totals)
    found = gradients(model)
    for gradient in found.values():
        dist.all_reduce(gradient)
        gradient /= totals[-1]
    if rank == 0:
        torch.save((totals, found), f"{folder}/result.pt")


@pytest.mark.parametrize(("world", "dummy_rank"), [(2, None), pytest.param(3, 1, marks=pytest.mark.slow)])
def test_processes_equal_one_on_the_whole_batch(world, dummy_rank, tmp_path):
    """Every term and gradient, summed over processes and divided by the sum of sample sizes as fairseq does."""
    in_processes(world, process, tmp_path, dummy_rank)
    totals, found = torch.load(tmp_path / "result.pt", weights_only=True)
    model = network()
    rows = [row for rank, part in enumerate(ROWS[world]) if rank != dummy_rank for row in part]
    loss, size, log = build(**PUBLISHED)(model, sample(rows))
    (loss / size).backward()
    assert totals[-1] == size
    for place in range(4):
        assert totals[place].item() == pytest.approx(log[f"loss_{place}"].item(), rel=1e-5), place
    for name, expected in gradients(model).items():
        assert torch.allclose(found[name], expected, rtol=1e-4, atol=1e-6 * max(1.0, expected.abs().max().item())), name


def test_terms_of_weight_zero_are_not_computed():
    _, _, log = build()(network(), sample())
    assert "loss_1" not in log and "loss_2" not in log and "loss_3" in log
    _, _, log = build(**PUBLISHED, cmsc_weights=0)(network(), sample())
    assert "loss_1" in log and "loss_2" in log and "loss_3" not in log
    one, two = (build(loss_weights=weights)(network(), sample())[0] for weights in ([2.0], [2.0, 2.0]))
    assert torch.equal(one, two)


def test_targets_that_are_not_quantised():
    model = Wav2Vec2Cmsc(Wav2Vec2CmscConfig(**SIZES, quantize_targets=False))
    _, _, log = build(**PUBLISHED)(model, sample())
    assert "loss_1" not in log and "prob_perplexity" not in log and "loss_2" in log


def test_same_record_only_leaves_a_patients_other_records_out():
    """Rows 2, 3 and 6, 7 are one patient's: as if the other record's segments were not there."""
    rows = [2, 3, 6, 7]
    loss = build(same_record_only=True)(network(), sample(rows))[2]["loss_3"]
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert build()(network(), sample(rows))[2]["loss_3"] > 0.1


def test_refusals():
    with pytest.raises(BadConfig, match="infonce=false"):
        build(infonce=False)
    with pytest.raises(BadConfig, match="loss_weights"):
        build(loss_weights=[1, 2, 3])
    with pytest.raises(BadConfig, match="log_keys names logits: expected .*features_pen"):
        build(log_keys=["logits"])(network(), sample())
    model = Wav2Vec2Cmsc(Wav2Vec2CmscConfig(**SIZES, apply_mask=False))
    with pytest.raises(BadConfig, match="hides no frames"):
        build()(model, sample())
