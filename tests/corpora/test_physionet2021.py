import csv
import logging

import numpy as np
import pytest
from scipy.io import loadmat

from ecgtext_plugins.corpora.physionet2021 import READER, diagnoses
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.readers import open_corpus
from ecgtext_plugins.corpora.snomed import scored_labels, snomed_codes
from ecgtext_plugins.errors import BadRawData, BadRecipe, BadRecord
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.recipe import load_recipe, resolve_recipe
from tests import builders
from tests.downloads import physionet2021 as download


def recipe_of(options=None, **changes):
    recipe = load_recipe("physionet2021")
    return resolve_recipe({**recipe, "options": {**recipe["options"], **(options or {})}, **changes}, "test")


def corpus_of(raw, tables=None, **changes):
    return open_corpus(recipe_of(**changes), raw, tables)


def records_of(raw, **changes):
    recipe = recipe_of(**changes)
    corpus = open_corpus(recipe, raw)
    entries = corpus.entries(0, len(corpus.record_ids))
    return {entry.record_id: READER.read_entry(RawFolder(raw), entry, recipe) for entry in entries}


def test_real_records(shared):
    records = records_of(shared / "data" / "physionet2021")
    assert len(records) == 25
    record = records["E07500"]
    assert (record.entry.age, record.entry.sex, record.entry.patient_id) == (78.0, "M", "E07500")
    assert record.entry.source_path == "georgia/E07500"
    assert record.entry.report == "left atrial enlargement, sinus bradycardia" and record.entry.labels == ("SB",)
    assert record.entry.codes == ("67741000119109", "426177001")
    assert {record.entry.sex for record in records.values()} == {"M", "F"}
    assert all(record.entry.report and record.native_rate == 500 for record in records.values())


def test_table_agrees_with_the_challenge_files(shared):
    folder = shared / "data" / "challenge2021"
    table = snomed_codes()
    expected = {}
    for name in ("scored", "unscored"):
        with open(folder / f"dx_mapping_{name}.csv", newline="") as handle:
            expected.update({row["SNOMEDCTCode"]: (row, name) for row in csv.DictReader(handle)})
    assert table.keys() == expected.keys() and len(table) == 133
    for code, (row, name) in expected.items():
        assert table[code].abbreviation == row["Abbreviation"]
        assert table[code].name == " ".join(row["Dx"].split())
        assert bool(table[code].label) == (name == "scored")
    with open(folder / "weights.csv", newline="") as handle:
        groups = [column.split("|") for column in next(csv.reader(handle))[1:]]
    assert len(scored_labels()) == 26
    for label, group in zip(scored_labels(), groups, strict=True):
        assert {table[code].label for code in group} == {label} == {table[group[0]].abbreviation}


def test_equivalent_codes_are_one_label_and_keep_their_names():
    report, labels = diagnoses(("59118001", "63593006", "713427006"))
    assert report == "right bundle branch block, supraventricular premature beats, complete right bundle branch block"
    assert labels == ("CRBBB", "PAC")
    assert diagnoses(("429622005",)) == ("st depression", ())
    assert diagnoses(()) == (None, ())
    assert diagnoses(("164889003", "12345")) == ("atrial fibrillation", ("AF",))
    assert diagnoses(("12345",)) == (None, ())


def test_all_eight_sources(tmp_path):
    rows = {row["id"]: row for row in download.write_download(tmp_path, 2, longest=20)}
    assert len(rows) == 16 and len({row["source"] for row in rows.values()}) == 8
    assert (loadmat(tmp_path / f"{rows['S0001']['path']}.mat")["val"] == rows["S0001"]["counts"]).all()
    corpus, records = corpus_of(tmp_path), records_of(tmp_path)
    assert corpus.record_ids.to_pylist() == sorted(rows)
    assert corpus.label_names == list(scored_labels())
    for name, row in rows.items():
        record, entry = records[name], records[name].entry
        np.testing.assert_array_equal(record.counts, row["counts"])
        np.testing.assert_array_equal(record.signal, (row["counts"] / 1000).astype(np.float32))
        assert (record.native_rate, record.step_uv) == (row["rate"], 1.0)
        assert (entry.source_path, entry.patient_id) == (row["path"], name)
        assert (entry.age, entry.sex) == (row["age"], row["sex"])
        assert list(entry.codes) == row["codes"]
        assert (entry.report, entry.labels) == diagnoses(row["codes"])


def test_half_an_hour_at_257_hz_and_1000_hz_go_into_a_store(tmp_path):
    download.write_download(tmp_path / "raw", 1, sources=("st_petersburg_incart", "ptb"))
    store = build_store(recipe_of(), tmp_path / "raw", tmp_path / "store").store
    assert store.corpus["counts"] == {"found": 2, "kept": 2, "failed": 0}
    assert store.column("n_samples").tolist() == [5000, 5000]
    assert store.column("native_rate").tolist() == [257.0, 1000.0]


def test_codes_that_the_challenge_lacks(tmp_path):
    counts = builders.ecg_counts(np.random.default_rng(0), 500)
    builders.write_record(tmp_path, "E1", counts, comments=["Dx: 164889003,12345"])
    entry = records_of(tmp_path)["E1"].entry
    assert (entry.codes, entry.report, entry.labels) == (("164889003", "12345"), "atrial fibrillation", ("AF",))
    with pytest.raises(BadRecord, match="record E1.*'12345'.*unknown_codes") as caught:
        records_of(tmp_path, options={"unknown_codes": "reject"})
    assert caught.value.reason == "unknown_code"
    with pytest.raises(BadRecipe, match="unknown_codes is 'ignor': .* did you mean ignore"):
        recipe_of(options={"unknown_codes": "ignor"})


def test_comments_and_exclusions(tmp_path, caplog):
    counts = builders.ecg_counts(np.random.default_rng(0), 500)
    said = ["Age: NaN", "Sex: female", "Dx: 164889003", "Rx: Unknown"]
    builders.write_record(tmp_path / "training" / "ptb" / "g1", "S0001", counts, comments=said)
    builders.write_record(tmp_path / "training" / "georgia", "E0001", counts, comments=["Age:61", "sex:M"])
    first, second = (record.entry for record in records_of(tmp_path).values())
    assert (first.record_id, first.age, first.sex, first.report, first.labels) == ("E0001", 61.0, "M", None, ())
    assert (second.record_id, second.sex, second.labels) == ("S0001", "F", ("AF",))
    assert second.report == "atrial fibrillation"
    assert np.isnan(second.age)
    assert corpus_of(tmp_path, exclude_sources=["ptb"]).record_ids.to_pylist() == ["E0001"]
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        assert len(corpus_of(tmp_path, exclude_sources=["ptbxl"]).record_ids) == 2
    assert "exclude_sources has ptbxl" in caplog.text


def test_qualified_labels_and_none(tmp_path):
    counts = builders.ecg_counts(np.random.default_rng(0), 500)
    builders.write_record(tmp_path, "E1", counts, comments=["Dx: 164889003"])
    labels = {"scheme": ["challenge2021_scored"]}
    assert corpus_of(tmp_path, labels=labels).label_names[0] == "challenge2021_scored/AF"
    assert records_of(tmp_path, labels=labels)["E1"].entry.labels == ("challenge2021_scored/AF",)
    assert corpus_of(tmp_path, labels=None).label_names == []
    assert records_of(tmp_path, labels=None)["E1"].entry.labels == ()


def test_patients_of_ptbxl_come_from_its_own_table(tmp_path):
    download.write_download(tmp_path / "raw", 4, sources=("ptb-xl", "georgia"))
    (tmp_path / "ptbxl_database.csv").write_text("ecg_id,patient_id,age\n1,15709.0,56\n2,77,37\n4,15709.0,60\n9,5,1\n")
    options = {"ptbxl_table": "ptbxl_database.csv"}
    corpus = corpus_of(tmp_path / "raw", tables=tmp_path, options=options)
    patients = {entry.record_id: entry.patient_id for entry in corpus.entries(0, 8)}
    assert {name: patients[name] for name in sorted(patients)[4:]} == {
        "HR00001": "ptbxl-15709",
        "HR00002": "ptbxl-77",
        "HR00003": "HR00003",
        "HR00004": "ptbxl-15709",
    }
    assert all(name == patient for name, patient in patients.items() if name.startswith("E"))
    assert [name for _, name in corpus.table_files] == ["snomed_ct.csv", "ptbxl_database.csv"]
    assert corpus.entries(5, 6)[0].patient_id == "ptbxl-77"
    (tmp_path / "ptbxl_database.csv").write_text("ecg_id,patient_id\n21000,3\n")
    with pytest.raises(BadRawData, match="none of the records"):
        corpus_of(tmp_path / "raw", tables=tmp_path, options=options)
    with pytest.raises(BadRawData, match="no table ptbxl_database.csv"):
        corpus_of(tmp_path / "raw", options=options)


def test_linked_folders_are_read_once_and_loops_end(tmp_path):
    counts = builders.ecg_counts(np.random.default_rng(0), 500)
    builders.write_record(tmp_path / "elsewhere", "E0001", counts)
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "georgia").symlink_to(tmp_path / "elsewhere")
    (raw / "loop").symlink_to(raw)
    assert corpus_of(raw).record_ids.to_pylist() == ["E0001"]


def test_refusals(tmp_path):
    with pytest.raises(BadRawData, match="no .hea file"):
        corpus_of(tmp_path)
    counts = builders.ecg_counts(np.random.default_rng(0), 500)
    for folder in ("a", "b"):
        builders.write_record(tmp_path / folder, "E0001", counts)
    with pytest.raises(BadRawData, match="more than once .*E0001"):
        corpus_of(tmp_path)


def test_a_name_that_is_not_utf8_becomes_a_failure(tmp_path):
    (tmp_path / "a.hea").write_text("")
    with open(bytes(tmp_path) + b"/caf\xe9.hea", "w"):
        pass
    entries = corpus_of(tmp_path).entries(0, 2)
    assert [entry.record_id for entry in entries] == ["a", "caf\\udce9"]
    with pytest.raises(BadRecord) as caught:
        READER.read_entry(RawFolder(tmp_path), entries[1], recipe_of())
    assert caught.value.reason == "missing_header"


@pytest.mark.parametrize(
    ("name", "found", "changes"),
    [
        ("physionet2021", 88_253, {"exclude_sources": []}),
        ("physionet2021_dx", 88_253 - 516 - 74, {"segments": {"seconds": 5}, "identification": False}),
        ("physionet2021_id", 88_253 - 516 - 74, {"segments": {"seconds": 5}, "identification": True}),
    ],
)
def test_shipped_recipes_say_what_the_tasks_are(name, found, changes):
    recipe = load_recipe(name)
    assert recipe["expected"]["found"] == found
    assert {key: recipe[key] for key in changes} == changes
    if name != "physionet2021":
        assert recipe["exclude_sources"] == ["ptb", "st_petersburg_incart"] and recipe["seconds"] is None


def test_the_identification_recipe_looks_ptbxl_patients_up(tmp_path):
    download.write_download(tmp_path / "raw", 6, sources=("ptb-xl", "cpsc_2018", "ptb"), longest=12)
    rows = "".join(f"{number},{number % 2}\n" for number in range(1, 7))
    (tmp_path / "ptbxl_database.csv").write_text(f"ecg_id,patient_id\n{rows}")
    recipe = {**load_recipe("physionet2021_id"), "expected": None}
    recipe["split"] = {**recipe["split"], "fractions": {"test": 1.0}}
    store = build_store(resolve_recipe(recipe, "test"), tmp_path / "raw", tmp_path / "store", tables=tmp_path).store
    assert store.corpus["counts"] == {"found": 12, "kept": 12, "failed": 0}
    patients = dict(zip(store.column("record_id"), store.column("patient_id"), strict=True))
    assert patients["HR00003"] == patients["HR00005"] == "ptbxl-1" and patients["A0003"] == "A0003"
    windows = (store.folder / "manifests" / "test.tsv").read_text().splitlines()[2:]
    assert len(windows) == 6 * 2 + 6 * 2
    for name, first in (("gallery", {"HR00001", "HR00002"}), ("probe", {"HR00003", "HR00004"})):
        lines = (store.folder / "manifests" / "identification" / f"test_{name}.tsv").read_text().splitlines()
        assert {line.split("\t")[0] for line in lines[2:]} == first
