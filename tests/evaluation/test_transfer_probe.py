"""Probes of transfers: a linear signal that is planted in the source's classes is found in the target's categories."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml

from ecgtext_plugins.cli.main import main
from ecgtext_plugins.errors import BadManifest, BadStore
from ecgtext_plugins.evaluation import evaluation_tasks, probe_task, transfer_probe
from ecgtext_plugins.evaluation.benchmark import benchmark_names, load_benchmark
from ecgtext_plugins.evaluation.prepared_benchmark import Prepared, prepare
from ecgtext_plugins.evaluation.probe import linear_probe
from ecgtext_plugins.evaluation.probe_result import ProbeResult
from ecgtext_plugins.evaluation.probe_task import ProbeOptions
from ecgtext_plugins.evaluation.results import read_scores
from ecgtext_plugins.evaluation.run_benchmark import label_matrix
from ecgtext_plugins.evaluation.run_evaluation import EvaluationOptions, run_evaluation
from ecgtext_plugins.evaluation.transfer_probe import (
    by_category,
    partly_taught,
    probe_findings,
    source_benchmark,
    with_source,
)
from ecgtext_plugins.recipes import recipes_root
from tests.evaluation.test_benchmark_validation import store  # noqa: F401

TRANSFERS = [name for name in benchmark_names() if name.startswith("transfer_")]
NAME = "transfer_cpsc2018_csn_corrected"
# the published table has one class of CSN in two categories, which no classifier of CSN's classes can tell apart
BLIND = {"transfer_csn_cpsc2018": {"STD", "STE"}}
PROBE = ProbeOptions(seeds=2, baselines=(), ratios=(100.0,))


class Planted(torch.nn.Module):
    """An ECG's embedding mixes its classes: its own of the source, or of each of its categories one that is taught."""

    family, config, checkpoint_sha256, sample_rate = "wav2vec2_cmsc", {"model": {}}, "aa" * 32, 500.0

    def __init__(self, benchmark, folders=()):
        super().__init__()
        self.benchmark, self.source = benchmark, source_benchmark(benchmark)
        self.stands_for = [members[0] for members in benchmark.transfer.classes.values()]
        if folders:
            source = prepare(self.source, folders, None)
            taught = dict(zip(self.source.classes, source.labels_of(source.part("train")).any(axis=0), strict=True))
            categories = benchmark.transfer.classes.values()
            self.stands_for = [max(members, key=lambda name: taught[name]) for members in categories]
        rng = np.random.default_rng(0)
        self.mix = np.linalg.qr(rng.normal(size=(48, 48)))[0][: len(benchmark.transfer.used)]

    def classes(self, manifest):
        recipe = manifest.store.corpus["recipe"]["name"]
        of = {source.recipe: (benchmark, source) for benchmark in (self.source, self.benchmark)
              for source in benchmark.sources}  # fmt: skip
        benchmark, source = of[recipe]
        labels = label_matrix(benchmark, source, manifest)
        if benchmark is self.source:
            return labels
        used = self.benchmark.transfer.used
        found = np.zeros((len(labels), len(used)), dtype=bool)
        for column, name in enumerate(self.stands_for):
            found[labels[:, column], used.index(name)] = True
        return found

    def ecgs(self, manifest):
        return (self.classes(manifest) @ self.mix).astype(np.float32)


class Noise(Planted):
    """Embeddings that know nothing."""

    def ecgs(self, manifest):
        return np.random.default_rng(len(manifest)).normal(size=(len(manifest), 5)).astype(np.float32)


@pytest.fixture(autouse=True)
def embedded(monkeypatch):
    """Let a model's own `ecgs` stand for the embedding, and train heads in one epoch of many steps."""
    asked, recipe = [], probe_task.ProbeRecipe

    def embed(model, manifest, *rest):
        asked.append((manifest.store.corpus["recipe"]["name"], manifest.path.stem))
        return model.ecgs(manifest)

    def quick(*args, **options):
        options["recipe"] = recipe(learning_rate=0.2, epochs=1, batch_size=1)
        return linear_probe(*args, **options)

    monkeypatch.setattr(evaluation_tasks, "embed_entries", embed)
    monkeypatch.setattr(probe_task, "linear_probe", quick)
    return asked


@pytest.fixture
def out(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    return tmp_path


def run(model, name, folders, out, load_untrained=None, **options):
    settings = EvaluationOptions(**{"tasks": ("zero_shot", "probe"), "probe": PROBE, "resamples": 20} | options)
    given = (model, out / "model.pt", [str(name)], folders, out, settings, load_untrained)
    return run_evaluation(*given)["benchmarks"][load_benchmark(str(name)).name]


def both(benchmark, store):  # noqa: F811
    return [store(benchmark.recipes[0]), store(source_benchmark(benchmark).recipes[0])]


def values(told):
    return {name: value for name, value in told["rows"]["model"]["100"]["per_class"].items() if value is not None}


@pytest.mark.parametrize("name", TRANSFERS)
def test_a_planted_signal_is_found(store, out, embedded, name):  # noqa: F811
    benchmark = load_benchmark(name)
    folders = both(benchmark, store)
    entry = run(Planted(benchmark, folders), name, folders, out)
    told, source = entry["tasks"]["probe"], source_benchmark(benchmark)
    found = {each: value for each, value in values(told).items() if each not in BLIND.get(name, ())}
    assert len(found) >= 2 and np.median(list(found.values())) > 0.95 and min(found.values()) > 0.6
    assert set(embedded) == {(source.recipes[0], "train"), (source.recipes[0], "valid"), (benchmark.recipes[0], "test")}
    assert told["source"]["name"] == source.name and list(told["source"]["classes"]) == benchmark.transfer.used
    scores = read_scores(out / told["scores"])
    assert scores.label_names == list(benchmark.classes) and scores.scores.shape == (entry["n"], len(benchmark.classes))
    assert list(told["figures"]["f1"]["per_class"]) == list(benchmark.classes)
    assert f"learnt on train and chosen on valid of {source.name}" in (out / "results.md").read_text()


def swapped(path, name, first, second):
    """Write a transfer with the source's classes of two categories swapped."""
    content = yaml.safe_load((recipes_root() / "manifests/benchmarks" / f"{name}.yaml").read_text())
    classes = content["transfer"]["classes"]
    classes = {each: each for each in classes} if isinstance(classes, list) else classes
    classes[first], classes[second] = classes[second], classes[first]
    content["transfer"]["classes"] = classes
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.mark.parametrize("name", ["transfer_cpsc2018_ptbxl_super", "transfer_ptbxl_super_cpsc2018", NAME])
def test_a_swapped_mapping_is_caught(store, out, name):  # noqa: F811
    benchmark = load_benchmark(name)
    folders = both(benchmark, store)
    model = Planted(benchmark, folders)
    right = values(run(model, name, folders, out)["tasks"]["probe"])
    pair = [each for each, value in right.items() if value > 0.95][:2]
    path = swapped(out / f"{name}.yaml", name, *pair)
    wrong = values(run(model, path, folders, out)["tasks"]["probe"])
    assert len(pair) == 2 and np.mean([wrong[each] for each in pair]) < 0.75
    assert all(wrong[each] == pytest.approx(right[each], abs=1e-6) for each in right if each not in pair)


def test_rows_beside_it_and_a_second_run(store, out, embedded, monkeypatch):  # noqa: F811
    benchmark = load_benchmark(NAME)

    class Measured:
        def __init__(self, manifest):
            self.values = np.random.default_rng(0).normal(size=(len(manifest), 3))

    monkeypatch.setattr(probe_task, "handcrafted_features", lambda manifest, *rest: Measured(manifest))
    probe = ProbeOptions(seeds=2, ratios=(50.0,), probes=("linear", "logistic"))
    given = (
        Planted(benchmark, both(benchmark, store)),
        NAME,
        both(benchmark, store),
        out,
        lambda seed: Noise(benchmark),
    )
    told = run(*given, probe=probe, tasks=("probe",))["tasks"]["probe"]
    assert list(told["rows"]) == ["model", "model_logistic", "random_encoder", "handcrafted"]
    means = {row: found["100"]["mean"] for row, found in told["rows"].items()}
    assert min(means["model"], means["model_logistic"]) > 0.9 > max(means["random_encoder"], means["handcrafted"])
    asked = len(embedded)
    again = run(*given, probe=probe, tasks=("probe",))["tasks"]["probe"]
    assert again == told and len(embedded) == asked


def test_only_the_targets_store(store, out, capsys):  # noqa: F811
    folder = store("merl_csn_corrected")

    class Reads(Noise):
        def encode_text(self, texts):
            return torch.ones(len(texts), 5)

    entry = run(Reads(load_benchmark(NAME)), NAME, [folder], out)
    assert list(entry["tasks"]) == ["zero_shot"]
    assert "it learns on benchmark cpsc2018, and there is no store of recipe merl_cpsc2018" in entry["skipped"]["probe"]
    assert "`ecgtext manifest build merl_cpsc2018 --raw RAW --tables" in entry["skipped"]["probe"]
    assert main(["eval", "validate", NAME, "--data", str(folder), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    (finding,) = (row for row in told["findings"] if row["kind"] == "probe")
    assert "no probe: it learns on benchmark cpsc2018: no store of recipe merl_cpsc2018" in finding["message"]
    assert finding["command"].startswith("ecgtext manifest build merl_cpsc2018 ") and not finding["error"]


def test_nothing_is_missing_with_both(store):  # noqa: F811
    benchmark = load_benchmark(NAME)
    assert probe_findings(benchmark, both(benchmark, store)) == probe_findings(load_benchmark("cpsc2018"), []) == []


def write_target(path, recipe, label_set, split, source="ptbxl_super"):
    """Write a transfer of NORM and one more class onto a split of a store."""
    classes = {"NORM": "NORM", "X": "CD" if source == "ptbxl_super" else "1AVB"}
    content = {"name": "mine", "version": 1, "description": "mine", "metric": "auroc", "split": split}
    content |= {"recipe": {recipe: {"label_set": label_set}}, "classes": classes}
    path.write_text(yaml.safe_dump(content | {"transfer": {"source": source, "classes": classes}}, sort_keys=False))
    return path


@pytest.mark.parametrize(("what", "many"), [("patients", ()), ("records", ("ptbxl",))])
def test_a_patient_or_a_signal_in_both_stores(store, out, monkeypatch, embedded, what, many):  # noqa: F811
    monkeypatch.setattr(transfer_probe, "MANY_DATASETS", many)
    path = write_target(out / "mine.yaml", "ptbxl", "super", "train")
    benchmark, folders = load_benchmark(str(path)), [store("merl_ptbxl"), store("ptbxl")]
    with pytest.raises(
        BadManifest, match=rf"benchmark mine: \d+ {what} of .*train.tsv .*--tasks zero_shot.*--allow-leaks"
    ):
        run(Noise(benchmark), path, folders, out)
    assert not embedded
    told = run(Noise(benchmark), path, folders, out, allow_leaks=True, tasks=("probe",))["tasks"]["probe"]
    assert any(note.startswith("LEAK: ") and f" {what} of " in note for note in told["notes"])
    assert "LEAK: " in (out / "results.md").read_text()
    assert any(f" {what} of " in finding.message for finding in probe_findings(benchmark, folders))


def test_a_patient_in_both_splits_of_one_store(store, out):  # noqa: F811
    path = write_target(out / "mine.yaml", "merl_cpsc2018", None, "train", source="cpsc2018")
    with pytest.raises(BadManifest, match="patients are in both|three different ones"):
        folder = [store("merl_cpsc2018")]
        run(Noise(load_benchmark(str(path))), path, folder, out, allow_leaks=True, tasks=("probe",))


def test_a_broken_source_is_refused(store, out, tmp_path, embedded):  # noqa: F811
    benchmark = load_benchmark(NAME)
    folder = shutil.copytree(store("merl_cpsc2018"), tmp_path / "stores" / "cpsc")
    path = folder / "corpus.json"
    corpus = json.loads(path.read_text())
    corpus["label_names"] = [name for name in corpus["label_names"] if "STE" not in name]
    path.write_text(json.dumps(corpus))
    with pytest.raises(BadStore, match="benchmark cpsc2018: store .* has no label"):
        run(Noise(benchmark), NAME, [store("merl_csn_corrected"), folder], out)
    assert not embedded
    (finding,) = probe_findings(benchmark, [store("merl_csn_corrected"), folder])
    assert "has no label" in finding.message and finding.command.endswith("--rebuild")


def test_a_source_without_validation_split(store, monkeypatch):  # noqa: F811
    part = Prepared.part

    def lacks(prepared, name):
        return None if (name, prepared.benchmark.name) == ("valid", "cpsc2018") else part(prepared, name)

    monkeypatch.setattr(Prepared, "part", lacks)
    benchmark = load_benchmark(NAME)
    folders = both(benchmark, store)
    (finding,) = probe_findings(benchmark, folders)
    assert "has no valid split" in finding.message
    assert "has no valid split" in with_source(prepare(benchmark, folders, None), folders).no_probe


def test_categories_by_hand():
    """Two subsets, one seed, three classes; the small subset does not teach b, and nothing of d."""
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    subsets = {"small": np.array([0, 3]), "whole": np.arange(4)}
    scores = np.array([[[[1.0, 5.0, 7.0], [-2.0, 9.0, 3.0]]], [[[1.0, 5.0, 7.0], [-2.0, 9.0, 3.0]]]])
    positives = np.array([[labels[rows].sum(axis=0)] for rows in subsets.values()])
    result = ProbeResult(
        **{"kind": "linear_probe", "names": ["a", "b", "d"], "subsets": list(subsets), "seeds": [0]},
        **{"scores": scores, "valid_scores": scores[:, :, :1], "n_positive": positives},
        n_train=np.array([[2], [4]]),
        **{"valid_macro": None, "curve": None, "chosen": None, "recipe": {}, "rows_sha256": {}, "valid_undefined": []},
    )
    groups = {"y": ("a", "b"), "x": ("d",)}
    found = by_category(result, groups, labels, subsets)
    np.testing.assert_array_equal(found.scores[0, 0], [[1.0, 7.0], [-2.0, 3.0]])  # b is not taught
    np.testing.assert_array_equal(found.scores[1, 0], [[5.0, 7.0], [9.0, 3.0]])
    np.testing.assert_array_equal(found.valid_scores[1, 0], [[5.0, 7.0]])
    np.testing.assert_array_equal(found.n_positive, [[[1, 0]], [[3, 0]]])
    assert found.names == ["y", "x"] and not found.taught[..., 1].any() and found.taught[..., 0].all()
    assert partly_taught(result, groups) == [
        "probe on small: it does not teach b; y is scored by its other source classes"
    ]
