"""Checkpoints load by an allow-list; what would run code never runs."""

import os
import pickle

import numpy as np
import pytest
import torch

from ecgtext_plugins.checkpoints.load import load_model
from ecgtext_plugins.checkpoints.safe_load import load_checkpoint_file
from ecgtext_plugins.errors import BadCheckpoint


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path):
    target = tmp_path / "executed"
    for name, save in (("zip.pt", torch.save), ("plain.pt", lambda x, p: p.write_bytes(pickle.dumps(x, 2)))):
        path = tmp_path / name
        save({"model": {}, "cfg": Malicious(target)}, path)
        with pytest.raises(BadCheckpoint, match=r"type (posix|os|nt)\.system"):
            load_checkpoint_file(path)
        with pytest.raises(BadCheckpoint):
            load_model(path)
    assert not target.exists()


def test_numpy_values_load_in_both_spellings(tmp_path):
    path = tmp_path / "numpy.pt"
    values = {"a": np.float64(1.5), "b": np.arange(3.0), "c": np.int64(4), "d": np.array([True, False])}
    torch.save(values, path)
    loaded = load_checkpoint_file(path)
    assert loaded["a"] == 1.5 and loaded["c"] == 4
    assert np.array_equal(loaded["b"], values["b"]) and np.array_equal(loaded["d"], values["d"])


def test_golden_checkpoints_of_fairseq_signals_load(shared):
    state = load_checkpoint_file(shared / "golden" / "ecg_fm_finetuned_tiny.pt")
    assert {"model", "cfg", "extra_state"} <= set(state)


@pytest.mark.parametrize("keep", [0, 10, 500, -1])
def test_truncated(tmp_path, keep):
    path = tmp_path / "checkpoint_last.pt"
    torch.save({"model": {"w": torch.arange(100.0)}}, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadCheckpoint, match=r"checkpoint_last.pt is truncated"):
        load_checkpoint_file(path)


@pytest.mark.parametrize(
    "content", [b"hello world", b"split,epoch\ntrain,1\n", b"..\nrecord_id\tn_samples\n", b"\x80\x02", b"PK"]
)
def test_a_file_that_is_no_checkpoint(tmp_path, content):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(BadCheckpoint, match="truncated or no checkpoint"):
        load_checkpoint_file(path)


def test_other_bad_files(tmp_path):
    with pytest.raises(BadCheckpoint, match="no checkpoint"):
        load_checkpoint_file(tmp_path / "none.pt")
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(BadCheckpoint, match="holds a list"):
        load_checkpoint_file(tmp_path / "list.pt")
    torch.save({"model": {}}, tmp_path / "bare.pt")
    with pytest.raises(BadCheckpoint, match="lacks cfg, task_state"):
        load_model(tmp_path / "bare.pt")
    torch.save({"model": {}, "cfg": {"model": {"_name": "transformer"}}, "task_state": {}}, tmp_path / "other.pt")
    with pytest.raises(BadCheckpoint, match="model 'transformer'"):
        load_model(tmp_path / "other.pt")
