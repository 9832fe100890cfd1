"""CODE-test's readers: sensitivity and specificity counted by hand, rows matched by record, tables that don't fit."""

import csv
import json
import shutil

import numpy as np
import pytest

from ecgtext_plugins.errors import BadConfig, BadRawData
from ecgtext_plugins.evaluation import evaluation_tasks
from ecgtext_plugins.evaluation.benchmark import load_benchmark
from ecgtext_plugins.evaluation.prepared_benchmark import prepare
from ecgtext_plugins.evaluation.readers import has_readers, reader_points
from ecgtext_plugins.evaluation.run_evaluation import EvaluationOptions, run_evaluation
from ecgtext_plugins.plotting.report_html import write_report
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.recipe import load_recipe
from tests.downloads import code_test
from tests.evaluation.test_run_evaluation import Oracle

N = 12


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return raw folder, store and rows of a download whose first record is too short for the store."""
    folder = tmp_path_factory.mktemp("code_test")
    rows = code_test.write_download(folder / "raw", N, seed=5)
    recipe = load_recipe("code_test") | {"min_seconds": 8}  # leaves records 0, 3, 6 and 9 out
    build_store(recipe, folder / "raw", folder / "data")
    return folder / "raw", folder / "data", rows


@pytest.fixture
def annotations(built, tmp_path):
    """Return a copy of the tables to spoil."""
    return shutil.copytree(built[0] / "annotations", tmp_path / "annotations")


@pytest.fixture
def prepared(built):
    return prepare(load_benchmark("code_test"), [built[1]], None)


def test_points_are_those_of_the_records_by_hand(built, prepared, annotations):
    rows = {row["id"]: row for row in built[2]}
    kept = [rows[record_id] for record_id in prepared.test.record_ids]
    assert len(kept) == N - 4 and "test0000" not in prepared.test.record_ids
    told = reader_points(prepared, annotations, 50, 0)
    assert set(told) == {"cardiologist1", "dnn"}
    json.dumps(told, allow_nan=False)
    compared = 0
    for reader, points in told.items():
        for place, name in enumerate(code_test.LABELS):
            truth = np.array([row["gold_standard"][place] for row in kept], dtype=bool)
            if truth.all() or not truth.any():
                assert name not in points
                continue
            said = np.array([row[reader][place] for row in kept], dtype=bool)
            assert points[name]["sensitivity"] == pytest.approx(said[truth].mean())
            assert points[name]["specificity"] == pytest.approx((~said[~truth]).mean())
            assert (points[name]["n_positive"], points[name]["n_negative"]) == (truth.sum(), (~truth).sum())
            compared += 1
    assert compared >= 6


def test_who_agrees_with_the_gold_standard_is_in_the_corner(prepared, annotations):
    shutil.copy(annotations / "gold_standard.csv", annotations / "knows.csv")
    points = reader_points(prepared, annotations, 20, 0)["knows"]
    assert points and {(point["sensitivity"], point["specificity"]) for point in points.values()} == {(1.0, 1.0)}
    assert all("auc" not in key and "auroc" not in key for point in points.values() for key in point)


def rewrite(path, change):
    lines = list(csv.reader(path.read_text().splitlines()))
    code_test.write_csv(path, change(lines))


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("dnn", lambda lines: lines[:-1], "dnn.csv has 11 rows: expected 12 as gold_standard.csv"),
        (
            "gold_standard",
            lambda lines: [lines[0], *lines[:0:-1]],
            "gold_standard.csv has another value than the store",
        ),
        ("dnn", lambda lines: [lines[0], ["0.4", *lines[1][1:]], *lines[2:]], "'0.4' in the column 1dAVb: expected 0"),
        ("dnn", lambda lines: [line[:-1] for line in lines], "dnn.csv.* ST"),
    ],
)
def test_tables_that_do_not_fit(prepared, annotations, name, change, sentence):
    rewrite(annotations / f"{name}.csv", change)
    with pytest.raises(BadRawData, match=sentence) as caught:
        reader_points(prepared, annotations, 20, 0)
    assert "\n" not in str(caught.value)


def test_tables_of_fewer_tracings(prepared, annotations):
    for path in annotations.glob("*.csv"):
        rewrite(path, lambda lines: lines[:4])
    with pytest.raises(BadRawData, match="have 3 rows, none for record test0011"):
        reader_points(prepared, annotations, 20, 0)


def test_folders_without_readers(prepared, annotations, tmp_path):
    for name in ("dnn", "cardiologist1"):
        (annotations / f"{name}.csv").unlink()
    for folder, found in ((annotations, "gold_standard.csv"), (tmp_path / "nowhere", "no table")):
        with pytest.raises(BadRawData, match=f"has {found}: expected gold_standard.csv, by which"):
            reader_points(prepared, folder, 20, 0)


@pytest.fixture
def embedded(monkeypatch):
    monkeypatch.setattr(evaluation_tasks, "embed_entries", lambda model, manifest, *rest: model.ecgs(manifest))


def test_a_run_shows_readers(built, annotations, tmp_path, embedded):
    (tmp_path / "model.pt").write_bytes(b"weights")
    model = Oracle(load_benchmark("code_test"))
    options = EvaluationOptions(tasks=("zero_shot",), resamples=20, readers=str(annotations))
    given = (model, tmp_path / "model.pt", ["code_test"], [built[1]], tmp_path / "out", options)
    results = run_evaluation(*given)
    entry = results["benchmarks"]["code_test"]
    assert set(entry["readers"]) == {"cardiologist1", "dnn"} and results["config"]["readers"] == str(annotations)
    text = (tmp_path / "out" / "results.md").read_text()
    assert "## code_test, readers" in text and "| cardiologist1 | " in text
    assert "Points: cardiologist1, dnn, who answer yes or no." in write_report(tmp_path / "out").read_text()


def test_readers_of_other_data_are_refused(demo_data, annotations, tmp_path, embedded):
    (tmp_path / "model.pt").write_bytes(b"weights")
    options = EvaluationOptions(tasks=("zero_shot",), readers=str(annotations))
    prepared = prepare(load_benchmark("demo"), [demo_data], None)
    assert not has_readers(prepared)
    model = Oracle(load_benchmark("demo"))
    with pytest.raises(BadConfig, match="expected code_test among the benchmarks, not demo"):
        run_evaluation(model, tmp_path / "model.pt", ["demo"], [demo_data], tmp_path / "out", options)
