"""`ecgtext convert`: what it prints, writes and refuses."""

import json
import os
from pathlib import PurePosixPath

import pytest
import torch

import ecgtext_plugins
from ecgtext_plugins.cli.main import main
from tests.checkpoints.tiny_ecg_fm import save_signals, tiny_network

CLASSIFIER = "ecg_transformer_classifier"


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.fixture
def checkpoint(tmp_path):
    return save_signals(tmp_path / "a.pt", tiny_network(CLASSIFIER), CLASSIFIER)


def convert(*words):
    return main(["convert", *map(str, words)])


def test_to_a_folder_with_labels(checkpoint, tmp_path, capsys):
    (tmp_path / "labels.txt").write_text("one\ntwo\nthree\n")
    out = tmp_path / "folder"
    assert convert(checkpoint, "--to", "ecgtext", "--out", out, "--labels", tmp_path / "labels.txt") == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{out}: {CLASSIFIER} as ecgtext, ") and "label_0" not in told
    loaded = ecgtext_plugins.from_pretrained(out)
    assert loaded.labels == ["one", "two", "three"]
    card = (out / "README.md").read_text()
    assert "1. two" in card and "500 Hz" in card and loaded.config["model"]["_name"] == CLASSIFIER


def test_json(checkpoint, tmp_path, capsys):
    assert convert(checkpoint, "--to", "fairseq-signals", "--out", tmp_path / "b.pt", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (
        result["family"] == CLASSIFIER
        and result["left"] == {}
        and result["tensors"] == len(tiny_network(CLASSIFIER).state_dict())
    )
    assert any("label_0 to label_2" in note for note in result["notes"])


def test_inspect(checkpoint, capsys):
    assert convert("--inspect", checkpoint) == 0
    told = capsys.readouterr().out
    for line in ("layout  fairseq-signals", f"family  {CLASSIFIER}", "encoder_layers  3", "num_labels  3"):
        key, value = line.split("  ")
        assert any(row.split(maxsplit=1) == [key, value] for row in told.splitlines()), line
    assert convert("--inspect", checkpoint, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tensors"] == len(tiny_network(CLASSIFIER).state_dict())
    assert found["parameters"] == sum(value.numel() for value in tiny_network(CLASSIFIER).state_dict().values())
    assert found["sizes"]["encoder_layers"] == 3 and found["training"]["model"]["_name"] == CLASSIFIER


def test_inspect_of_a_family_that_is_not_known(tmp_path, capsys):
    torch.save({"model": {"w": torch.zeros(3)}, "cfg": {"model": {"_name": "transformer"}}}, tmp_path / "a.pt")
    assert convert("--inspect", tmp_path / "a.pt", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["family"] is None and found["parameters"] == 3 and "lacks task_state" in found["problem"]
    assert convert(tmp_path / "a.pt", "--to", "ecgtext", "--out", tmp_path / "b") == 1
    assert not (tmp_path / "b").exists()


def test_keys_that_do_not_fit_are_a_table(checkpoint, tmp_path, capsys):
    state = torch.load(checkpoint, weights_only=True)
    del state["model"]["proj.bias"]
    torch.save(state, checkpoint)
    assert convert(checkpoint, "--to", "ecgtext", "--out", tmp_path / "b") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].split() == ["problem", "key", "in", "the", "file", "expected"]
    assert lines[1].split()[:2] == ["missing", "proj.bias"]
    assert lines[-1].startswith("ecgtext: error: checkpoint ") and len(lines) == 3
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.pt"]


@pytest.mark.parametrize("words", [["--inspect", "a.pt"], ["a.pt", "--to", "ecgtext", "--out", "b"]])
def test_what_would_run_code_never_runs(checkpoint, tmp_path, capsys, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    state = torch.load(checkpoint, weights_only=True)
    torch.save(state | {"extra_state": Malicious(tmp_path / "executed")}, checkpoint)
    assert convert(*words) == 1
    assert ".system, which could run code" in capsys.readouterr().err
    assert convert(*words, "--allow-type", "os.system") == 1  # torch itself refuses that module
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_allow_type(checkpoint, tmp_path, capsys):
    state = torch.load(checkpoint, weights_only=True)
    torch.save(state | {"extra_state": PurePosixPath("/x")}, checkpoint)
    words = (checkpoint, "--to", "ecgtext", "--out", tmp_path / "b")
    assert convert(*words) == 1
    assert "--allow-type pathlib.PurePosixPath" in capsys.readouterr().err
    assert convert(*words, "--allow-type", "pathlib.PurePosixPath") == 0
    assert ecgtext_plugins.load(tmp_path / "b").family == CLASSIFIER


@pytest.mark.parametrize("keep", [0, 10, 3000, -1])
def test_truncated(checkpoint, tmp_path, capsys, keep):
    checkpoint.write_bytes(checkpoint.read_bytes()[:keep])
    for words in (["--inspect", checkpoint], [checkpoint, "--to", "ecgtext", "--out", tmp_path / "b"]):
        assert convert(*words) == 1
        assert "is truncated or no checkpoint" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize(
    "words", [[], ["a.pt"], ["a.pt", "--to", "ecgtext"], ["a.pt", "--inspect", "a.pt"], ["a.pt", "--to", "onnx"]]
)
def test_wrong_usage(words):
    with pytest.raises(SystemExit) as stop:
        convert(*words)
    assert stop.value.code == 2
