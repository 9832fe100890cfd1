"""ECG-FM's recipes on a record store: pretraining, diagnosis and identification, resumed, with workers, on two."""

from pathlib import Path

import pytest
import torch

from ecgtext_plugins.checkpoints.safe_load import load_checkpoint_file
from ecgtext_plugins.cli.main import main
from ecgtext_plugins.recipes import find_recipe
from tests.downloads import ptbxl
from tests.tasks.ecg_fm_training import (
    assert_same_run,
    command,
    killed,
    last_line,
    metrics_rows,
    on_two,
    run,
    trained,
)

WINDOWS = "task.segment_samples=500"
FAST = "optimization.lr=[1e-3]"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A demo store with manifests of identification, at 100 Hz."""
    top = tmp_path_factory.mktemp("store")
    recipe = top / "recipe.yaml"
    recipe.write_text(find_recipe("demo").read_text().replace("identification: false", "identification: true"))
    assert main(["demo-corpus", str(top / "raw"), "--records", "120", "--seed", "3", "--workers", "1"]) == 0
    build = ["manifest", "build", str(recipe), "--raw", str(top / "raw"), "--dest", str(top / "data")]
    assert main([*build, "--workers", "1"]) == 0
    return top / "data"


def manifests(store: Path, recipe: str) -> Path:
    return store / "manifests" / ("identification" if recipe == "identification" else "")


def best(folder: Path) -> dict:
    return load_checkpoint_file(folder / "checkpoint_best.pt")


def test_diagnosis_keeps_the_best_macro_auroc(store, tmp_path):
    """Of a validation after each epoch, on records cut in windows; labels are the store's."""
    state = trained("diagnosis", manifests(store, "diagnosis"), tmp_path, WINDOWS, FAST, "optimization.max_epoch=3")
    assert state["model"]["proj.weight"].shape == (12, 48)
    assert state["task_state"]["target_labels"][:2] == ["sinus_rhythm", "sinus_bradycardia"]
    assert state["task_state"]["sample_rate"] == 100 and state["task_state"]["n_samples"] == 500
    rows = [row for row in metrics_rows(tmp_path) if row["split"] == "valid"]
    figures = [float(row["macro_auroc"]) for row in rows]
    assert len(figures) == 3 and all(0 <= figure <= 1 for figure in figures)
    kept = best(tmp_path)["extra_state"]
    assert kept["best"] == pytest.approx(max(figures), abs=1e-4)
    next_epoch = kept["train_iterator"]["epoch"]
    assert figures[next_epoch - 2] == max(figures)


@pytest.mark.slow
def test_pretraining_and_identification(store, tmp_path):
    state = trained(
        "pretraining",
        manifests(store, ""),
        tmp_path / "p",
        WINDOWS,
        "optimization.max_epoch=1",
        "task.min_sample_size=9",
    )
    assert {"mask_emb", "quantizer.vars", "final_proj.weight"} <= state["model"].keys()
    assert all(torch.isfinite(value).all() for value in state["model"].values())
    terms = ("loss_0", "loss_1", "loss_2", "loss_3")
    for row in metrics_rows(tmp_path / "p"):
        assert float(row["loss"]) == pytest.approx(sum(float(row[term]) for term in terms), rel=1e-4)
    options = ("optimization.max_epoch=2", f"model.encoder_path={tmp_path / 'p' / 'checkpoint_last.pt'}")
    state = trained("identification", manifests(store, "identification"), tmp_path / "i", WINDOWS, *options)
    assert state["model"]["kernel"].shape[1] == 48
    rows = [row for row in metrics_rows(tmp_path / "i") if row["split"] == "valid"]
    assert [row["num_updates"] for row in rows] and all(0 <= float(row["accuracy"]) <= 1 for row in rows)
    kept = best(tmp_path / "i")["extra_state"]["best"]
    assert kept == pytest.approx(max(float(row["accuracy"]) for row in rows), abs=1e-4)


@pytest.mark.slow
def test_label_sets_of_a_store(tmp_path):
    ptbxl.write_download(tmp_path / "raw", 40)
    build = ["manifest", "build", "ptbxl", "--raw", str(tmp_path / "raw"), "--dest", str(tmp_path / "data")]
    assert main([*build, "--workers", "1"]) == 3  # whole, but smaller than the recipe expects
    folder = tmp_path / "data" / "manifests"
    options = ("optimization.max_epoch=1", "dataset.disable_validation=true", "task.segment_samples=null")
    state = trained("diagnosis", folder, tmp_path / "chosen", "task.label_set=super", *options)
    names = state["task_state"]["target_labels"]
    assert len(names) == 5 and all(name.startswith("super/") for name in names)
    assert state["model"]["proj.weight"].shape[0] == 5
    done = run(command("diagnosis", folder, tmp_path / "none", "task.label_set=supper", *options))
    assert done.returncode == 1 and "no labels of the set supper" in last_line(done) and "super" in last_line(done)


LONG = ("checkpoint.save_interval_updates=7", "optimization.max_update=26", FAST, WINDOWS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "workers"), [("pretraining", 0), ("pretraining", 2), ("diagnosis", 2), ("identification", 0)]
)
def test_killed_between_two_saves_ends_the_same(store, tmp_path, recipe, workers):
    options = (*LONG, f"dataset.num_workers={workers}", "optimization.max_epoch=0")
    words = [manifests(store, recipe), tmp_path / "whole", *options]
    trained(recipe, *words)
    words[1] = tmp_path / "killed"
    killed(command(recipe, *words), words[1], 17)
    saved = load_checkpoint_file(words[1] / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"]
    assert 0 < saved < 26
    done = run(command(recipe, *words))
    assert done.returncode == 0 and "Loaded checkpoint" in done.stdout + done.stderr
    assert_same_run(tmp_path / "whole", words[1])


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["pretraining", "diagnosis", "identification"])
def test_workers_do_not_change_the_run(store, tmp_path, recipe):
    for workers in (0, 2):
        trained(recipe, manifests(store, recipe), tmp_path / str(workers), *LONG, f"dataset.num_workers={workers}")
    assert_same_run(tmp_path / "0", tmp_path / "2")


NO_DROPOUT = [f"model.{name}=0.0" for name in ("dropout", "attention_dropout", "activation_dropout", "dropout_input")]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["pretraining", "diagnosis"])
def test_two_processes_train_as_one_that_sees_both_batches(store, tmp_path, recipe):
    """All of the training data in one update: parameters after it, gradients' norm and figures of a validation."""
    options = [WINDOWS, FAST, *NO_DROPOUT, "optimization.max_update=1", "checkpoint.save_interval_updates=1"]
    options += ["dataset.validate_interval_updates=1", "optimizer.eps=1e-3"]
    options += ["dataset.required_batch_size_multiple=1", "dataset.disable_validation=false"]
    if recipe == "pretraining":  # codes are drawn from torch's generator
        options += ["model.dropout_features=0.0", "model.quantize_targets=false", "criterion.all_gather=true"]
    data = manifests(store, recipe)
    count = 97 if recipe == "pretraining" else 194  # pairs of windows, or windows
    one = trained(recipe, data, tmp_path / "one", *options, f"dataset.batch_size={count}")["model"]
    launcher = "dbeta/pretraining/run_config=torchrun"
    options += [launcher, f"dataset.batch_size={(count + 1) // 2}"]
    done = run(on_two(command(recipe, data, tmp_path / "two", *options)))
    assert done.returncode == 0, done.stderr[-3000:]
    two = load_checkpoint_file(tmp_path / "two" / "checkpoint_last.pt")["model"]
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.allclose(two[name], value, atol=1e-6), name
    pairs = list(zip(metrics_rows(tmp_path / "one"), metrics_rows(tmp_path / "two"), strict=True))
    assert [row["split"] for row, _ in pairs] == ["train", "valid"]
    for ours, theirs in pairs:
        names = ("loss", "gnorm", "macro_auroc", "macro_auprc", "em_accuracy", "f1", "accuracy")
        for name in (name for name in names if ours.get(name)):
            assert float(theirs[name]) == pytest.approx(float(ours[name]), rel=2e-4), (ours["split"], name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "overrides", "said"),
    [
        ("diagnosis", ["model.num_labels=17"], ["model.num_labels=17", "the data has 12 labels"]),
        (
            "pretraining",
            ["task.leads_to_load=\"__import__('os').getcwd()\""],
            ["task.leads_to_load", "__import__", "expected lead names"],
        ),
    ],
)
def test_bad_options_end_the_command_with_one_sentence(store, tmp_path, recipe, overrides, said):
    done = run(command(recipe, manifests(store, recipe), tmp_path / "out", WINDOWS, *overrides))
    assert done.returncode == 1 and last_line(done).startswith("ecgtext: error: ")
    assert all(words in last_line(done) for words in said), last_line(done)
    assert not list((tmp_path / "out").glob("*.pt"))
