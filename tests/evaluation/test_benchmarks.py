"""Benchmark recipes and users' prompts; running one on a store."""

import csv
import hashlib
import json
import re
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

import ecgtext_plugins
from ecgtext_plugins.errors import BadCheckpoint, BadManifest, BadPrompts, BadRecipe, BadStore
from ecgtext_plugins.evaluation import run_benchmark
from ecgtext_plugins.evaluation.benchmark import load_benchmark, with_prompts
from ecgtext_plugins.evaluation.metrics import auroc_by_class
from ecgtext_plugins.evaluation.run_benchmark import cut_windows, read_splits, run_zero_shot
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


@pytest.mark.parametrize(("name", "near"), [("dmeo", "demo"), ("ptbxl_supr", "ptbxl_super"), ("dmeo.yaml", "demo")])
def test_unknown_name_suggests_the_nearest_and_the_list(name, near):
    with pytest.raises(BadRecipe) as refused:
        load_benchmark(name)
    sentence = str(refused.value)
    assert sentence.startswith(f"no benchmark '{name}': ") and sentence.endswith(f"; did you mean {near}?")
    assert "`ecgtext eval ls`" in sentence and "cpsc2018" not in sentence
    with pytest.raises(BadRecipe, match="no benchmark '': .*`ecgtext eval ls` lists$"):
        load_benchmark("")


@pytest.mark.parametrize("name", ["../../evil", "/evil", "..", ".hidden", "a/b", "", "a b", "-a", "name\n", "\u00e4"])
def test_names_that_lead_out_of_the_results_folder(tmp_path, name):
    with pytest.raises(BadRecipe, match=f"has name: {re.escape(repr(name))}, expected a letter or digit"):
        load_benchmark(write(tmp_path, name=name))


@pytest.mark.parametrize("name", ["a", "2.b-c_D", "my_set"])
def test_names_of_folders(tmp_path, name):
    assert load_benchmark(write(tmp_path, name=name)).name == name


def test_notes(tmp_path):
    assert load_benchmark(write(tmp_path)).notes == ()
    assert load_benchmark(write(tmp_path, notes=["two\n lines", "one"])).notes == ("two lines", "one")
    assert "AVB and RAO/RAE" in load_benchmark("ptbxl_sub").notes[0]


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"prompt": {}}, BadRecipe, "unknown key 'prompt', expected .*; did you mean prompts"),
        ({"metric": "f1"}, BadRecipe, "metric: f1, expected one of auroc, cinc_score, accuracy"),
        ({"windows": "whole"}, BadRecipe, "unknown key 'windows', .*did you mean window?"),
        ({"window": "last"}, BadRecipe, "window: last, expected one of whole, first_2500, windows"),
        ({"version": "2"}, BadRecipe, "version: 2, expected a whole number"),
        ({"notes": "one"}, BadRecipe, "notes: 'one', expected a list of texts"),
        ({"notes": [""]}, BadRecipe, "expected a list of texts"),
        ({"prompts": {"sinus": "word " * 513}}, BadPrompts, "class 'sinus' has 513 words, expected 512 at most"),
        ({"split": "dev"}, BadRecipe, "split: dev, expected all, or some of train, valid, test"),
        ({"leads": [12, 5]}, BadRecipe, r"leads: \[12, 5\], expected different ones of 12, 6, 3, 2, 1"),
        ({"recipe": {"demo": {"labelset": "x"}}}, BadRecipe, "expected label_set and labels only"),
        ({"recipe": []}, BadRecipe, "expected a text, or {recipe: {label_set: ...}}"),
        ({"published": {"D-BETA": {"zeroshot": 1.0}}}, BadRecipe, "published: .*expected {model: {zero_shot or"),
        ({"published": {"D-BETA": {"zero_shot": 101}}}, BadRecipe, "a number from 0 to 100"),
        ({"published": {"D-BETA": {"linear_probe": {"1 %": 5}}}}, BadRecipe, "a number from 0 to 100"),
        ({"classes": ["sinus", "fib"]}, BadPrompts, "class never is in only one of classes and prompts"),
        ({"classes": ["sinus", "fib", "fib"]}, BadRecipe, "expected each class, and each code of one, once"),
        ({"classes": {"sinus": []}}, BadRecipe, "expected a class and its code or codes"),
        ({"classes": "sinus"}, BadRecipe, "classes are .sinus., expected a list of codes or"),
        ({"prompts": "expert"}, BadRecipe, "lacks classes"),
        ({"prompts": "expert", "classes": ["SR"]}, BadPrompts, "expected .*one of names, expert and a vocabulary"),
        ({"prompts": "experts", "classes": ["SR"], "vocabulary": "csn"}, BadPrompts, "did you mean expert?"),
        ({"prompts": "names", "classes": ["SR"], "vocabulary": "cns"}, BadPrompts, "did you mean csn?"),
        (
            {"prompts": "names", "classes": ["AFLT"], "vocabulary": "csn"},
            BadPrompts,
            "vocabulary csn has no code 'AFLT'",
        ),
        ({"metric": "accuracy"}, BadRecipe, "identification has no classes"),
        ({"transfer": {"source": "csn"}}, BadRecipe, r"transfer: .*expected source \(a benchmark\) and classes"),
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
    [
        ("name: a\nname: b", "key 'name' is there twice"),
        ("- a", "holds list, expected a mapping"),
        ("name: small", "lacks version, desc"),
        ("a: [", "be read as YAML"),
    ],
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
    with pytest.raises(BadPrompts, match="no.json cannot be read, for no such file is there: .*names, expert$"):
        with_prompts(load_benchmark(write(tmp_path)), tmp_path / "no.json")
    with pytest.raises(BadPrompts, match="prompts expret cannot be read, .*shipped set, .*did you mean expert?"):
        with_prompts(load_benchmark(write(tmp_path)), "expret")


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
    text = '[["sinus",["sinus rhythm"]],["fib",["atrial fibrillation","afib"]],["never",["asystole"]]]'
    assert result["prompts_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert (result["prompt_set"], result["templates"], result["window"]) == ("own", "plain", "whole")
    json.dumps(result, allow_nan=False)


def test_classes_with_several_codes_are_or_ed(store, tmp_path):
    classes = {"either": ["sinus", "more"], "fib": "fib"}
    path = write(tmp_path, classes=classes, prompts={"fib": "afib", "either": "sinus rhythm"})
    result = run_zero_shot(FakeModel(), load_benchmark(path), store.folder, "all")
    labels = np.stack([store.labels[:, 0] | store.labels[:, 3], store.labels[:, 1]], axis=1)
    expected = auroc_by_class(labels, store.signals[:, [0, 2], 0], ["either", "fib"])
    assert result["auroc"] == pytest.approx(expected.per_class) and result["positives"] == expected.n_positive
    assert result["classes"] == {"either": ["sinus", "more"], "fib": ["fib"]}


def test_label_set_and_spelling_of_a_recipe(store, tmp_path):
    """Labels called set/name, one of them otherwise than the benchmark's; the set's own manifests are read."""
    store.label_names = ["form/sinus_", "form/fib", "form/never", "more"]
    (store.folder / "manifests" / "form").mkdir()
    (store.folder / "manifests" / "form" / "test.tsv").touch()
    recipe = {"other": None, "demo": {"label_set": "form", "labels": {"sinus": "sinus_"}}}
    result = run_zero_shot(FakeModel(), load_benchmark(write(tmp_path, recipe=recipe)), store.folder)
    plain = dict(positives={"sinus": 2, "fib": int(store.labels[4:, 1].sum()), "never": 0}, n=4, split="test")
    assert {key: result[key] for key in plain} == plain
    assert (result["recipe"], result["label_set"]) == ("demo", "form")
    with pytest.raises(BadManifest, match="split 'train' of store .*: expected all or different ones of test, joined"):
        run_zero_shot(FakeModel(), load_benchmark(write(tmp_path, recipe=recipe)), store.folder, "train")


def test_first_2500_samples_are_five_seconds():
    store = FakeStore("here")
    lengths = np.array([400, 500, 900])
    cut = cut_windows(Manifest("m.tsv", store, np.arange(3), lengths), "first_2500")
    assert cut.n_samples.tolist() == [400, 500, 500] and cut.starts.tolist() == [0, 0, 0]
    whole = Manifest("m.tsv", store, np.arange(3), lengths)
    assert cut_windows(whole, "whole") is whole
    with pytest.raises(BadManifest, match="lists whole records, but the benchmark's window rule is windows"):
        cut_windows(whole, "windows")
    windows = Manifest("m.tsv", store, np.arange(3), lengths, starts=np.array([0, 5, 9]))
    assert cut_windows(windows, "windows") is windows
    for rule in ("whole", "first_2500"):
        with pytest.raises(BadManifest, match=f"lists windows, but the benchmark's window rule is {rule}"):
            cut_windows(windows, rule)


def test_first_2500_reads_no_later_sample(store, tmp_path, monkeypatch):
    path, seen = write(tmp_path, window="first_2500"), []
    store.sample_rate = 1.6  # 5 s are 8 of the 16 samples
    monkeypatch.setattr(run_benchmark, "embed_manifest", lambda model, manifest, *rest: seen.append(manifest) or ECGS)
    run_zero_shot(FakeModel(), load_benchmark(path), store.folder)
    np.testing.assert_array_equal(seen[0].signal_mv(1), store.signals[5][:, :8])


ECGS = np.eye(4, 3, dtype=np.float32)


def test_model_without_text_and_task_without_classes(store, tmp_path):
    ecg_only = SimpleNamespace(config={"model": {}}, sample_rate=100.0)
    with pytest.raises(BadCheckpoint, match="no text encoder"):
        run_zero_shot(ecg_only, load_benchmark(write(tmp_path)), store.folder)
    with pytest.raises(BadRecipe, match="physionet2021_id is one of identification"):
        run_zero_shot(FakeModel(), load_benchmark("physionet2021_id"), store.folder)


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
