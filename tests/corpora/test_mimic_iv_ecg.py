import gzip

import numpy as np
import pytest

from ecgtext_plugins.corpora.mimic_iv_ecg import READER
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.readers import open_corpus
from ecgtext_plugins.errors import BadRawData, BadRecipe, BadRecord
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.recipe import load_recipe, resolve_recipe
from tests import builders


def corpus_of(raw, **changes):
    return open_corpus(resolve_recipe(builders.demo_recipe(**changes), "test"), raw)


def entries_of(raw, **changes):
    corpus = corpus_of(raw, **changes)
    return {entry.record_id: entry for entry in corpus.entries(0, len(corpus.record_ids))}


def test_records_come_sorted_with_what_the_tables_say(tmp_path):
    rows = builders.write_mimic_tree(tmp_path, 7, seed=4)
    builders.write_tables(tmp_path, rows[::-1])
    corpus = corpus_of(tmp_path)
    assert corpus.record_ids.to_pylist() == sorted(row["study_id"] for row in rows)
    for row in rows:
        entry = entries_of(tmp_path)[row["study_id"]]
        assert (entry.patient_id, entry.source_path) == (row["subject_id"], row["path"])
        assert entry.report == " ".join(builders.PHRASES[label] for label in row["findings"])
        assert list(entry.labels) == row["findings"]
        record = READER.read_entry(RawFolder(tmp_path), entry, {})
        np.testing.assert_array_equal(record.signal, (row["counts"] / 200).astype(np.float32))
        assert (record.step_uv, record.entry) == (5.0, entry)
    assert corpus.entries(2, 4) == [entries_of(tmp_path)[i] for i in corpus.record_ids.to_pylist()[2:4]]


def test_odd_cells_of_reports(tmp_path):
    rows = builders.write_mimic_tree(tmp_path, 5)
    rows[0]["report"] = ['He said "AF", twice', "ST elevation,\ninferior", "=SUM(A1)"]
    rows[1]["report"] = ["", "Second line only"]
    rows[2]["report"] = ["NaN", "Sinus rhythm", "nan"]
    rows[3]["report"] = [f"line {n}" for n in range(18)]
    rows[4]["report"] = []
    builders.write_tables(tmp_path, rows)
    reports = [entries_of(tmp_path)[row["study_id"]].report for row in rows]
    assert reports == [
        'He said "AF", twice ST elevation, inferior =SUM(A1)',
        "Second line only",
        "Sinus rhythm",
        " ".join(f"line {n}" for n in range(18)),
        "",
    ]


def test_time_cart_and_separator(tmp_path):
    rows = builders.write_mimic_tree(tmp_path, 3)
    rows[0]["report"] = ["Sinus rhythm", "", "Left axis"]
    builders.write_tables(tmp_path, rows)
    entry = entries_of(tmp_path)[rows[0]["study_id"]]
    assert (entry.recorded_at, entry.device) == ("2180-07-23 08:44:00", "6848296")
    assert np.isnan(entry.age) and entry.sex == ""
    entry = entries_of(tmp_path, reports={"separator": "; "})[rows[0]["study_id"]]
    assert entry.report == "Sinus rhythm; Left axis"


def write_patients(path, rows, opener=open):
    with opener(path, "wt") as handle:
        handle.write("subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod\n" + "\n".join(rows) + "\n")


@pytest.mark.parametrize(("name", "opener"), [("patients.csv", open), ("patients.csv.gz", gzip.open)])
def test_sex_and_age_at_the_time_of_the_ecg(tmp_path, name, opener):
    rows = builders.write_mimic_tree(tmp_path / "raw", 6, n_patients=4)
    (tmp_path / "hosp").mkdir()
    people = ["10000002,M,91,2178,2011 - 2013,2182-01-01", "10000000,F,52,2180,2014 - 2016,", "10000003,F,0,2190,x,"]
    write_patients(tmp_path / "hosp" / name, people, opener)
    recipe = resolve_recipe(builders.demo_recipe(options={"patients": "patients.csv"}), "test")
    corpus = open_corpus(recipe, tmp_path / "raw", tmp_path / "hosp")
    assert (tmp_path / "hosp" / name).as_posix() in [f"{folder}/{file}" for folder, file in corpus.table_files]
    found = {entry.record_id: (entry.age, entry.sex) for entry in corpus.entries(0, 6)}
    by_patient = {row["subject_id"]: found[row["study_id"]] for row in rows}
    assert by_patient["10000000"] == (52.0, "F")
    assert by_patient["10000002"] == (93.0, "M")
    assert np.isnan(by_patient["10000001"][0]) and by_patient["10000001"][1] == ""
    assert np.isnan(by_patient["10000003"][0]) and by_patient["10000003"][1] == "F"


def test_patients_of_another_dataset_are_refused(tmp_path):
    builders.write_mimic_tree(tmp_path, 3)
    with pytest.raises(BadRecipe, match="options.patients is '../patients.csv'"):
        corpus_of(tmp_path, options={"patients": "../patients.csv"})
    options = {"patients": "patients.csv"}
    with pytest.raises(BadRawData, match="no table patients.csv.*--tables"):
        corpus_of(tmp_path, options=options)
    write_patients(tmp_path / "patients.csv", ["7,F,52,2180,,"])
    with pytest.raises(BadRawData, match="patients.csv lists none of the 1 patients"):
        corpus_of(tmp_path, options=options)
    write_patients(tmp_path / "patients.csv", ["10000000,F,52,2180,,"] * 2)
    with pytest.raises(BadRawData, match="subject_id .* more than once"):
        corpus_of(tmp_path, options=options)


def test_report_columns_go_by_number_and_unlisted_records_have_none(tmp_path):
    rows = builders.write_mimic_tree(tmp_path, 2)
    first, second = (row["study_id"] for row in rows)
    text = f"study_id,report_10,report_2,report_1\n{first},c,b,a\n"
    (tmp_path / "machine_measurements.csv").write_text(text)
    entries = entries_of(tmp_path, labels=None)
    assert entries[first].report == "a b c" and entries[second].report is None
    assert entries[first].labels == ()


def test_another_folder_is_told_in_one_sentence(tmp_path):
    builders.write_mimic_tree(tmp_path / "raw", 2)
    with pytest.raises(BadRawData, match="files is not MIMIC-IV-ECG: record_list.csv and machine_measurements.csv"):
        corpus_of(tmp_path / "raw" / "files")
    with pytest.raises(BadRawData, match="nowhere does not exist"):
        corpus_of(tmp_path / "nowhere")
    (tmp_path / "raw" / "record_list.csv").write_text("subject_id,path\n1,a\n")
    with pytest.raises(BadRawData, match="no column study_id"):
        corpus_of(tmp_path / "raw")
    (tmp_path / "raw" / "record_list.csv").write_text("")
    with pytest.raises(BadRawData, match="record_list.csv is not a readable CSV"):
        corpus_of(tmp_path / "raw")
    (tmp_path / "raw" / "record_list.csv").write_text("subject_id,study_id,path\n")
    with pytest.raises(BadRawData, match="lists no record"):
        corpus_of(tmp_path / "raw")


def test_duplicate_ids_are_refused_with_the_first_ten(tmp_path):
    rows = builders.write_mimic_tree(tmp_path, 15)
    builders.write_tables(tmp_path, [*rows, *rows[:12]])
    with pytest.raises(BadRawData, match="12 of them") as caught:
        corpus_of(tmp_path)
    assert str(caught.value).count("4000") == 10


def test_unknown_labels_and_missing_label_files(tmp_path):
    rows = builders.write_mimic_tree(tmp_path, 3)
    labels = {"file": "findings.csv", "id": "study_id", "column": "findings", "names": ["sinus_rhythm"]}
    with pytest.raises(BadRawData, match="findings.csv has the labels"):
        corpus_of(tmp_path, labels=labels)
    (tmp_path / "names.txt").write_text("\n".join(builders.LABELS) + "\n\n")
    assert corpus_of(tmp_path, labels={**labels, "names": "names.txt"}).label_names == list(builders.LABELS)
    with pytest.raises(BadRawData, match="none.txt"):
        corpus_of(tmp_path, labels={**labels, "names": "none.txt"})
    (tmp_path / "findings.csv").write_text(f"study_id,findings\n{rows[0]['study_id']}, st_elevation ;sinus_rhythm;\n")
    entries = entries_of(tmp_path)
    assert entries[rows[0]["study_id"]].labels == ("sinus_rhythm", "st_elevation")
    assert entries[rows[1]["study_id"]].labels == ()
    (tmp_path / "findings.csv").write_text("study_id,findings\n1,st_elevation\n")
    with pytest.raises(BadRawData, match="no row for any of the 3 records .it has '1'"):
        corpus_of(tmp_path)
    (tmp_path / "findings.csv").unlink()
    with pytest.raises(BadRawData, match="no table .*findings.csv"):
        corpus_of(tmp_path)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "files/../../x", "", ".", "a\tb", "a\nb"])
def test_paths_out_of_the_folder_are_not_read(tmp_path, path):
    rows = builders.write_mimic_tree(tmp_path, 2)
    rows[0]["path"] = path
    builders.write_tables(tmp_path, rows)
    with pytest.raises(BadRecord) as caught:
        READER.read_entry(RawFolder(tmp_path), entries_of(tmp_path)[rows[0]["study_id"]], {})
    assert caught.value.reason == "unsafe_path"


def test_excluded_folders(tmp_path):
    builders.write_mimic_tree(tmp_path, 9, n_patients=3)
    assert len(entries_of(tmp_path)) == 9
    kept = entries_of(tmp_path, exclude_sources=["p10000001"])
    assert {entry.patient_id for entry in kept.values()} == {"10000000", "10000002"} and len(kept) == 6
    assert len(entries_of(tmp_path, exclude_sources=["files/p1000/p10000001"])) == 6


def test_the_pretraining_recipe_keeps_all_for_training(tmp_path):
    builders.write_mimic_tree(tmp_path / "raw", 6, n_samples=5000)
    recipe = load_recipe("mimic_pretrain")
    assert (recipe["expected"]["found"], recipe["expected"]["kept"]) == (800_035, 779_891)
    store = build_store({**recipe, "expected": None}, tmp_path / "raw", tmp_path / "store").store
    assert store.corpus["splits"]["train"] == 6
    assert [path.name for path in (store.folder / "manifests").glob("*.tsv")] == ["train.tsv"]
