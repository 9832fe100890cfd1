"""Beginning from another model's ECG encoder: all of it or nothing, and a report."""

import pytest
import torch

from ecgtext_plugins.checkpoints.convert import convert_checkpoint
from ecgtext_plugins.checkpoints.encoder_weights import encoder_of, load_ecg_encoder
from ecgtext_plugins.checkpoints.weights import MisfitCheckpoint
from tests.checkpoints.tiny import ecgs, tiny_dbeta
from tests.checkpoints.tiny_ecg_fm import NETWORKS, save_signals, tiny_network

FAMILIES = ["dbeta", *NETWORKS]


@pytest.fixture
def network(text_folder):
    return lambda family: tiny_dbeta(text_folder) if family == "dbeta" else tiny_network(family, seed=9)


@pytest.fixture(scope="session")
def checkpoints(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    paths = {name: save_signals(folder / f"{name}.pt", tiny_network(name), name) for name in NETWORKS}
    convert_checkpoint(trained, "fairseq-signals", folder / "alone.pt")
    return paths | {"dbeta": trained, "alone": folder / "alone.pt"}


def state(encoder):
    return {key: value.clone() for key, value in encoder.state_dict().items()}


@pytest.mark.parametrize("target", FAMILIES)
@pytest.mark.parametrize("origin", [*FAMILIES, "alone"])
def test_every_family_begins_from_every_other(network, checkpoints, dbeta, origin, target):
    model = network(target)
    before = state(model)
    given = dbeta if origin in ("dbeta", "alone") else tiny_network(origin)
    report = load_ecg_encoder(model, checkpoints[origin])
    ecg = ecgs()
    with torch.inference_mode():
        ours, theirs = (encoder_of(network).eval().encode_frames(ecg)[0] for network in (model, given))
    assert torch.equal(ours, theirs)
    after = state(model)
    assert set(report.taken) | set(report.initial) == set(after)
    assert not set(report.taken) & set(report.initial)
    assert all(torch.equal(before[key], after[key]) for key in report.initial)
    assert len(report.taken) + len(report.left) == len(
        given.ecg_encoder.state_dict() if origin == "alone" else state(given)
    )
    prefix = {"dbeta": "ecg_encoder.", "wav2vec2_cmsc": ""}.get(target, "encoder.")
    assert {key.removeprefix(prefix).split(".")[0] for key in report.taken} <= {
        *("encoder", "layer_norm", "conv_pos", "feature_extractor", "post_extract_proj", "mask_emb")
    }


def test_the_report(network, checkpoints):
    report = load_ecg_encoder(network("ecg_transformer_classifier"), checkpoints["wav2vec2_cmsc"])
    assert "mask_emb" in report.left and report.initial == ("proj.weight", "proj.bias")
    assert report.left["quantizer.vars"] == "not part of the ECG encoder of wav2vec2_cmsc"
    lines = report.table().splitlines()
    assert len(lines) == 1 + len(report.taken) + len(report.left) + 2
    assert any(line.split() == ["taken", "encoder.layer_norm.bias", "from", "layer_norm.bias"] for line in lines)
    assert f"(wav2vec2_cmsc): {len(report.taken)} tensors taken, {len(report.left)} left, 2 of" in report.summary()


def test_masked_fine_tuning_takes_the_mask_s_vector(checkpoints):
    model = tiny_network("ecg_transformer_classifier", apply_mask=True, mask_prob=0.5)
    report = load_ecg_encoder(model, checkpoints["wav2vec2_cmsc"])
    assert report.taken["encoder.mask_emb"] == "mask_emb"
    assert torch.equal(model.encoder.mask_emb, tiny_network("wav2vec2_cmsc").mask_emb)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoder_layers": 2}, r"3 layers, width 128, feed-forward 96\) .*\(2 layers, .* 16 unexpected"),
        ({"encoder_layers": 4}, r"16 missing: encoder.layers.3"),
        ({"encoder_embed_dim": 64, "conv_pos_groups": 4}, r"of another shape: .*, expected .*64"),
        ({"conv_pos": 16}, r"weight_g \(1, 1, 8\), expected \(1, 1, 16\)"),
    ],
)
def test_other_sizes_are_an_error_and_nothing_is_taken(checkpoints, changes, said):
    model = tiny_network("ecg_transformer_classifier", **changes)
    before = state(model)
    with pytest.raises(MisfitCheckpoint, match=said):
        load_ecg_encoder(model, checkpoints["wav2vec2_cmsc"])
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_network_without_an_ecg_encoder():
    with pytest.raises(TypeError, match="a Linear has no EcgEncoder"):
        encoder_of(torch.nn.Linear(2, 2))
