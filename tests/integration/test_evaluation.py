"""Evaluation from end to end: a trained checkpoint on the demo benchmark, a killed run, MERL's tables as they are."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from ecgtext_plugins.evaluation import evaluation_tasks
from ecgtext_plugins.evaluation.benchmark import load_benchmark
from ecgtext_plugins.evaluation.run_evaluation import EvaluationOptions, run_evaluation
from ecgtext_plugins.store.manifest import read_manifest
from tests.evaluation.oracle import Oracle
from tests.integration.test_real_tables import build, ptbxl_raw, rows_of, slow_recipe  # noqa: F401
from tests.tasks.training import train

TRAP = ["AVB", "RAO/RAE", "ISC"]  # in MERL's train table; in its val and test tables ISC, AVB, RAO/RAE


def evaluate(*words):
    command = [sys.executable, "-m", "ecgtext_plugins.cli.main", "eval", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def without_times(results):
    results.pop("seconds")
    for entry in results["benchmarks"].values():
        entry.pop("seconds")
        entry.pop("embeddings")
    return results


@pytest.mark.slow
def test_a_trained_checkpoint_and_a_killed_run(demo_data, tmp_path):
    done = train(demo_data, tmp_path / "run", "optimization.max_update=3")
    assert done.returncode == 0, done.stderr[-3000:]
    checkpoint = tmp_path / "run" / "checkpoint_last.pt"
    words = ["run", checkpoint, "--benchmarks", "demo", "--data", demo_data, "--resamples", "50", "--seeds", "2"]
    words += ["--tasks", "zero_shot,probe,retrieval", "--ratios", "50", "--batch-size", "4"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = evaluate(*words, "--out", killed)
    deadline = time.monotonic() + 120
    while not list(killed.glob("embeddings/*/part-*.npy")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (killed / "results.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in killed.glob("embeddings/*/part-*.npy")}
    assert kept
    for out in (killed, whole):
        process = evaluate(*words, "--out", out)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
    continued, expected = (without_times(json.loads((out / "results.json").read_text())) for out in (killed, whole))
    assert continued == expected
    assert (killed / "demo" / "scores.npz").read_bytes() == (whole / "demo" / "scores.npz").read_bytes()
    assert expected["checkpoint"]["training_records_sha256"] and expected["benchmarks"]["demo"]["leaked"] == []
    rows = expected["benchmarks"]["demo"]["tasks"]["probe"]["rows"]
    assert set(rows) == {"model", "random_encoder", "handcrafted"}
    process = evaluate("compare", killed, whole, "--json", "--resamples", "50")
    told, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert {found["differences"][0]["difference"] for found in json.loads(told)["comparisons"]} == {0.0}


def copy_tables(source, target, ecg_ids):
    """Copy MERL's tables with those of their rows that are among `ecg_ids`; columns stay where they are."""
    for path in source.rglob("*.csv"):
        with open(path, newline="", encoding="utf-8") as handle:
            header, *rows = csv.reader(handle)
        (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
        with open(target / path.relative_to(source), "w", newline="", encoding="utf-8") as handle:
            place = header.index("ecg_id")
            csv.writer(handle).writerows([header, *(row for row in rows if row[place].split(".")[0] in ecg_ids)])


def test_subclasses_of_merls_own_tables(ptbxl_raw, shared, tmp_path, capsys, monkeypatch):  # noqa: F811
    """Labels are found by name: an oracle that knows the table gets 1.0, one that reads it by position does not."""
    raw, listed = ptbxl_raw
    tables = tmp_path / "tables"
    copy_tables(shared / "data" / "merl_splits" / "ptbxl", tables / "ptbxl", {row["ecg_id"] for row in listed})
    path = slow_recipe(tmp_path, "merl_ptbxl", rate=100)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"subsets": None}))
    build(capsys, path, raw, tmp_path / "data", "--tables", str(tables))
    benchmark = load_benchmark("ptbxl_sub")
    rows = rows_of(tables / "ptbxl" / "sub_class" / "ptbxl_sub_class_test.csv")
    said = {row["ecg_id"].zfill(5): row for row in rows}
    columns = list(rows[0])[6:]
    assert sorted(columns) == sorted(benchmark.classes) and columns != list(benchmark.classes)
    odd = [name for name, other in zip(benchmark.classes, columns, strict=True) if name != other]
    assert sorted(odd) == sorted(TRAP)

    class Table(Oracle):
        names = list(benchmark.classes)

        def ecgs(self, manifest):
            found = [said[record_id] for record_id in manifest.record_ids]
            return np.array([[float(row[name]) for name in self.names] for row in found], dtype=np.float32)

    class ByPosition(Table):
        names = columns

    monkeypatch.setattr(evaluation_tasks, "embed_entries", lambda model, manifest, *rest: model.ecgs(manifest))
    monkeypatch.setattr(evaluation_tasks, "VALID", "none")  # the oracle knows the test table alone
    options = EvaluationOptions(tasks=("zero_shot",), resamples=20)
    (tmp_path / "model.pt").write_bytes(b"weights")
    for kind, reaches in ((Table, True), (ByPosition, False)):
        out = tmp_path / kind.__name__
        model = kind(benchmark)
        results = run_evaluation(model, tmp_path / "model.pt", ["ptbxl_sub"], [tmp_path / "data"], out, options)
        entry = results["benchmarks"]["ptbxl_sub"]
        per_class = entry["tasks"]["zero_shot"]["figures"]["auroc"]["per_class"]
        values = {name: found["value"] for name, found in per_class.items() if found["value"] is not None}
        assert all(value == 1.0 for name, value in values.items() if name not in TRAP)
        trapped = [values[name] for name in TRAP if name in values]
        assert trapped and all((value == 1.0) == reaches for value in trapped)
        positives = {name: sum(int(said[each][name]) for each in _tested(tmp_path)) for name in TRAP}
        assert {name: entry["positives"][name] for name in TRAP} == positives


def _tested(tmp_path):
    return read_manifest(tmp_path / "data" / "manifests" / "merl_sub" / "test.tsv").record_ids
