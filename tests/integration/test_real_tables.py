"""Real tables and recordings of the shared folder through their recipes; signals that are not there are our own."""

import csv
import json
import shutil
from collections import Counter

import numpy as np
import pytest
import yaml

from ecgtext_plugins.cli.main import main
from ecgtext_plugins.corpora.report_text import clean_report
from ecgtext_plugins.recipes import find_recipe
from ecgtext_plugins.store.reader import RecordStore
from tests import builders
from tests.downloads import cpsc2018, ptbxl


def build(capsys, recipe, raw, data, *more):
    command = ["manifest", "build", str(recipe), "--raw", str(raw), "--dest", str(data), "--workers", "1", *more]
    assert main([*command, "--json", "--accept-counts"]) == 0
    return json.loads(capsys.readouterr().out)


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture
def ptbxl_raw(shared, tmp_path):
    """Write PTB-XL's layout with the real table and one second of our own signal for each of its 2,005 rows."""
    raw = tmp_path / "ptbxl"
    raw.mkdir()
    shutil.copy(shared / "data" / "ptbxl" / "ptbxl_database.csv", raw)
    ptbxl.write_statements(raw)
    counts = builders.ecg_counts(np.random.default_rng(0), 100, 100)
    rows = rows_of(raw / "ptbxl_database.csv")
    for row in rows:
        path = raw / row["filename_lr"]
        builders.write_record(path.parent, path.name, counts, rate=100)
    return raw, rows


def slow_recipe(tmp_path, name, **options):
    recipe = yaml.safe_load(find_recipe(name).read_text("utf-8"))
    recipe.update(sample_rate=100, min_seconds=1)
    recipe["options"].update(options)
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def test_ptbxls_table_and_reports(ptbxl_raw, tmp_path, shared, capsys):
    raw, rows = ptbxl_raw
    built = build(capsys, slow_recipe(tmp_path, "ptbxl", rate=100), raw, tmp_path / "data")
    assert built["counts"]["found"] == len(rows) == 2005
    store = RecordStore.open(tmp_path / "data")
    folds = Counter({"9": "valid", "10": "test"}.get(row["strat_fold"], "train") for row in rows)
    assert built["counts"]["kept"] == 2005 and built["splits"] == dict(folds)
    place = {record_id: index for index, record_id in enumerate(store.column("record_id"))}
    assert built["unique_reports"] == len({clean_report(row["report"]) for row in rows})
    texts, ids = store.report_texts().to_pylist(), store.column("report_id")
    for row in rows:
        index = place[row["ecg_id"].zfill(5)]
        assert texts[ids[index]] == clean_report(row["report"])
        assert store.column("patient_id")[index] == row["patient_id"].removesuffix(".0")
    merl = shared / "data" / "merl_splits" / "ptbxl" / "super_class"
    published = {row["ecg_id"].zfill(5): row for split in ("train", "val", "test")
                 for row in rows_of(merl / f"ptbxl_super_class_{split}.csv")}  # fmt: skip
    names = ["HYP", "NORM", "MI", "CD", "STTC"]
    both = [record_id for record_id in place if record_id in published]
    ours = store.label_matrix(np.array([place[record_id] for record_id in both]), [f"super/{name}" for name in names])
    theirs = np.array([[published[record_id][name] == "1" for name in names] for record_id in both])
    assert len(both) > 1900
    np.testing.assert_array_equal(ours, theirs)


def test_cpscs_original_files(shared, tmp_path, capsys):
    raw = tmp_path / "cpsc"
    shutil.copytree(shared / "data" / "cpsc2018", raw / "TrainingSet1")
    rows = [{"record_id": name, "labels": labels} for name, labels in
            [("A1980", ["NORM"]), ("A1981", ["AFIB"]), ("A1982", ["CRBBB", "PAC"])]]  # fmt: skip
    cpsc2018.write_reference(raw / "TrainingSet1" / "REFERENCE.csv", rows)
    built = build(capsys, "cpsc2018", raw, tmp_path / "data")
    assert built["counts"] == {"found": 3, "kept": 3, "failed": 0}
    store = RecordStore.open(tmp_path / "data")
    from scipy.io import loadmat

    for index, record_id in enumerate(store.column("record_id")):
        real = loadmat(raw / "TrainingSet1" / f"{record_id}.mat")["ECG"]["data"][0, 0][:, :5000]
        assert np.abs(store.signal_mv(index) - real).max() <= 0.0005 + 1e-6  # rounded to a microvolt
    assert store.label_matrix(np.arange(3), ["NORM", "AFIB", "CRBBB", "PAC"]).tolist() == [
        [True, False, False, False],
        [False, True, False, False],
        [False, False, True, True],
    ]
