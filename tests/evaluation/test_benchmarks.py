"""Benchmark recipes and users' prompts; running one on a store."""

import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import ecgtext_plugins
from ecgtext_plugins.errors import BadManifest, BadPrompts, BadRecipe, BadStore
from ecgtext_plugins.evaluation import run_benchmark
from ecgtext_plugins.evaluation.benchmark import load_benchmark, with_prompts
from ecgtext_plugins.evaluation.metrics import auroc_by_class
from ecgtext_plugins.evaluation.run_benchmark import read_splits, run_zero_shot
from ecgtext_plugins.store.manifest import Manifest

VALUES = {
    "name": "small",
    "version": 2,
    "description": "three classes",
    "recipe": "demo",
    "split": "test",
    "metric": "auroc",
    "prompts": {"sinus": "sinus rhythm", "fib": ["atrial fibrillation", "afib"], "never": "asystole"},
}
SPLITS = {"train": [0, 1, 2], "valid": [3], "test": [4, 5, 6, 7]}


def write(tmp_path, **changes):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(VALUES | changes, sort_keys=False))
    return str(path)


@pytest.mark.parametrize("name", ["demo", "physionet2021_scored"])
def test_shipped_benchmarks_load(name):
    benchmark = load_benchmark(name)
    assert benchmark.name == name and benchmark.split == "test"


def test_scored_classes_are_those_of_the_code_table():
    """The 26 classes, their keys and names follow from the table that the reader uses."""
    table = Path(ecgtext_plugins.__file__).parent / "corpora" / "tables" / "snomed_ct.csv"
    with open(table, newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["scored"] == "yes"]
    abbreviation = {row["code"]: row["abbreviation"] for row in rows}
    expected = defaultdict(list)
    for row in rows:
        expected[abbreviation[row["merged_with"] or row["code"]]].append(row["name"].lower())
    expected["QAb"] = ["q wave abnormal"]  # "qwave abnormal" in the table
    assert load_benchmark("physionet2021_scored").prompts == dict(expected) and len(expected) == 26


def test_unknown_name_lists_the_shipped_ones(monkeypatch):
    with pytest.raises(BadRecipe, match="no recipe 'demos'.*demo, physionet2021_scored"):
        load_benchmark("demos")


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"prompt": {}}, BadRecipe, "unknown key 'prompt', expected .*; did you mean prompts"),
        ({"metric": "f1"}, BadRecipe, "metric: f1, expected one of auroc"),
        ({"prompts": {}}, BadPrompts, "expected {class: text or list of texts}"),
        ({"prompts": {"sinus": ""}}, BadPrompts, "prompt of class 'sinus' is"),
        ({"prompts": {"sinus": []}}, BadPrompts, "prompt of class 'sinus' is"),
        ({"prompts": {"sinus": ["x", 3]}}, BadPrompts, "prompt of class 'sinus' is"),
        ({"prompts": {"sinus": None}}, BadPrompts, "prompt of class 'sinus' is"),
    ],
)
def test_bad_recipes(tmp_path, changes, error, sentence):
    with pytest.raises(error, match=sentence):
        load_benchmark(write(tmp_path, **changes))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("- a", "holds list, expected a mapping"), ("name: small", "lacks version, desc"), ("a: [", "be read as YAML")],
)
def test_bad_yaml(tmp_path, text, sentence):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(BadRecipe, match=sentence):
        load_benchmark(str(path))


def prompts_file(tmp_path, value):
    path = tmp_path / "prompts.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_own_prompts_replace_in_the_benchmarks_order(tmp_path):
    own = {"never": ["flat line", "asystole"], "fib": "af", "sinus": "normal"}
    benchmark = with_prompts(load_benchmark(write(tmp_path)), prompts_file(tmp_path, own))
    assert benchmark.prompts == {"sinus": ["normal"], "fib": ["af"], "never": ["flat line", "asystole"]}
    assert list(benchmark.prompts) == ["sinus", "fib", "never"]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            {"sinuss": "x"},
            "class 'sinuss', which benchmark small does not have; its classes are sinus, fib, never; did you mean sin",
        ),
        ({"sinus": "x"}, "lack 2 of the 3 classes of benchmark small: fib, never; add a text for each"),
        ({"sinus": 3, "fib": "x", "never": "x"}, "prompt of class 'sinus' is"),
        (["sinus"], "are list, expected"),
        ("{", "cannot be read as JSON"),
        ('{"sinus": "a", "sinus": "b"}', "class 'sinus' occurs twice"),
    ],
)
def test_bad_prompts(tmp_path, value, sentence):
    with pytest.raises(BadPrompts, match=sentence):
        with_prompts(load_benchmark(write(tmp_path)), prompts_file(tmp_path, value))


def test_missing_prompts_file(tmp_path):
    with pytest.raises(BadPrompts, match="no.json cannot be read"):
        with_prompts(load_benchmark(write(tmp_path)), tmp_path / "no.json")


class FakeModel(torch.nn.Module):
    sample_rate, config, checkpoint_sha256 = 100.0, {"model": {}}, "ff" * 32

    def encode_ecg(self, ecg):
        return ecg[:, :3, 0]

    def encode_text(self, texts):
        known = {
            "sinus rhythm": [1.0, 0, 0],
            "atrial fibrillation": [0, 1.0, 0],
            "afib": [0, 0, 1.0],
            "asystole": [0.0] * 3,
        }
        return torch.tensor([known[text] for text in texts])


class FakeStore:
    fingerprint, sample_rate = "ee" * 32, 100.0
    label_names = ["sinus", "fib", "never", "more"]

    def __init__(self, folder):
        self.folder, self.corpus = folder, {"recipe": {"name": "demo"}}
        rng = np.random.default_rng(0)
        self.signals, self.labels = rng.normal(size=(8, 12, 16)).astype(np.float32), rng.random((8, 4)) < 0.5
        self.labels[:, 2] = False
        self.labels[4:, 0] = [True, False, True, False]

    def signal_mv(self, row):
        return self.signals[row]

    def column(self, name):
        return np.array([f"r{row}" for row in range(8)], dtype=object)

    def label_matrix(self, rows, names):
        return self.labels[np.asarray(rows)][:, [self.label_names.index(name) for name in names]]


@pytest.fixture
def store(tmp_path, monkeypatch):
    store = FakeStore(tmp_path / "data")
    (store.folder / "manifests").mkdir(parents=True)
    for name in SPLITS:
        (store.folder / "manifests" / f"{name}.tsv").touch()

    def read_manifest(path):
        rows = np.array(SPLITS[path.stem])
        return Manifest(path, store, rows, n_samples=np.full(len(rows), 16))

    monkeypatch.setattr(run_benchmark, "read_manifest", read_manifest)
    monkeypatch.setattr(run_benchmark.RecordStore, "open", lambda folder: store)
    return store


@pytest.mark.parametrize(
    ("split", "rows"), [(None, [4, 5, 6, 7]), ("all", list(range(8))), ("valid,train", [3, 0, 1, 2])]
)
def test_result_equals_the_parts_done_by_hand(store, tmp_path, split, rows):
    result = run_zero_shot(FakeModel(), load_benchmark(write(tmp_path)), store.folder, split)
    signals = store.signals[rows][:, :3, 0]
    scores = np.stack([signals[:, 0], (signals[:, 1] + signals[:, 2]) / 2, np.zeros(len(rows))], axis=1)
    expected = auroc_by_class(store.labels[rows][:, :3], scores, ["sinus", "fib", "never"])
    defined = {name: value for name, value in expected.per_class.items() if name not in expected.undefined}
    assert {name: value for name, value in result["auroc"].items() if value is not None} == pytest.approx(defined)
    assert result["macro_auroc"] == pytest.approx(expected.macro)
    assert result["auroc"]["never"] is None and "never" in result["undefined"]
    assert result["n"] == len(rows) and result["split"] == (split or "test")
    assert result["benchmark"] == {"name": "small", "version": 2}
    assert result["checkpoint_sha256"] == "ff" * 32 and result["store_fingerprint"] == "ee" * 32
    assert result["prompts"]["fib"] == ["atrial fibrillation", "afib"]
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize("split", ["", "tests", "test,test", "train,,test", "all,test"])
def test_bad_splits(store, split):
    with pytest.raises(BadManifest, match="expected all or different ones of train, valid, test, joined by commas"):
        read_splits(store, split)


def test_store_of_another_recipe(store, tmp_path):
    with pytest.raises(BadStore, match="built by recipe demo, but benchmark small is defined on other"):
        run_zero_shot(FakeModel(), load_benchmark(write(tmp_path, recipe="other")), store.folder)


def test_class_that_the_store_does_not_know(store, tmp_path):
    path = write(tmp_path, prompts={"sinnus": "sinus rhythm"})
    with pytest.raises(BadPrompts, match="class 'sinnus', which store .* does not have; .*did you mean sinus"):
        run_zero_shot(FakeModel(), load_benchmark(path), store.folder)
