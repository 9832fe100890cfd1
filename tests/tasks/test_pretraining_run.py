"""The stock fairseq-hydra-train on the demo corpus: what a run leaves behind, resume, refusals."""

import csv
import hashlib
import os
import signal
import subprocess
import time

import pytest
import torch

import ecgtext_plugins
from ecgtext_plugins.checkpoints.safe_load import load_checkpoint_file
from tests.tasks.training import train, training_command


def metrics_rows(folder):
    with open(folder / "metrics.csv", newline="") as handle:
        return list(csv.DictReader(handle))


SHORT = ("optimization.max_update=5", "dataset.validate_interval_updates=5", "dataset.valid_subset='valid,test'")


@pytest.fixture(scope="module")
def run(demo_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    done = train(demo_data, out, *SHORT)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def test_checkpoint_holds_every_key(run):
    from ecgtext_plugins.tasks.ecg_text_pretraining import EcgTextPretrainingConfig

    ecgtext_plugins.register_all()
    from ecgtext_plugins.criterions.dbeta import DBetaCriterionConfig
    from ecgtext_plugins.models.dbeta import DBetaModelConfig

    state = load_checkpoint_file(run / "checkpoint_last.pt")
    groups = {"task": EcgTextPretrainingConfig, "model": DBetaModelConfig, "criterion": DBetaCriterionConfig}
    for group, cls in groups.items():
        assert set(state["cfg"][group]) == set(cls.__dataclass_fields__)
    assert state["cfg"]["task"]["seed"] == 1 and state["cfg"]["task"]["save_dir"] == str(run)
    assert state["optimizer_history"][-1]["num_updates"] == 5


def test_checkpoint_loads_with_nothing_but_its_path(run, tmp_path):
    alone = tmp_path / "moved.pt"
    alone.write_bytes((run / "checkpoint_last.pt").read_bytes())
    model = ecgtext_plugins.load(alone)
    assert not model.training
    ecg = torch.randn(2, 12, model.n_samples, generator=torch.Generator().manual_seed(0))
    features = model.encode_ecg(ecg)
    assert features.shape == (2, 32) and torch.equal(features, model.encode_ecg(ecg))
    texts = ["Atrial fibrillation", "sinus rhythm with a longer report that pads the other"]
    together = model.encode_text(texts)
    assert torch.allclose(together[0], model.encode_text(["*** ATRIAL FIBRILLATION "])[0], atol=1e-6)
    assert model.sample_rate == 100
    untrained = ecgtext_plugins.load(alone, untrained_seed=3)
    assert not torch.allclose(untrained.encode_ecg(ecg), features)
    assert torch.equal(untrained.encode_ecg(ecg), ecgtext_plugins.load(alone, untrained_seed=3).encode_ecg(ecg))


def test_metrics_csv(run):
    rows = metrics_rows(run)
    training = [row for row in rows if row["split"] == "train"]
    assert [int(row["num_updates"]) for row in training] == [1, 2, 3, 4, 5]
    assert [(row["split"], row["num_updates"]) for row in rows[5:]] == [("valid", "5"), ("test", "5")]
    assert rows[5]["loss"] != rows[6]["loss"]
    weights = load_checkpoint_file(run / "checkpoint_last.pt")["cfg"]["criterion"]
    for row in rows:
        terms = sum(weights[f"{name}_weight"] * float(row[f"{name}_loss"]) for name in ("mlm", "mem", "etm", "ets"))
        assert float(row["loss"]) == pytest.approx(terms, rel=1e-4)
        assert 0 <= float(row["etm_accuracy"]) <= 1


def test_digest_of_the_training_records(run, demo_data):
    from ecgtext_plugins.store.manifest import read_manifest

    text = (run / "training_records.txt").read_text()
    manifest = read_manifest(demo_data / "manifests" / "train.tsv")
    assert text.split() == sorted(manifest.store.column("checksum")[manifest.rows])
    state = load_checkpoint_file(run / "checkpoint_last.pt")["task_state"]
    assert state["training_records_sha256"] == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("task.data=/nowhere/manifests", "no manifest /nowhere/manifests/train.tsv"),
        ("task.text_encoder=nobody/no-such-model", "text encoder 'nobody/no-such-model'"),
        ("task.negatives=/nowhere", "no table of negatives in /nowhere"),
    ],
)
def test_the_sentence_is_the_last_line(demo_data, tmp_path, monkeypatch, override, said):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = train(demo_data, tmp_path / "out", "optimization.max_update=5", override)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ecgtext: error: ") and said in last
    assert not (tmp_path / "out" / "checkpoint_last.pt").exists()


def test_a_finished_run_is_left_alone(run, demo_data):
    before = (run / "checkpoint_last.pt").read_bytes()
    done = train(demo_data, run, *SHORT)
    assert done.returncode == 0 and "nothing to do" in done.stdout + done.stderr
    assert (run / "checkpoint_last.pt").read_bytes() == before


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def test_a_run_continues_from_the_newest_whole_checkpoint(run, demo_data, tmp_path):
    """fairseq copies to checkpoint_last.pt, so that a kill can leave half of it."""
    out = tmp_path / "out"
    out.mkdir()
    whole = (run / "checkpoint_last.pt").read_bytes()
    (out / "checkpoint_1_5.pt").write_bytes(whole)
    (out / "checkpoint_last.pt").write_bytes(whole[: len(whole) // 2])
    done = train(demo_data, out, "optimization.max_update=9")
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout + done.stderr
    assert "the run continues from checkpoint_1_5.pt (5 updates)" in said and "Loaded checkpoint" in said
    assert (out / "checkpoint_last.pt.damaged").read_bytes() == whole[: len(whole) // 2]
    history = load_checkpoint_file(out / "checkpoint_last.pt")["optimizer_history"]
    assert history[-1]["num_updates"] == 9


@pytest.mark.parametrize("kind", ["malicious", "other_data"])
def test_a_run_does_not_continue_from_a_bad_checkpoint(run, demo_data, tmp_path, kind):
    out = tmp_path / "out"
    out.mkdir()
    last = out / "checkpoint_last.pt"
    if kind == "malicious":
        torch.save({"model": Malicious(tmp_path / "executed")}, last)
        said = ["holds the type", "system"]
    else:
        state = torch.load(run / "checkpoint_last.pt", weights_only=True)
        state["task_state"]["training_records_sha256"] = "0" * 64
        torch.save(state, last)
        said = ["other training records"]
    done = train(demo_data, out, "optimization.max_update=9")
    assert done.returncode == 1
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("ecgtext: error: ") and all(words in line for words in said), line
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [("criterion.ets_duplicates=keep", "criterion.ets_duplicates=keep"), ("model.mem_layer=7", "mem_layer=7")],
)
def test_values_that_do_not_fit_are_told_before_training(demo_data, tmp_path, override, said):
    done = train(demo_data, tmp_path / "out", override)
    assert done.returncode == 1 and said in done.stderr.strip().splitlines()[-1]
    assert not list((tmp_path / "out").glob("*.pt"))


def parameters(folder):
    return load_checkpoint_file(folder / "checkpoint_last.pt")["model"]


def assert_same_run(one, other):
    ours, theirs = parameters(one), parameters(other)
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []
    assert metrics_rows(one) == metrics_rows(other)


LONG = ("optimization.max_update=40", "checkpoint.save_interval_updates=9")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_between_two_saves_ends_the_same(demo_data, tmp_path, workers):
    """kill -9 in the second epoch, the same command again: parameters bit for bit, metrics.csv line for line."""
    options = (*LONG, f"dataset.num_workers={workers}")
    assert train(demo_data, tmp_path / "whole", *options).returncode == 0
    command = training_command(demo_data, tmp_path / "killed", *options)
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            rows = metrics_rows(tmp_path / "killed") if (tmp_path / "killed" / "metrics.csv").exists() else []
            if rows and rows[-1]["num_updates"] and int(rows[-1]["num_updates"]) >= 22:
                break
            time.sleep(0.02)
        assert process.poll() is None, "training ended before it could be killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    saved = load_checkpoint_file(tmp_path / "killed" / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"]
    assert 0 < saved < 40
    done = train(demo_data, tmp_path / "killed", *options)
    assert done.returncode == 0 and "Loaded checkpoint" in done.stdout + done.stderr
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
def test_workers_do_not_change_the_run(demo_data, tmp_path):
    for workers in (0, 2):
        done = train(demo_data, tmp_path / str(workers), *LONG, f"dataset.num_workers={workers}")
        assert done.returncode == 0, done.stderr[-3000:]
    assert_same_run(tmp_path / "0", tmp_path / "2")


@pytest.mark.slow
@pytest.mark.parametrize("log_format", ["json", "tqdm", "simple", "none"])
def test_every_log_format(demo_data, tmp_path, log_format):
    """The figures of each step, in fairseq's own formats, and in TensorBoard's event files beside."""
    events = tmp_path / "events"
    done = train(
        demo_data, tmp_path / "run", *SHORT, f"common.log_format={log_format}", f"common.tensorboard_logdir={events}"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    if log_format != "none":
        for name in ("ets_loss", "etm_accuracy", "text_retrieval_accuracy", "ecg_cosine", "gnorm", "ecg_per_s"):
            assert name in done.stdout + done.stderr, name
    assert list(events.rglob("events.out.tfevents.*"))
    assert metrics_rows(tmp_path / "run")
