import gzip

import numpy as np
import pyarrow.parquet as pq
import pytest

from ecgtext_plugins.corpora.readers import open_corpus
from ecgtext_plugins.errors import BadRawData
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.recipe import resolve_recipe
from tests.corpora.reading_generic import FORMS, LEADS, entries_of, read, reason, recipe_of
from tests.downloads import generic as download


@pytest.mark.parametrize("form", FORMS)
def test_each_format_gives_the_same_records(tmp_path, form):
    rows = download.write_download(tmp_path, 6, seed=2, form=form)
    corpus = open_corpus(recipe_of(**FORMS[form]), tmp_path)
    assert corpus.record_ids.to_pylist() == [f"r{number:03d}" for number in range(6)]
    assert corpus.label_names == ["AF", "LBBB", "NORM"]
    assert corpus.table_files[0][1] == "records.csv" and corpus.published_subsets == {}
    for number, row in enumerate(rows):
        record = read(tmp_path, f"r{number:03d}", **FORMS[form])
        entry = record.entry
        np.testing.assert_allclose(record.signal, row["signal"], atol=1e-7)
        assert (record.native_rate, record.missing_leads) == (500.0, 0)
        assert (entry.patient_id, entry.report) == (row["patient"], row["report"])
        assert (entry.age, entry.sex) == (30.0 + number, row["sex"])
        assert entry.labels == tuple(label for label in corpus.label_names if label in row["labels"])
    assert corpus.entries(2, 4) == corpus.entries(0, 6)[2:4]


def test_a_store_is_built_from_it(tmp_path):
    rows = download.write_download(tmp_path / "raw", 6)
    (tmp_path / "raw" / "ecgs" / "r004.npy").write_bytes(b"nothing")
    store = build_store(recipe_of(), tmp_path / "raw", tmp_path / "store", workers=2).store
    assert store.corpus["counts"] == {"found": 6, "kept": 5, "failed": 1}
    assert store.label_names == ["AF", "LBBB", "NORM"]
    kept = pq.read_table(store.folder / "records.parquet", columns=["record_id", "age"]).to_pydict()
    assert kept["age"] == [float(row["age"]) for row in rows if "r004" not in row["path"]]
    failure = pq.read_table(store.folder / "failures.parquet").to_pylist()[0]
    assert (failure["record_id"], failure["patient_id"], failure["source_path"]) == ("r004", "p2", "ecgs/r004.npy")
    assert failure["reason"] == "unreadable" and str(tmp_path) not in failure["message"]


def test_a_table_with_a_path_alone(tmp_path):
    rows = download.write_download(tmp_path, 3)
    download.write_table(tmp_path, rows, ["path"])
    nothing = dict.fromkeys(("patient", "report", "labels", "age", "sex"))
    entry = entries_of(tmp_path, nothing, {"labels": None})["r001"]
    assert (entry.patient_id, entry.report, entry.labels, entry.sex) == ("r001", None, (), "")
    assert np.isnan(entry.age)
    minimal = {"name": "mine", "reader": "generic", "sample_rate": 500, "split": {"fractions": {"train": 1.0}}}
    said = {"table": "records.csv", "format": "npy", "columns": {"path": "path"}}
    options = {**said, "leads": LEADS, "rate": 500, "unit": "mV"}
    assert len(open_corpus(resolve_recipe({**minimal, "options": options}, "test"), tmp_path).record_ids) == 3


def test_every_column_can_be_mapped(tmp_path):
    rows = download.write_download(tmp_path, 3)
    for number, row in enumerate(rows):
        row |= {"ecg id": f" x{number} ", "finding": "AF", "conclusion": ["", "nan", "abnormal"][number]}
        row |= {
            "when": "2020-01-01",
            "cart": "c7",
            "part": ("Training", "val", " TEST ")[number],
            "hz": "500.0",
            "in": "uV",
        }
    names = ["path", "patient", "age", "sex", "ecg id", "finding", "conclusion", "when", "cart", "part", "hz", "in"]
    download.write_table(tmp_path, rows, names)
    columns = {
        **{"id": "ecg id", "report": ["finding", "conclusion"], "labels": None, "recorded_at": "when"},
        **{"device": "cart", "split": "part", "rate": "hz", "unit": "in"},
    }
    changes = {"labels": None, "split": {"by": "official", "fractions": None}, "reports": {"separator": "; "}}
    entries = entries_of(tmp_path, columns, changes, rate=None, unit=None)
    assert list(entries) == ["x0", "x1", "x2"]
    assert [entry.split for entry in entries.values()] == ["train", "valid", "test"]
    assert [entry.report for entry in entries.values()] == ["AF", "AF", "AF; abnormal"]
    assert {(entry.recorded_at, entry.device) for entry in entries.values()} == {("2020-01-01", "c7")}
    record = read(tmp_path, "x1", columns, changes, rate=None, unit=None)
    np.testing.assert_allclose(record.signal, rows[1]["signal"] / 1000, rtol=1e-6)
    assert record.native_rate == 500.0


def test_labels_as_columns_of_0_and_1(tmp_path):
    rows = download.write_download(tmp_path, 3)
    for number, row in enumerate(rows):
        row |= {"MI": number % 2, "AF": ("True", "false", "1.0")[number]}
    download.write_table(tmp_path, rows, (*download.COLUMNS, "MI", "AF"))
    entries = entries_of(tmp_path, {"labels": ["MI", "AF"]})
    assert [entry.labels for entry in entries.values()] == [("AF",), ("MI",), ("AF",)]
    qualified = {"labels": {"scheme": ["table"]}}
    corpus = open_corpus(recipe_of({"labels": ["MI", "AF"]}, qualified), tmp_path)
    assert corpus.label_names == ["table/MI", "table/AF"]
    assert corpus.entries(1, 2)[0].labels == ("table/MI",)
    rows[0]["MI"] = ""
    download.write_table(tmp_path, rows, (*download.COLUMNS, "MI", "AF"))
    with pytest.raises(BadRawData, match="records.csv has '' in the column MI: expected 0 or 1"):
        entries_of(tmp_path, {"labels": ["MI", "AF"]})


def test_labels_with_a_vocabulary_and_another_separator(tmp_path):
    rows = download.write_download(tmp_path, 3)
    for row, labels in zip(rows, ("NORM | AF", "", "nan"), strict=True):
        row["labels"] = labels
    download.write_table(tmp_path, rows)
    entries = entries_of(tmp_path, label_separator="|", label_names=["NORM", "LBBB", "AF"])
    assert [entry.labels for entry in entries.values()] == [("NORM", "AF"), (), ()]
    with pytest.raises(BadRawData, match="column labels the label 'NORM': expected only NORMAL, AF; is it NORMAL"):
        entries_of(tmp_path, label_separator="|", label_names=["NORMAL", "AF"])


def test_labels_from_another_table(tmp_path):
    download.write_download(tmp_path, 3)
    (tmp_path / "labels.csv").write_text("name,found\nr002,AF;MI\nr000,\n")
    labels = {"file": "labels.csv", "id": "name", "column": "found", "names": ["MI", "AF"]}
    entries = entries_of(tmp_path, {"labels": None}, {"labels": labels})
    assert [entry.labels for entry in entries.values()] == [(), (), ("MI", "AF")]
    (tmp_path / "labels.csv").write_text("name,found\necgs/r002.npy,AF\n")
    with pytest.raises(BadRawData, match="labels.csv has no row for any of the 3 records .it has 'ecgs/r002.npy'"):
        entries_of(tmp_path, {"labels": None}, {"labels": labels})


def test_the_table_may_lie_elsewhere_and_be_compressed(tmp_path):
    rows = download.write_download(tmp_path / "raw", 3)
    (tmp_path / "tables").mkdir()
    content = (tmp_path / "raw" / "records.csv").read_bytes()
    (tmp_path / "raw" / "records.csv").unlink()
    (tmp_path / "tables" / "records.csv.gz").write_bytes(gzip.compress(content))
    assert entries_of(tmp_path / "raw", tables=tmp_path / "tables")["r002"].report == rows[2]["report"]


def test_extension_and_folders(tmp_path):
    rows = download.write_download(tmp_path, 4)
    for row in rows:
        row["path"] = row["path"].removesuffix(".npy")
    download.write_table(tmp_path, rows)
    np.testing.assert_array_equal(read(tmp_path, extension=".npy").signal, rows[0]["signal"])
    assert reason(tmp_path, "there is no ecgs/r000") == "missing_signal_file"
    (tmp_path / "more").mkdir()
    rows[3]["path"] = "more/r003"
    download.write_table(tmp_path, rows)
    assert list(entries_of(tmp_path, changes={"exclude_sources": ["more"]})) == ["r000", "r001", "r002"]
    with pytest.raises(BadRawData, match="leaves none of 4"):
        entries_of(tmp_path, changes={"exclude_sources": ["more", "ecgs"]})


@pytest.mark.parametrize("folder", ["../ecgs", "/etc", "ecgs/../..", "e\tc", "e\nc"])
def test_paths_out_of_the_folder_are_not_read(tmp_path, folder):
    rows = download.write_download(tmp_path, 1)
    rows[0]["path"] = f"{folder}/r000.npy"
    download.write_table(tmp_path, rows)
    assert reason(tmp_path) == "unsafe_path"


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("age", "63,5", r"'63,5' in the column age \(data row 2\): expected years"),
        ("age", "-1", "'-1' in the column age"),
        ("age", "300", "'300' in the column age"),
        ("sex", "0", r"'0' in the column sex \(data row 2\): expected m, male"),
        ("path", "ecgs/r000.npy", "record ids in .*records.csv are there more than once .*r000"),
    ],
)
def test_cells_that_cannot_be_read_are_told_with_their_row(tmp_path, column, cell, said):
    rows = download.write_download(tmp_path, 3)
    rows[1][column] = cell
    download.write_table(tmp_path, rows)
    with pytest.raises(BadRawData, match=said):
        entries_of(tmp_path)


def test_unknown_ages_and_sexes_are_let_through(tmp_path):
    rows = download.write_download(tmp_path, 3)
    for row, age, sex in zip(rows, ("", "NaN", " 63.5 "), ("unknown", "Female", "other"), strict=True):
        row |= {"age": age, "sex": sex}
    download.write_table(tmp_path, rows)
    entries = list(entries_of(tmp_path).values())
    assert [entry.sex for entry in entries] == ["", "F", ""]
    assert np.isnan(entries[0].age) and np.isnan(entries[1].age) and entries[2].age == 63.5


def test_splits_of_the_table(tmp_path):
    rows = download.write_download(tmp_path, 3)
    for row, split in zip(rows, ("dev", "", "tran"), strict=True):
        row["part"] = split
    official = {"split": {"by": "official", "fractions": None}}
    download.write_table(tmp_path, rows[:2], (*download.COLUMNS, "part"))
    assert [entry.split for entry in entries_of(tmp_path, {"split": "part"}, official).values()] == ["valid", ""]
    download.write_table(tmp_path, rows, (*download.COLUMNS, "part"))
    with pytest.raises(BadRawData, match="'tran' in the column part .*expected train, valid or test"):
        entries_of(tmp_path, {"split": "part"}, official)


def test_a_missing_table_or_column(tmp_path):
    rows = download.write_download(tmp_path, 2)
    with pytest.raises(BadRawData, match="no table other.csv"):
        entries_of(tmp_path, table="other.csv")
    with pytest.raises(BadRawData, match="no column reprot .*is it report"):
        entries_of(tmp_path, {"report": "reprot"})
    download.write_table(tmp_path, [])
    with pytest.raises(BadRawData, match="lists no record"):
        entries_of(tmp_path)
    download.write_table(tmp_path, rows, (*download.COLUMNS, "path"))
    with pytest.raises(BadRawData, match="the column path more than once"):
        entries_of(tmp_path)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_tables_with_other_separators(tmp_path, separator):
    rows = download.write_download(tmp_path, 2)
    rows[0]["report"] = 'a "quoted";\nreport,\twith everything'
    download.write_table(tmp_path, rows, separator=separator)
    content = (tmp_path / "records.csv").read_bytes()
    (tmp_path / "records.csv").write_bytes(b"\xef\xbb\xbf" + content)
    assert entries_of(tmp_path)["r000"].report == 'a "quoted"; report, with everything'
