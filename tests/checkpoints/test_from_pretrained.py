"""Checkpoints by path, folder and hub name."""

import json
import shutil
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch

import ecgtext_plugins
from ecgtext_plugins.checkpoints.convert import convert_checkpoint
from ecgtext_plugins.checkpoints.locate import locate_checkpoint
from ecgtext_plugins.errors import BadCheckpoint
from tests.checkpoints.tiny import ecgs, save_released, tiny_dbeta


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache in the place of the user's."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_path_is_that_file(released):
    assert locate_checkpoint(released) == released
    with torch.inference_mode():
        features = ecgtext_plugins.from_pretrained(str(released), ecg_only=True).encode_ecg(ecgs())
    assert torch.equal(features, ecgtext_plugins.load(released).encode_ecg(ecgs()))


def test_a_folder_with_its_config(text_folder, tmp_path):
    model = tiny_dbeta(text_folder, encoder_attention_heads=8)
    save_released(tmp_path / "any_name.pt", model)
    (tmp_path / "config.json").write_text(json.dumps({"model": {"encoder_attention_heads": 8}}))
    loaded = ecgtext_plugins.from_pretrained(tmp_path, text_encoder=text_folder)
    with torch.inference_mode():
        assert torch.equal(loaded.encode_ecg(ecgs()), model.encode_ecg(ecgs()))
    assert loaded.encode_text(["sinus rhythm"]).shape == (1, 64)


def test_which_file_of_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(BadCheckpoint, match="has no .pt file"):
        locate_checkpoint(tmp_path / "a")
    for name, chosen in (("x.pt", "x.pt"), ("checkpoint_last.pt", "checkpoint_last.pt"), ("checkpoint_best.pt",) * 2):
        (tmp_path / "a" / name).write_bytes(b"")
        assert locate_checkpoint(tmp_path / "a").name == chosen
    for name in ("checkpoint_last.pt", "checkpoint_best.pt"):
        (tmp_path / "a" / name).rename(tmp_path / "a" / f"{name[:-3]}_2.pt")
    with pytest.raises(BadCheckpoint, match=r"has 3 .pt files \(checkpoint_best_2.pt, .*give the file's path"):
        locate_checkpoint(tmp_path / "a")


@pytest.mark.parametrize(
    "name", ["nowhere/at/all", "./nowhere", "/nowhere", "nowhere.pt", "runs/nowhere.pt", "nowhere"]
)
def test_neither_path_nor_name(name, hub):
    with pytest.raises(BadCheckpoint, match=f"no checkpoint {name}"):
        ecgtext_plugins.from_pretrained(name)


def test_a_hub_name_without_network(hub, monkeypatch):
    def unreachable(*args, **kwargs):
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    with pytest.raises(BadCheckpoint, match=r"cannot be reached \(ConnectionError\).*hf download owner/name"):
        ecgtext_plugins.from_pretrained("owner/name")


def test_a_hub_name_is_fetched_with_its_config(hub, released, tmp_path, monkeypatch):
    files = ["README.md", "config.json", "checkpoint_best.pt", "old/checkpoint_last.pt"]
    info = SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in files])
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, name, timeout: info)
    fetched = []

    def download(name, file):
        fetched.append((name, file))
        (tmp_path / "snapshot").mkdir(exist_ok=True)
        if file == "config.json":
            (tmp_path / "snapshot" / file).write_text('{"model": {"encoder_attention_heads": 2}}')
        else:
            shutil.copyfile(released, tmp_path / "snapshot" / file)
        return str(tmp_path / "snapshot" / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    loaded = ecgtext_plugins.from_pretrained("owner/name", ecg_only=True)
    assert fetched == [("owner/name", "config.json"), ("owner/name", "checkpoint_best.pt")]
    assert torch.equal(loaded.encode_ecg(ecgs()), ecgtext_plugins.load(released).encode_ecg(ecgs()))


def test_a_cached_hub_name_needs_no_network(hub, released, monkeypatch):
    repository = hub / "models--owner--name"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    shutil.copyfile(released, snapshot / "checkpoint_best.pt")
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", None)
    assert locate_checkpoint("owner/name") == snapshot / "checkpoint_best.pt"


def test_a_hub_name_of_a_folder_of_ours(hub, trained, tmp_path, monkeypatch):
    convert_checkpoint(trained, "ecgtext", tmp_path / "folder")
    files = [str(path.relative_to(tmp_path / "folder")) for path in (tmp_path / "folder").rglob("*") if path.is_file()]
    info = SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in [*files, "other/model.bin"]])
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, name, timeout: info)

    def download(name, file):
        target = tmp_path / "snapshot" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        return str(shutil.copyfile(tmp_path / "folder" / file, target))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    loaded, whole = ecgtext_plugins.from_pretrained("owner/name"), ecgtext_plugins.load(trained)
    assert torch.equal(loaded.encode_ecg(ecgs()), whole.encode_ecg(ecgs()))
    assert torch.equal(loaded.encode_text(["sinus rhythm"]), whole.encode_text(["sinus rhythm"]))
    assert not (tmp_path / "snapshot" / "other").exists() and not (tmp_path / "snapshot" / "README.md").exists()


def test_a_cached_folder_of_ours_needs_no_network(hub, trained, monkeypatch):
    repository = hub / "models--owner--name"
    convert_checkpoint(trained, "ecgtext", repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", None)
    found = locate_checkpoint("owner/name")
    assert found == repository / "snapshots" / ("a" * 40) / "model.safetensors"
    assert ecgtext_plugins.from_pretrained("owner/name").family == "dbeta"
