"""Conversion: the same tensors there and back, every key checked, nothing half written."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import ecgtext_plugins
from ecgtext_plugins.checkpoints.convert import convert_checkpoint
from ecgtext_plugins.checkpoints.key_spelling import to_parametrizations, to_weight_norm
from ecgtext_plugins.checkpoints.weights import MisfitCheckpoint
from ecgtext_plugins.errors import BadCheckpoint
from tests.checkpoints.tiny import ecgs, save_trained, tiny_dbeta
from tests.checkpoints.tiny_ecg_fm import NETWORKS, save_signals, save_trained_ecg, tiny_network

GOLDEN = ("ecg_fm_pretrained_tiny", "ecg_fm_finetuned_tiny")


def weights(path):
    return torch.load(path, weights_only=False)["model"]


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[key], other[key]) and one[key].dtype == other[key].dtype for key in one
    )


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_checkpoints_there_and_back(shared, tmp_path, name):
    golden = shared / "golden" / f"{name}.pt"
    convert_checkpoint(golden, "ecgtext", tmp_path / "folder")
    report = convert_checkpoint(tmp_path / "folder", "fairseq-signals", tmp_path / "back.pt")
    assert same(weights(tmp_path / "back.pt"), weights(golden)) and report["left"] == {}
    ours, theirs = (torch.load(path, weights_only=False) for path in (tmp_path / "back.pt", golden))
    assert set(ours) | {"last_optimizer_state"} == set(theirs)
    assert ours["cfg"].keys() == theirs["cfg"].keys()
    for group in ours["cfg"]:
        if isinstance(theirs["cfg"][group], dict):
            assert ours["cfg"][group].keys() == theirs["cfg"][group].keys(), group
    private = ("data", "model_path")
    assert {key: value for key, value in ours["cfg"]["model"].items() if key not in private} == {
        key: value for key, value in theirs["cfg"]["model"].items() if key not in private
    }
    history, extra = ours["optimizer_history"][-1], ours["extra_state"]
    assert history.keys() == theirs["optimizer_history"][-1].keys()
    assert history["criterion_name"] == theirs["optimizer_history"][-1]["criterion_name"]
    assert extra.keys() - theirs["extra_state"].keys() == set()
    assert extra["train_iterator"].keys() == theirs["extra_state"]["train_iterator"].keys()
    again = convert_checkpoint(golden, "fairseq-signals", tmp_path / "direct.pt")
    assert same(weights(tmp_path / "direct.pt"), weights(golden)) and again["tensors"] == len(weights(golden))
    assert (
        torch.load(tmp_path / "direct.pt", weights_only=True)["cfg"]["criterion"]["_name"]
        == (theirs["cfg"]["criterion"]["_name"])
    )


@pytest.mark.parametrize("family", NETWORKS)
def test_own_training_there_and_back(tmp_path, family):
    network = tiny_network(family)
    path = save_trained_ecg(tmp_path / "checkpoint_last.pt", network, family, target_labels=["a", "b", "c"])
    convert_checkpoint(path, "ecgtext", tmp_path / "folder")
    convert_checkpoint(tmp_path / "folder", "fairseq-signals", tmp_path / "signals.pt")
    assert same(to_weight_norm(weights(tmp_path / "signals.pt")), dict(network.state_dict()))
    labels = None if family != "ecg_transformer_classifier" else ["x", "y", "z"]
    convert_checkpoint(tmp_path / "signals.pt", "ecgtext", tmp_path / "again", labels=labels)
    assert same(load_file(tmp_path / "again" / "model.safetensors"), dict(network.state_dict()))
    loaded = ecgtext_plugins.from_pretrained(tmp_path / "folder")
    assert (loaded.sample_rate, loaded.n_samples, loaded.standardize) == (100.0, 400, False)
    assert loaded.labels == (["a", "b", "c"] if labels else None)
    assert torch.equal(loaded.encode_ecg(ecgs()), ecgtext_plugins.load(path).encode_ecg(ecgs()))
    assert ecgtext_plugins.load(tmp_path / "again").labels == labels


@pytest.mark.parametrize("spelling", [to_parametrizations, to_weight_norm])
@pytest.mark.parametrize("family", NETWORKS)
def test_both_spellings_are_read(tmp_path, family, spelling):
    network = tiny_network(family)
    path = save_signals(tmp_path / "signals.pt", network, family, spelling)
    with torch.inference_mode():
        assert torch.equal(ecgtext_plugins.load(path).encode_ecg(ecgs()), network.encode_ecg(ecgs()))


def test_dbeta_there_and_back(trained, dbeta, tmp_path):
    convert_checkpoint(trained, "ecgtext", tmp_path / "folder")
    assert same(load_file(tmp_path / "folder" / "model.safetensors"), dict(dbeta.state_dict()))
    report = convert_checkpoint(tmp_path / "folder", "dbeta", tmp_path / "release" / "sample.pt")
    assert same(weights(tmp_path / "release" / "sample.pt"), dict(dbeta.state_dict())) and not report["left"]
    whole, folder, release = (
        ecgtext_plugins.load(path) for path in (trained, tmp_path / "folder", tmp_path / "release" / "sample.pt")
    )
    assert torch.equal(folder.encode_ecg(ecgs()), whole.encode_ecg(ecgs()))
    assert torch.equal(release.encode_ecg(ecgs()), whole.encode_ecg(ecgs()))
    assert torch.equal(folder.encode_text(["sinus rhythm"]), whole.encode_text(["sinus rhythm"]))
    assert (folder.sample_rate, folder.n_samples, folder.max_text_tokens) == (100.0, 400, 16)
    assert (folder.labels, folder.standardize) == (None, False)
    kept = json.loads((tmp_path / "release" / "config.json").read_text())["model"]
    assert kept["num_heads"] == 1 and kept["encoder_attention_heads"] == 2 and kept["lead_masking"] == 0.5
    convert_checkpoint(tmp_path / "release" / "sample.pt", "ecgtext", tmp_path / "again")
    assert same(load_file(tmp_path / "again" / "model.safetensors"), dict(dbeta.state_dict()))
    with pytest.raises(Exception, match="load it with text_encoder="):
        ecgtext_plugins.load(tmp_path / "again").encode_text(["sinus rhythm"])


def test_the_golden_release_keeps_its_features(shared, tmp_path):
    golden = shared / "golden" / "dbeta_tiny.pt"
    config = {"model": torch.load(golden, weights_only=True)["cfg"]}
    convert_checkpoint(golden, "ecgtext", tmp_path / "folder", config=config)
    convert_checkpoint(tmp_path / "folder", "dbeta", tmp_path / "back.pt")
    assert same(weights(tmp_path / "back.pt"), weights(golden))
    reference = np.load(shared / "golden" / "dbeta_tiny_ref.npz")
    features = ecgtext_plugins.load(tmp_path / "back.pt").encode_ecg(torch.from_numpy(reference["ecg"])).numpy()
    assert np.abs(features - reference["ecg_features"]).max() <= 1e-5 * np.abs(reference["ecg_features"]).max()


def test_dbeta_s_encoder_for_fairseq_signals(trained, dbeta, tmp_path):
    report = convert_checkpoint(trained, "fairseq-signals", tmp_path / "encoder.pt")
    state = torch.load(tmp_path / "encoder.pt", weights_only=True)
    assert state["cfg"]["model"]["_name"] == "ecg_transformer" and not state["cfg"]["model"]["apply_mask"]
    assert same(to_weight_norm(state["model"]), dict(dbeta.ecg_encoder.state_dict()))
    assert set(report["left"]) == {key for key in dbeta.state_dict() if not key.startswith("ecg_encoder.")}
    assert report["left"]["class_embedding"] == "fairseq-signals' ECG encoder has no class token"
    with pytest.raises(BadCheckpoint, match="an ECG encoder alone"):
        ecgtext_plugins.load(tmp_path / "encoder.pt")
    with pytest.raises(BadCheckpoint, match="an ECG encoder alone"):
        convert_checkpoint(tmp_path / "encoder.pt", "ecgtext", tmp_path / "folder")
    assert [file.name for file in tmp_path.iterdir()] == ["encoder.pt"]


def test_learned_ets_scale_is_left_out_of_a_release(text_folder, tmp_path):
    path = save_trained(tmp_path / "a.pt", tiny_dbeta(text_folder, ets_learnable_scale=True), text_folder)
    assert set(convert_checkpoint(path, "dbeta", tmp_path / "b.pt")["left"]) == {"ets_log_scale", "ets_bias"}
    ecgtext_plugins.load(tmp_path / "b.pt")


def test_other_families_have_no_release(tmp_path):
    path = save_signals(tmp_path / "a.pt", tiny_network("wav2vec2_cmsc"), "wav2vec2_cmsc")
    with pytest.raises(BadCheckpoint, match="expected D-BETA for its release"):
        convert_checkpoint(path, "dbeta", tmp_path / "b.pt")
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def stock_spelling(weights):
    return {key.replace("conv_pos.pos_conv", "encoder.pos_conv"): value for key, value in weights.items()}


def test_stock_wav2vec2_of_twelve_channels(tmp_path):
    network = tiny_network("wav2vec2_cmsc")
    path = save_signals(tmp_path / "stock.pt", network, "wav2vec2", stock_spelling)
    report = convert_checkpoint(path, "ecgtext", tmp_path / "folder")
    assert report["source"]["layout"] == "fairseq wav2vec2" and report["family"] == "wav2vec2_cmsc"
    assert same(load_file(tmp_path / "folder" / "model.safetensors"), dict(network.state_dict()))
    audio = save_signals(tmp_path / "audio.pt", tiny_network("wav2vec2_cmsc", in_d=1), "wav2vec2", stock_spelling)
    with pytest.raises(BadCheckpoint, match=r"one channel, .*\(16, 1, 2\).* 12 leads"):
        convert_checkpoint(audio, "ecgtext", tmp_path / "b")


def test_models_that_mask_no_frames(tmp_path):
    """fairseq-signals builds the head for masked frames anyway; ours have none, and are an encoder alone there."""
    masking, plain = (tiny_network("wav2vec2_cmsc", apply_mask=apply) for apply in (True, False))
    state = masking.state_dict() | plain.state_dict()
    path = save_signals(tmp_path / "a.pt", plain, "wav2vec2_cmsc", lambda _: to_parametrizations(state))
    report = convert_checkpoint(path, "ecgtext", tmp_path / "folder")
    assert "are for masked frames" in report["notes"][0] and report["tensors"] == len(plain.state_dict())
    convert_checkpoint(tmp_path / "folder", "fairseq-signals", tmp_path / "b.pt")
    assert torch.load(tmp_path / "b.pt", weights_only=True)["cfg"]["model"]["_name"] == "ecg_transformer"


@pytest.mark.parametrize("to", ["ecgtext", "fairseq-signals"])
def test_keys_that_do_not_fit_are_listed_and_nothing_is_written(tmp_path, to):
    network = tiny_network("ecg_transformer_classifier")
    state = dict(network.state_dict())
    del state["encoder.layer_norm.bias"]
    state |= {"new.weight": torch.zeros(2), "encoder.encoder.layers.0.fc1.bias": torch.zeros(4)}
    path = save_signals(tmp_path / "a.pt", network, "ecg_transformer_classifier", lambda _: state)
    with pytest.raises(MisfitCheckpoint, match="1 missing: .*1 unexpected: .*1 of another shape") as caught:
        convert_checkpoint(path, to, tmp_path / "out.pt")
    table = caught.value.comparison.table().splitlines()
    assert [line.split()[:2] for line in table[1:]] == [
        ["missing", "encoder.layer_norm.bias"],
        ["unexpected", "new.weight"],
        ["mismatched", "encoder.encoder.layers.0.fc1.bias"],
    ]
    assert table[3].split()[2:] == ["(4,)", "(96,)"]
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_out_is_replaced_only_by_its_own_kind_and_with_force(released, tmp_path):
    path = save_signals(tmp_path / "a.pt", tiny_network("wav2vec2_cmsc"), "wav2vec2_cmsc")
    other = save_signals(tmp_path / "c.pt", tiny_network("wav2vec2_cmsc", seed=6), "wav2vec2_cmsc")
    for to, out in (("ecgtext", tmp_path / "folder"), ("fairseq-signals", tmp_path / "b.pt")):
        convert_checkpoint(path, to, out)
        first = ecgtext_plugins.load(out).encode_ecg(ecgs())
        with pytest.raises(BadCheckpoint, match="exists: .*--force"):
            convert_checkpoint(other, to, out)
        convert_checkpoint(other, to, out, force=True)
        assert not torch.equal(ecgtext_plugins.load(out).encode_ecg(ecgs()), first)
    (tmp_path / "folder" / "thesis.tex").write_text("years of work")
    shutil.copyfile(released, tmp_path / "release.pt")
    (tmp_path / "text.pt").write_text("no checkpoint")
    for to, out in (
        ("ecgtext", "folder"),
        ("fairseq-signals", "release.pt"),
        ("fairseq-signals", "text.pt"),
        ("fairseq-signals", "folder"),
    ):
        with pytest.raises(BadCheckpoint, match="no .pt file|is there and no"):
            convert_checkpoint(other, to, tmp_path / out, force=True)
    assert (tmp_path / "folder" / "thesis.tex").is_file() and (tmp_path / "text.pt").read_text() == "no checkpoint"
    with pytest.raises(BadCheckpoint, match="the checkpoint itself"):
        convert_checkpoint(path, "fairseq-signals", path, force=True)
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_a_config_beside_a_release_is_not_written_over(trained, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadCheckpoint, match="is there already"):
        convert_checkpoint(trained, "dbeta", tmp_path / "sample.pt")
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_a_failed_write_leaves_the_old_one(trained, tmp_path, monkeypatch):
    convert_checkpoint(trained, "ecgtext", tmp_path / "folder")
    before = (tmp_path / "folder" / "model.safetensors").read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space"):
        convert_checkpoint(trained, "ecgtext", tmp_path / "folder", force=True)
    assert (tmp_path / "folder" / "model.safetensors").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_folders_that_are_damaged_or_others(trained, tmp_path):
    convert_checkpoint(trained, "ecgtext", tmp_path / "folder")
    file, config = tmp_path / "folder" / "model.safetensors", tmp_path / "folder" / "config.json"
    content, text = file.read_bytes(), config.read_text()
    file.write_bytes(content[:-100])
    with pytest.raises(BadCheckpoint, match="model.safetensors is truncated or damaged"):
        ecgtext_plugins.load(tmp_path / "folder")
    file.write_bytes(content)
    for change, said in (
        ('{"model_type": "bert"}', "has format None: expected 'ecgtext'"),
        ("{", "cannot be read"),
        (json.dumps(json.loads(text) | {"family": "melp"}), "family 'melp'"),
        (json.dumps(json.loads(text) | {"format_version": 2}), "format_version 2"),
    ):
        config.write_text(change)
        with pytest.raises(BadCheckpoint, match=said):
            ecgtext_plugins.load(tmp_path / "folder")
    with pytest.raises(BadCheckpoint, match="has no .pt file"):
        ecgtext_plugins.load(tmp_path)


def test_paths_of_the_training_machine_stay_out_of_a_folder(shared, tmp_path):
    convert_checkpoint(shared / "golden" / "ecg_fm_finetuned_tiny.pt", "ecgtext", tmp_path / "folder")
    text = (tmp_path / "folder" / "config.json").read_text() + (tmp_path / "folder" / "README.md").read_text()
    assert "data/" not in text and str(shared) not in text
