"""`ecgtext eval compare` as typed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from ecgtext_plugins.cli.main import main
from ecgtext_plugins.evaluation.results import Scores, read_results, read_scores, write_results, write_scores


@pytest.fixture
def runs(tmp_path):
    """Two runs of a benchmark: b's scores are a's with half of the noise."""
    rng = np.random.default_rng(0)
    labels = rng.random((60, 2)) < 0.5
    noise = rng.normal(size=labels.shape)
    ids = np.array([f"r{place}" for place in range(60)])
    for name, share in (("a", 2.0), ("b", 1.0)):
        given = (ids, np.zeros(60, dtype=np.int64), np.arange(60) // 2, labels, ["x", "y"], labels + share * noise)
        write_scores(tmp_path / name / "demo" / "scores.npz", Scores(*given, "zero_shot"))
        entry = {"tasks": {"zero_shot": {"scores": "demo/scores.npz", "prompts_sha256": "0a"}, "retrieval": {}}}
        entry |= {"version": 1, "leaked": [], "store_fingerprint": "f" * 64}
        results = {"format": 1, "config": {"templates": None, "device": "cpu"}, "code_sha256": "c" * 64}
        results |= {"checkpoint": {"path": f"{name}.pt", "sha256": name * 64}, "benchmarks": {"demo": entry}}
        write_results(tmp_path / name, results)
    return tmp_path / "a", tmp_path / "b"


def compare(capsys, *words):
    assert main(["eval", "compare", *map(str, words), "--resamples", "200", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_with_its_copy_differs_by_nothing(runs, capsys, tmp_path):
    shutil.copytree(runs[0], tmp_path / "copy")
    compared = compare(capsys, runs[0], tmp_path / "copy")
    assert compared["notes"] == []
    for told in compared["comparisons"]:
        (found,) = told["differences"]
        assert found["difference"] == 0 and found["interval"] == [0, 0] and found["p_value"] == 1
        assert told["values"][0] == told["values"][1] and told["n"] == 60


def test_the_better_run_is_better(runs, capsys, tmp_path):
    auroc = compare(capsys, *runs)["comparisons"][0]
    (found,) = auroc["differences"]
    assert found["difference"] == pytest.approx(auroc["values"][1] - auroc["values"][0], abs=1e-12)
    assert found["interval"][0] > 0 and found["p_value"] < 0.05 and set(found["per_class"]) == {"x", "y"}
    back = compare(capsys, *reversed(runs))["comparisons"][0]["differences"][0]
    assert back["difference"] == -found["difference"]
    assert main(["eval", "compare", *map(str, runs), "--out", str(tmp_path / "c.md"), "--resamples", "50"]) == 0
    out = capsys.readouterr().out
    assert "Without scores of records, so not compared: demo, retrieval." in out and "at least 0.039." in out
    assert str(runs[1]) in out and (tmp_path / "c.md").read_text().startswith("| benchmark |")
    assert main(["eval", "compare", *map(str, runs), "--out", str(tmp_path / "c.json"), "--resamples", "50"]) == 0
    assert json.loads((tmp_path / "c.json").read_text())["resamples"] == 50


def change(run, **changes):
    results = read_results(run)
    entry = {key: changes.pop(key) for key in ("version", "leaked", "store_fingerprint") if key in changes}
    results["benchmarks"]["demo"] |= entry
    write_results(run, results | changes)


def test_what_else_differs_is_told(runs, capsys):
    a, b = runs
    change(b, leaked=["r1", "r2"], store_fingerprint="e" * 64, code_sha256="d" * 64)
    change(b, config={"templates": "ecg", "device": "cuda"})
    assert compare(capsys, *runs)["notes"] == [
        f"LEAK: the model of {b} was trained on 2 of the records of demo",
        f"code (SHA-256) is cccccccccccc in {a} and dddddddddddd in {b}",
        f"option templates is None in {a} and ecg in {b}",
        f"the store (fingerprint) of demo is ffffffffffff in {a} and eeeeeeeeeeee in {b}",
    ]
    assert main(["eval", "compare", str(a), str(b), "--resamples", "50"]) == 0
    assert f"LEAK: the model of {b} was trained on 2 of the records of demo.\n" in capsys.readouterr().out
    change(b, version=2)
    assert f"{a} has version 1 and {b} version 2 of the benchmark" in refused(capsys, *runs)


def test_order_of_records_and_classes_does_not_matter(runs, capsys):
    expected = compare(capsys, *runs)["comparisons"]
    path = runs[1] / "demo" / "scores.npz"
    found, order = read_scores(path), np.random.default_rng(1).permutation(60)
    rows = {name: getattr(found, name)[order] for name in ("record_ids", "starts", "patients")}
    columns = {name: getattr(found, name)[order][:, ::-1] for name in ("labels", "scores")}
    write_scores(path, replace(found, **rows, **columns, label_names=["y", "x"]))
    assert compare(capsys, *runs)["comparisons"] == expected


def refused(capsys, *words):
    assert main(["eval", "compare", *map(str, words)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_what_does_not_compare(runs, capsys, tmp_path):
    path = runs[1] / "demo" / "scores.npz"
    whole = read_scores(path)
    labels = whole.labels.copy()
    labels[7, 1] ^= True
    write_scores(path, replace(whole, labels=labels))
    assert "have other labels, the first is y of record r7" in refused(capsys, *runs)
    ids = whole.record_ids.copy()
    ids[5] = "q5"
    write_scores(path, replace(whole, record_ids=ids))
    assert "are of other records, only one has r5" in refused(capsys, *runs)
    write_scores(path, replace(whole, label_names=["x", "z"]))
    assert "have other classes, only one has y" in refused(capsys, *runs)
    path.unlink()
    assert "cannot be read" in refused(capsys, *runs)
    assert f"run {runs[0]} is given twice" in refused(capsys, runs[0], runs[1], runs[1].parent / "b" / ".." / "a")
    assert "expected at least two folders" in refused(capsys, runs[0])
    assert "results.json cannot be read" in refused(capsys, runs[0], tmp_path)
    assert "expected a name that ends in .json or .md" in refused(capsys, *runs, "--out", tmp_path / "x.txt")
