"""`ecgtext label-reports` as typed."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ecgtext_plugins.checkpoints.ecg_fm import MIMIC_LABELS
from ecgtext_plugins.cli.main import main
from ecgtext_plugins.data.labels import _names
from ecgtext_plugins.store.reader import RecordStore
from ecgtext_plugins.text.labeler.report_labels import label_report

OF_DEMO = {
    "atrial_fibrillation": "Atrial fibrillation",
    "left_bundle_branch_block": "Left bundle branch block",
    "right_bundle_branch_block": "Right bundle branch block",
    "first_degree_av_block": "1st degree atrioventricular block",
    "premature_ventricular_complexes": "Premature ventricular contraction",
    "sinus_bradycardia": "Bradycardia",
}


def test_store(demo_store, tmp_path, capsys):
    out, unmatched = tmp_path / "l" / "labels.parquet", tmp_path / "unmatched.csv"
    words = ["label-reports", str(demo_store), "--out", str(out), "--unmatched", str(unmatched), "--json"]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)
    store, table = RecordStore.open(demo_store), pq.read_table(out)
    assert table.column_names == ["record_id", *MIMIC_LABELS] and table.schema.field(1).type == pa.float32()
    assert table["record_id"].to_pylist() == store.column("record_id").tolist()
    for name, label in OF_DEMO.items():  # the truth that the reports were phrased from
        truth = store.label_matrix(np.arange(len(store)), [name])[:, 0]
        assert ((np.array(table[label].to_pylist()) >= 0.5) == truth).all(), name
    with open(out.with_suffix(".csv")) as handle:
        decided = list(csv.DictReader(handle))
    assert [int(row["Sinus rhythm"]) for row in decided] == [int(v >= 0.5) for v in table["Sinus rhythm"].to_pylist()]
    with open(out.parent / "label_def.csv") as handle:
        counted = {row["name"]: row for row in csv.DictReader(handle)}
    splits = store.column("split")
    train = np.array(table["Sinus rhythm"].to_pylist())[splits == "train"] >= 0.5
    assert int(counted["Sinus rhythm"]["pos_count_train"]) == train.sum()
    assert int(counted["Sinus rhythm"]["pos_count_all"]) == result["positives"]["Sinus rhythm"]
    assert tuple(_names(out, 17)) == MIMIC_LABELS
    assert unmatched.read_text() == "text,count\n"


def test_text_file_blank_lines_and_threshold(tmp_path, capsys):
    reports, out = tmp_path / "r.txt", tmp_path / "labels.parquet"
    reports.write_text("Possible inferior infarct\n\nzyxw sinus rhythm\nzyxw sinus rhythm\n")
    unmatched = tmp_path / "u.csv"
    words = ["label-reports", str(reports), "--out", str(out), "--threshold", "0.6", "--unmatched", str(unmatched)]
    assert main(words) == 0
    assert "4 rows, 2 unique reports, 1 without report" in capsys.readouterr().out
    assert pq.read_table(out)["Infarction"].to_pylist() == [0.5, None, 0.0, 0.0]
    with open(tmp_path / "labels.csv") as handle:
        assert [row["Infarction"] for row in csv.DictReader(handle)] == ["0", "", "0", "0"]
    assert unmatched.read_text() == "text,count\nzyxw,2\n"


def test_parquet_and_its_errors(tmp_path, capsys):
    path, out = tmp_path / "r.parquet", tmp_path / "labels.parquet"
    pq.write_table(pa.table({"study_id": ["a", "b"], "report": ["Atrial flutter", None]}), path)
    assert main(["label-reports", str(path), "--out", str(out)]) == 0
    assert pq.read_table(out).select(["study_id", "Atrial flutter"]).to_pydict() == {
        "study_id": ["a", "b"],
        "Atrial flutter": [1.0, None],
    }
    pq.write_table(pa.table({"x": [1]}), path)
    assert main(["label-reports", str(path), "--out", str(tmp_path / "o.parquet")]) == 1
    assert "expected one of text called text or report" in capsys.readouterr().err
    assert not (tmp_path / "o.parquet").exists()


def test_explain(capsys):
    text = "possible inferior infarct zyxw"
    assert main(["label-reports", "--explain", text]) == 0
    shown = capsys.readouterr().out
    assert "0.50  Inferior infarction" in shown and "'zyxw'" in shown and "labels: Infarction 0.5" in shown
    assert main(["label-reports", "--explain", text, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == label_report(text).labels


def test_wrong_usage(tmp_path, capsys):
    assert main(["label-reports"]) == 1
    assert "nothing to label" in capsys.readouterr().err
    assert main(["label-reports", str(tmp_path / "no.txt"), "--out", str(tmp_path / "l.parquet")]) == 1
    assert "no.txt" in capsys.readouterr().err
    assert main(["label-reports", str(tmp_path), "--out", str(tmp_path / "l.csv")]) == 1
    assert "ends in .parquet" in capsys.readouterr().err
    assert main(["label-reports", str(tmp_path), "--out", str(tmp_path / "l.parquet")]) == 1
    assert "is not a finished record store" in capsys.readouterr().err
