"""Configs of argparse and omegaconf in checkpoints: read as plain values, and neither library runs."""

import argparse
import os
import subprocess
import sys
from pathlib import PurePosixPath

import pytest
import torch
from omegaconf import OmegaConf

from ecgtext_plugins.checkpoints.inert_types import StandIn, plain
from ecgtext_plugins.checkpoints.safe_load import load_checkpoint_file, types_by_name
from ecgtext_plugins.errors import BadCheckpoint, BadConfig

VALUES = {"model": {"a": [1, 2.5, {"b": None}], "c": "x", "d": True, "link": "${model.c}", "none": "???", "e": {}}}
READ = "import sys; from ecgtext_plugins.checkpoints.safe_load import load_checkpoint_file as read; "
READ += "print(read(sys.argv[1])['cfg']['model']['a'], 'omegaconf' in sys.modules)"


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def saved(path, **state):
    torch.save(state, path)
    return path


def test_omegaconf(tmp_path):
    path = saved(tmp_path / "a.pt", cfg=OmegaConf.create(VALUES), model={"w": torch.ones(2)}, more=[1, (2, 3)])
    loaded = load_checkpoint_file(path)
    assert loaded["cfg"] == VALUES and type(loaded["cfg"]) is dict and loaded["more"] == [1, (2, 3)]
    assert torch.equal(loaded["model"]["w"], torch.ones(2))


def test_omegaconf_is_not_imported(tmp_path):
    path = saved(tmp_path / "a.pt", cfg=OmegaConf.create(VALUES))
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True)
    assert done.stdout.strip() == "[1, 2.5, {'b': None}] False", done.stderr[-2000:]


def test_namespaces(tmp_path):
    arguments = argparse.Namespace(arch="wav2vec2", inner=argparse.Namespace(a=1), several=(argparse.Namespace(b=2),))
    loaded = load_checkpoint_file(saved(tmp_path / "a.pt", args=arguments))
    assert loaded["args"] == {"arch": "wav2vec2", "inner": {"a": 1}, "several": ({"b": 2},)}


@pytest.mark.parametrize(
    "wrapped", [lambda x: argparse.Namespace(x=x), lambda x: OmegaConf.create({"x": x}, flags={"allow_objects": True})]
)
def test_what_would_run_code_inside_them_is_refused(tmp_path, wrapped):
    target = tmp_path / "executed"
    path = saved(tmp_path / "a.pt", cfg=wrapped(Malicious(target)))
    with pytest.raises(BadCheckpoint, match=r"type (posix|os|nt)\.system, which could run code"):
        load_checkpoint_file(path)
    assert not target.exists()


def test_interpolations_are_texts(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "told")
    path = saved(tmp_path / "a.pt", cfg=OmegaConf.create({"a": "${oc.env:SECRET}"}))
    assert load_checkpoint_file(path)["cfg"] == {"a": "${oc.env:SECRET}"}


def test_other_types_are_refused_with_the_flag_that_allows_them(tmp_path):
    path = saved(tmp_path / "a.pt", cfg={"save_dir": PurePosixPath("/x")})
    with pytest.raises(BadCheckpoint, match="type pathlib.PurePosixPath, .* --allow-type pathlib.PurePosixPath"):
        load_checkpoint_file(path)
    allowed = types_by_name(["pathlib.PurePosixPath"])
    assert load_checkpoint_file(path, allowed)["cfg"]["save_dir"] == PurePosixPath("/x")


@pytest.mark.parametrize("name", ["nothing_here.Name", "pathlib.Nothing", "Name", ""])
def test_names_of_types_that_are_none(name):
    with pytest.raises(BadConfig, match="expected module.Name"):
        types_by_name([name])


def test_a_stand_in_calls_nothing_that_it_is_given():
    called = []
    stand_in = StandIn(lambda: called.append(1), key=lambda: called.append(2))
    stand_in.__setstate__({"_content": lambda: called.append(3)})
    assert plain(stand_in) is None and not called


def test_containers_that_hold_each_other(tmp_path):
    inside = argparse.Namespace()
    inside.itself = inside
    path = saved(tmp_path / "a.pt", args=inside)
    with pytest.raises(BadCheckpoint):
        load_checkpoint_file(path)
