import csv

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.readers import READERS, open_corpus
from ecgtext_plugins.corpora.snomed import scored_labels
from ecgtext_plugins.errors import BadRawData, BadRecipe, BadRecord
from ecgtext_plugins.signals.resampling import resample_linear
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.recipe import load_recipe, resolve_recipe
from tests.downloads import fairseq_signals as download

READER = READERS["fairseq_signals"]
OLD = {"folder": ".", "table": None, "splits": None}
BY_PATIENT = {"by": "patient", "seed": 0, "fractions": {"train": 0.5, "valid": 0.2, "test": 0.3}}


def recipe_of(options=None, **changes):
    recipe = load_recipe("fairseq_signals")
    return resolve_recipe({**recipe, "options": {**recipe["options"], **(options or {})}, **changes}, "test")


def entries_of(raw, options=None, **changes):
    corpus = open_corpus(recipe_of(options, **changes), raw)
    return corpus, {entry.record_id: entry for entry in corpus.entries(0, len(corpus.record_ids))}


def read(raw, entry, options=None, **changes):
    return READER.read_entry(RawFolder(raw), entry, recipe_of(options, **changes))


@pytest.fixture
def tree(tmp_path):
    return tmp_path, download.write_download(tmp_path, 9, seed=2)


def test_what_the_tables_say(tree):
    raw, rows = tree
    corpus, entries = entries_of(raw)
    assert corpus.label_names == download.LABELS
    assert corpus.record_ids.to_pylist() == sorted(row["name"] for row in rows)
    assert {name for _, name in corpus.table_files} == {"meta.csv", "meta_split.csv", "labels/labels.csv"}
    for row in rows:
        entry = entries[row["name"]]
        assert (entry.patient_id, entry.split, entry.age) == (row["patient_id"], row["split"], row["age"])
        assert (entry.sex, entry.report) == ("M" if row["is_male"] else "F", row["report"])
        assert entry.labels == tuple(name for name, there in zip(download.LABELS, row["labels"], strict=True) if there)
        assert entry.source_path == f"org/{row['name']}.mat"
    some = corpus.entries(3, 5)
    assert [entry.record_id for entry in some] == corpus.record_ids.to_pylist()[3:5]
    assert some[0] == entries[some[0].record_id]


def test_signals(tree):
    raw, rows = tree
    _, entries = entries_of(raw)
    for row in rows:
        record = read(raw, entries[row["name"]])
        np.testing.assert_array_equal(record.signal, row["feats"].astype(np.float32))
        assert (record.native_rate, record.step_uv) == (400.0, None)
        assert record.missing_leads == (1 << 11 if row is rows[-1] else 0)


def test_standardised_files_come_back_in_millivolt(tree):
    """preprocessed/ keeps mean and std: the signal is org/ at 500 Hz again, up to single precision."""
    raw, rows = tree
    _, entries = entries_of(raw, {"folder": "preprocessed"})
    for row in rows[:3]:
        record = read(raw, entries[row["name"]])
        expected = resample_linear(row["feats"].astype(np.float64), 400, 500, np.float64)
        assert record.native_rate == 500
        np.testing.assert_allclose(record.signal, expected, atol=2e-7 * np.abs(expected).max())


def test_labels_by_y_npy_are_the_same(tree):
    raw, _ = tree
    _, by_table = entries_of(raw)
    (raw / "labels" / "labels.csv").unlink()
    corpus, by_array = entries_of(raw)
    assert by_array == by_table and corpus.label_names == download.LABELS


def test_a_build_with_the_shipped_recipe(tree):
    raw, rows = tree
    store = build_store(load_recipe("fairseq_signals"), raw, raw / "data").store
    split = {name: sum(row["split"] == name for row in rows) for name in ("train", "valid", "test")}
    assert store.corpus["counts"] == {"found": 9, "kept": 8, "failed": 1} and store.corpus["splits"] == split
    assert store.corpus["failures"] == {"no_split": 1}
    expected = {row["name"]: 3667 if row["feats"].shape[1] == 2934 else 5120 for row in rows[:-1]}
    assert dict(zip(store.column("record_id"), store.column("n_samples"), strict=True)) == expected


def test_patients_and_reports_by_the_columns_asked_for(tree):
    raw, rows = tree
    _, entries = entries_of(raw, {"patient_columns": ["subject_id", "exam_id"], "report_columns": ["dataset"]})
    assert entries[rows[0]["name"]].patient_id == rows[0]["name"][8:]
    assert entries[rows[0]["name"]].report == "code_15"
    _, entries = entries_of(raw, {"patient_columns": [], "report_columns": []})
    entry = entries[rows[0]["name"]]
    assert (entry.patient_id, entry.report) == (rows[0]["name"], None)
    assert read(raw, entry).entry.patient_id == rows[0]["name"]


def test_splits_by_recording_are_refused_where_patients_are_known(tree):
    """scripts/preprocess/splits.py with its strategy random, the documented one for PhysioNet 2021."""
    raw, rows = tree
    rewrite(raw / "meta.csv", lambda rows: [{**row, "patient_id": "7"} for row in rows])
    with pytest.raises(
        BadRawData, match=r"has 1 patients in more than one split \(one is 7\): .*options.patient_columns to \[\]"
    ):
        entries_of(raw)
    assert len(entries_of(raw, {"patient_columns": []})[1]) == len(rows)
    assert len(entries_of(raw, split=BY_PATIENT)[1]) == len(rows)


def test_sources_left_out(tree):
    raw, rows = tree
    path = raw / "meta.csv"
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace("code_15,code_15", "physionet2021,ptb")
    path.write_text("\n".join(lines) + "\n")
    assert rows[0]["name"] not in entries_of(raw, exclude_sources=["ptb"])[1]
    assert len(entries_of(raw, exclude_sources=["code_15"])[1]) == 1
    with pytest.raises(BadRawData, match="lists no .mat file to read"):
        entries_of(raw, exclude_sources=["code_15", "ptb"])


def test_texts_of_the_older_pipeline(tmp_path):
    rows = download.write_text_tree(tmp_path, 9)
    changes = {"labels": None, "split": BY_PATIENT}
    _, entries = entries_of(tmp_path, {**OLD, "folder": "mat"}, **changes)
    assert sorted(entries) == [row["name"] for row in rows]
    for row in rows:
        record = read(tmp_path, entries[row["name"]], OLD, **changes)
        assert (record.entry.report, record.entry.patient_id) == (row["text"], row["name"])
        np.testing.assert_array_equal(record.signal, row["feats"].astype(np.float32))


def test_labels_age_and_patients_of_the_older_physionet_pipeline(tmp_path):
    rows = download.write_old_physionet(tmp_path / "Ga")
    changes = {"labels": {"scheme": "challenge2021_scored"}, "split": BY_PATIENT}
    corpus, entries = entries_of(tmp_path, OLD, **changes)
    assert corpus.label_names == list(scored_labels())
    for row in rows:
        entry = read(tmp_path, entries[row["name"]], OLD, **changes).entry
        assert (entry.patient_id, entry.sex) == (str(row["patient_id"]), "MF"[row["sex"]])
        assert np.isnan(entry.age) if row["age"] == 0 else entry.age == row["age"]
        assert entry.labels == tuple(np.array(scored_labels())[row["label"]])
    _, entries = entries_of(tmp_path, OLD, **{**changes, "exclude_sources": ["elsewhere"]})
    assert len(entries) == len(rows)
    qualified = read(
        tmp_path, entries[rows[0]["name"]], OLD, **{**changes, "labels": {"scheme": ["challenge2021_scored"]}}
    )
    assert qualified.entry.labels == tuple(
        f"challenge2021_scored/{name}" for name in np.array(scored_labels())[rows[0]["label"]]
    )


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "missing_file"),
        (lambda path: path.write_bytes(path.read_bytes()[:4000]), "unreadable_mat"),
        (lambda path: path.write_bytes(b"not a mat file"), "unreadable_mat"),
        (lambda path: savemat(path, {"curr_sample_rate": 400}), "no_feats"),
        (lambda path: savemat(path, {"curr_sample_rate": 400, "feats": np.zeros((2, 500))}), "feats_shape"),
        (lambda path: savemat(path, {"feats": np.zeros((12, 500))}), "sampling_rate"),
        (lambda path: savemat(path, {"curr_sample_rate": 400, "feats": np.full((12, 500), 1e6)}), "amplitude"),
        (lambda path: savemat(path, {"curr_sample_rate": 400, "feats": np.full((12, 500), np.nan)}), "nan_samples"),
    ],
)
def test_bad_files_are_failures_of_their_own(tree, damage, reason):
    raw, rows = tree
    damage(raw / "org" / f"{rows[1]['name']}.mat")
    _, entries = entries_of(raw)
    with pytest.raises(BadRecord, match=f"record {rows[1]['name']}") as caught:
        read(raw, entries[rows[1]["name"]])
    assert caught.value.reason == reason
    read(raw, entries[rows[2]["name"]])


def test_a_file_without_label_is_told(tree):
    raw, rows = tree
    changes = {"labels": {"scheme": "challenge2021_scored"}}
    _, entries = entries_of(raw, **changes)
    with pytest.raises(BadRecord, match="has no label: expected one for each of the 26") as caught:
        read(raw, entries[rows[0]["name"]], **changes)
    assert caught.value.reason == "label_vector"


def rewrite(path, change):
    with open(path, newline="") as handle:
        rows = list(csv.DictReader(handle))
    rows = change(rows)
    download.write_csv(path, rows[0].keys(), (row.values() for row in rows))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("meta.csv", None, "has no meta.csv: expected the folder that fairseq-signals calls processed_root"),
        ("meta_split.csv", None, "has no meta_split.csv"),
        ("meta.csv", lambda rows: [*rows, rows[0]], "record names .* more than once"),
        ("meta.csv", lambda rows: [{**row, "idx": "one"} for row in rows], "'one' in the column idx"),
        ("meta.csv", lambda rows: [{k: v for k, v in row.items() if k != "idx"} for row in rows], "column idx"),
        ("meta.csv", lambda rows: [{k: v for k, v in row.items() if k != "save_file"} for row in rows], "save_file"),
        ("meta_split.csv", lambda rows: [*rows, rows[0]], "save_file .* more than once"),
        ("labels/labels.csv", lambda rows: [{**row, "AF": "maybe"} for row in rows], "'maybe' in the column AF"),
        ("labels/labels.csv", lambda rows: [*rows, rows[0]], "idx .* more than once"),
    ],
)
def test_bad_tables(tree, name, change, message):
    raw, _ = tree
    if change is None:
        (raw / name).unlink()
    else:
        rewrite(raw / name, change)
    with pytest.raises(BadRawData, match=message):
        entries_of(raw)


def test_bad_label_arrays(tree):
    raw, _ = tree
    (raw / "labels" / "labels.csv").unlink()
    y = np.load(raw / "labels" / "y.npy")
    for values, message in ((y[:, :2], "a column for each of the 4 names"), (y * 0.5, "expected 0 and 1")):
        np.save(raw / "labels" / "y.npy", values)
        with pytest.raises(BadRawData, match=message):
            entries_of(raw)
    (raw / "labels" / "y.npy").write_bytes(b"no array")
    with pytest.raises(BadRawData, match="y.npy cannot be read"):
        entries_of(raw)
    (raw / "labels" / "y.npy").unlink()
    with pytest.raises(BadRawData, match="has neither labels/labels.csv nor labels/y.npy"):
        entries_of(raw)
    assert entries_of(raw, labels=None)[0].label_names == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folder": "../elsewhere"}, "options.folder is '../elsewhere'"),
        ({"table": "/etc/passwd"}, "options.table"),
        ({"patient_columns": [3]}, "options.patient_columns"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(BadRecipe, match=message):
        recipe_of(options)


def test_a_row_that_leads_out_of_the_tree_is_rejected(tree):
    raw, _ = tree
    rewrite(raw / "meta.csv", lambda rows: [{**rows[0], "save_file": "../../secret.mat"}, *rows[1:]])
    _, entries = entries_of(raw)
    with pytest.raises(BadRecord) as caught:
        read(raw, entries["secret"])
    assert caught.value.reason == "unsafe_path"


def test_written_by_scipy_as_fairseq_signals_does(tree):
    """The fixture itself has the keys, shapes and types of the real files."""
    raw, rows = tree
    org = loadmat(raw / "org" / f"{rows[0]['name']}.mat")
    assert org["feats"].dtype == np.float32 and org["idx"].dtype == np.int64 and org["idx"].shape == (1, 1)
    done = loadmat(raw / "preprocessed" / f"{rows[0]['name']}.mat")
    assert done["feats"].shape == (12, 3667) and done["feats"].dtype == done["mean"].dtype == np.float64
