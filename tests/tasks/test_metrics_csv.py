"""metrics.csv: rows as told, and a resumed run drops what it will write again."""

import csv

from ecgtext_plugins.tasks._metrics_csv import FIRST, MetricsCsv


def rows(path):
    with open(path, newline="") as handle:
        return [(row["split"], int(row["num_updates"]), row["loss"]) for row in csv.DictReader(handle)]


def test_rows_and_resume(tmp_path):
    path = tmp_path / "metrics.csv"
    first = MetricsCsv(path, ["etm_accuracy", "gnorm"])
    for update in (10, 20, 30):
        first.write("train", 1, update, 1e-3, {"loss": update / 7, "etm_accuracy": 0.5})
    first.write("valid", 1, 30, None, {"loss": 1.0})
    assert path.read_text().splitlines()[0] == ",".join([*FIRST, "etm_accuracy", "gnorm"])
    assert rows(path) == [
        ("train", 10, "1.42857"),
        ("train", 20, "2.85714"),
        ("train", 30, "4.28571"),
        ("valid", 30, "1"),
    ]

    resumed = MetricsCsv(path)  # from a checkpoint at update 20
    resumed.write("train", 1, 30, 1e-3, {"loss": 9.0})
    assert rows(path) == [("train", 10, "1.42857"), ("train", 20, "2.85714"), ("train", 30, "9")]

    again = MetricsCsv(path)  # a new run in the same folder
    again.write("train", 1, 1, None, {"loss": 5.0})
    assert rows(path) == [("train", 1, "5")]


def test_a_row_cut_by_a_kill_is_dropped(tmp_path):
    path = tmp_path / "metrics.csv"
    MetricsCsv(path).write("train", 1, 10, None, {"loss": 1.0})
    with open(path, "a") as handle:
        handle.write("train,1,2")
    MetricsCsv(path).write("train", 1, 30, None, {"loss": 3.0})
    assert rows(path)[0] == ("train", 10, "1") and rows(path)[-1] == ("train", 30, "3")


def test_a_new_value_adds_a_column_that_a_resume_keeps(tmp_path):
    path = tmp_path / "metrics.csv"
    first = MetricsCsv(path, ["accuracy"])
    first.write("train", 1, 10, None, {"loss": 1.0, "accuracy": 0.5})
    first.write("valid", 1, 10, None, {"loss": 2.0, "macro_auroc": 0.75})
    MetricsCsv(path, ["accuracy"]).write("train", 1, 20, None, {"loss": 3.0})
    assert path.read_text().splitlines() == [
        "split,epoch,num_updates,lr,loss,accuracy,macro_auroc",
        "train,1,10,,1,0.5,",
        "valid,1,10,,2,,0.75",
        "train,1,20,,3,,",
    ]
