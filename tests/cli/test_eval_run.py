"""`ecgtext eval run` as typed, with a stand-in for the model."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import ecgtext_plugins
from ecgtext_plugins.cli.main import main
from ecgtext_plugins.evaluation import baselines
from ecgtext_plugins.evaluation.benchmark import load_benchmark
from ecgtext_plugins.evaluation.results import read_scores
from ecgtext_plugins.recipes import recipes_root
from ecgtext_plugins.store.manifest import read_manifest
from tests.evaluation.tiny_models import tiny_ecg_model


@pytest.fixture
def command(demo_store, stand_in, tmp_path):
    """Return the words of a short run into `out`."""
    (tmp_path / "model.pt").write_bytes(b"weights")

    def words(*more, out="out"):
        given = ["eval", "run", str(tmp_path / "model.pt"), "--benchmarks", "demo", "--data", str(demo_store)]
        return [*given, "--out", str(tmp_path / out), "--resamples", "30", "--seeds", "2", *more]

    return words


def test_files_and_table(command, tmp_path, capsys):
    assert main(command("--tasks", "zero_shot,probe,retrieval", "--baselines", "none", "--ratios", "50,100")) == 0
    out = capsys.readouterr().out
    assert "zero-shot" in out and "linear probe, 100 %" in out and "ecg to text R@1/5/10" in out
    assert "published (papers)" in out.splitlines()[0] and str(tmp_path / "out" / "report.html") in out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(results["benchmarks"]["demo"]["tasks"]) == ["probe", "retrieval", "zero_shot"]
    for name in ("results.md", "report.html", "demo/scores.npz", "demo/scores_probe.npz"):
        assert (tmp_path / "out" / name).stat().st_size > 500
    first = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.npz")}
    assert main(command("--tasks", "zero_shot,probe,retrieval", "--baselines", "none", "--ratios", "50,100")) == 0
    assert {path: path.read_bytes() for path in first} == first


def test_json(command, capsys, stand_in):
    assert main(command("--tasks", "zero_shot", "--json", "--untrained-seed", "4")) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["checkpoint"]["untrained_seed"] == 4 and stand_in.loaded[0][1] == 4
    assert results["benchmarks"]["demo"]["tasks"]["zero_shot"]["prompt_set"] == "own"


def test_leads(command, tmp_path, capsys, monkeypatch):
    model = tiny_ecg_model(tmp_path / "weights")
    monkeypatch.setattr(ecgtext_plugins, "load", lambda path, untrained_seed=None: model)
    assert main(command("--tasks", "probe", "--leads", "12,3,1", "--baselines", "none", "--ratios", "100")) == 0
    names = ["demo", "demo_3_leads", "demo_1_lead"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == names
    results = json.loads((tmp_path / "out" / "results.json").read_text())["benchmarks"]
    means = [results[name]["tasks"]["probe"]["rows"]["model"]["100"]["mean"] for name in names]
    assert len(set(means)) == 3
    report = (tmp_path / "out" / "report.html").read_text()
    assert all(name in report for name in names)


def test_leads_of_the_recipe(command, tmp_path, monkeypatch):
    model = tiny_ecg_model(tmp_path / "weights")
    monkeypatch.setattr(ecgtext_plugins, "load", lambda path, untrained_seed=None: model)
    probe = ["--tasks", "probe", "--baselines", "none", "--ratios", "100"]
    content = yaml.safe_load((recipes_root() / "manifests/benchmarks/demo.yaml").read_text())
    path = tmp_path / "few.yaml"
    path.write_text(yaml.safe_dump(content | {"name": "few", "leads": [12, 2]}))
    for out, more, expected in (("a", [], ["few", "few_2_leads"]), ("b", ["--leads", "1"], ["few_1_lead"])):
        assert main(command("--benchmarks", str(path), *probe, *more, out=out)) == 0
        assert list(json.loads((tmp_path / out / "results.json").read_text())["benchmarks"]) == expected


def test_classifier(command, demo_store, tmp_path, capsys, monkeypatch):
    """Of a fine-tuned model by default, with the probabilities that predict writes; outputs may be named by a file."""
    model = tiny_ecg_model(tmp_path / "weights", [f"label_{place}" for place in range(12)])

    def load(path, untrained_seed=None, labels=None):
        model.labels = labels or model.labels
        return model

    monkeypatch.setattr(ecgtext_plugins, "load", load)
    classes = list(load_benchmark("demo").classes)
    (tmp_path / "names.txt").write_text("\n".join(reversed(classes)) + "\n")
    short = ["--baselines", "none", "--ratios", "100"]
    assert main(command("--tasks", "classifier")) == 1
    assert "has no head for 12 of 12 classes" in capsys.readouterr().err.splitlines()[-1]
    assert main(command(*short)) == 0
    assert "demo: no classifier: benchmark demo: the classifier has no head for 12 of" in capsys.readouterr().out
    assert main(command(*short, "--labels", str(tmp_path / "names.txt"))) == 1
    assert "holds results with option labels ['label_0'," in capsys.readouterr().err
    assert main(command(*short, "--labels", str(tmp_path / "names.txt"), "--overwrite")) == 0
    out = capsys.readouterr().out
    assert "classifier at 0.5, macro F1" in out and "no classifier" not in out
    test, table = demo_store / "manifests" / "test.tsv", tmp_path / "p.parquet"
    assert main(["predict", str(tmp_path / "model.pt"), str(test), "--out", str(table)]) == 0
    told = json.loads((tmp_path / "out" / "results.json").read_text())["benchmarks"]["demo"]["tasks"]
    assert list(told) == ["classifier", "probe"]
    scores, predicted = read_scores(tmp_path / "out" / told["classifier"]["scores"]), pq.read_table(table)
    assert scores.record_ids.tolist() == predicted["record_id"].to_pylist() and scores.label_names == classes
    assert predicted.column_names[-12:] == classes[::-1]
    expected = np.stack([predicted[name].to_numpy() for name in classes], axis=1)
    np.testing.assert_allclose(scores.scores, expected, atol=1e-6)


def test_random_encoder_beside_the_probe(command, capsys, stand_in, monkeypatch):
    seeds = []
    monkeypatch.setattr(
        baselines, "load_model", lambda path, untrained_seed, ecg_only: seeds.append(untrained_seed) or stand_in
    )
    assert main(command("--tasks", "probe", "--baselines", "random_encoder", "--json")) == 0
    rows = json.loads(capsys.readouterr().out)["benchmarks"]["demo"]["tasks"]["probe"]["rows"]
    assert list(rows) == ["model", "random_encoder"] and seeds == [0]
    assert rows["model"]["100"] == rows["random_encoder"]["100"]  # the stand-in has no weights to draw


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--tasks", "zeroshot"], "tasks zeroshot: expected different ones of zero_shot, probe, classifier, retrieval"),
        (["--weights-file", "weights.csv"], "--weights-file weights.csv: expected a benchmark with the Challenge's"),
        (["--leads", ""], "leads : expected different ones of 12, 6, 3, 2, 1"),
        (["--leads", "12,4"], "leads 12,4: expected different ones of 12, 6, 3, 2, 1"),
        (["--readers", "annotations"], "readers annotations: expected code_test among the benchmarks, not demo"),
        (["--ratios", "a"], "--ratios a: expected percentages"),
        (["--prompts", "nowhere.json"], "nowhere.json cannot be read"),
        (["--baselines", "x"], "baselines x: expected different ones of random_encoder, handcrafted"),
        (["--benchmarks", "ptbxl_super"], "benchmark ptbxl_super: no store of recipe merl_ptbxl or ptbxl"),
        (["--benchmarks", "ptbxl_supper"], "'ptbxl_supper'"),
        (["--device", "nowhere"], "device 'nowhere' cannot be used"),
    ],
)
def test_bad_usage_is_one_sentence(command, capsys, more, sentence):
    assert main(command(*more)) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("ecgtext: error: ") and sentence in lines[-1]


def test_leaks(command, capsys, demo_store, tmp_path):
    test = read_manifest(demo_store / "manifests" / "test.tsv")
    leaked = test.store.text_column("checksum").take(pa.array(test.rows[:1])).to_pylist()
    (tmp_path / "training_records.txt").write_text("\n".join(leaked) + "\n")
    assert main(command("--tasks", "zero_shot")) == 1
    assert f"the first is {test.record_id(0)} " in capsys.readouterr().err
    assert main(command("--tasks", "zero_shot", "--allow-leaks")) == 0
    assert f"LEAK: the model was trained on 1 of the records scored ({test.record_id(0)})" in capsys.readouterr().out
