import logging
import pickle

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from ecgtext_plugins.corpora.record import signal_checksum
from ecgtext_plugins.corpora.report_text import clean_report
from ecgtext_plugins.corpora.snomed import scored_labels
from ecgtext_plugins.errors import BadManifest, BadStore
from ecgtext_plugins.store.fairseq_signals.manifests import parse_manifest
from ecgtext_plugins.store.fairseq_signals.mat_manifest import open_folder, open_with_manifest
from ecgtext_plugins.store.fairseq_signals.mat_store import MILLIVOLT, STANDARDISED, MatStore
from ecgtext_plugins.store.fairseq_signals.scan_index import INDEX
from ecgtext_plugins.store.manifest import read_manifest
from tests.downloads import fairseq_signals as download


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    raw = tmp_path_factory.mktemp("tree")
    rows = download.write_download(raw, 9, seed=4)
    download.write_manifests(raw, raw / "manifests", rows, f"\t{raw / 'segmented'}/")
    return raw, rows


@pytest.fixture
def texts(tmp_path):
    return tmp_path, download.write_text_tree(tmp_path, 12)


def test_text_manifests_are_one_store(texts):
    folder, rows = texts
    store, manifest = open_with_manifest(folder / "manifests" / "valid.tsv")
    assert len(store) == 12 and store.kind == "text" and store.unit == MILLIVOLT and store.sample_rate == 500
    assert [path[:-4] for path in manifest.paths] == [row["name"] for row in rows if row["split"] == "valid"]
    by_name = {row["name"]: row for row in rows}
    order = [row["name"] for split in ("train", "valid", "test") for row in rows if row["split"] == split]
    assert store.column("record_id").tolist() == order
    assert store.rows_of([order[7], order[0]]).tolist() == [7, 0]
    for row, name in enumerate(order):
        signal, feats = store.signal_mv(row), by_name[name]["feats"].astype(np.float32)
        assert signal.dtype == np.float32
        np.testing.assert_array_equal(signal, feats)
        assert store.report_text(store.column("report_id")[row]) == clean_report(by_name[name]["text"])
        assert store.column("checksum")[row] == signal_checksum(feats)
        assert store.column("split")[row] == by_name[name]["split"]
    assert store.n_reports == len({clean_report(row["text"]) for row in rows})
    assert store.label_names == [] and store.corpus["splits"] == {"test": 2, "train": 8, "valid": 2}
    for report_id in (-1, store.n_reports):
        with pytest.raises(IndexError):
            store.report_text(report_id)


def test_a_standardised_tree_with_labels_and_leads_that_lack(tree):
    raw, rows = tree
    store, _ = open_with_manifest(raw / "manifests" / "train.tsv")
    assert store.unit == STANDARDISED and store.kind == "plain" and store.sample_rate == 500
    by_idx = {row["idx"]: row for row in rows}
    assert store.label_names == download.LABELS
    matrix = store.label_matrix(np.arange(len(store)), ["AF", "is_male"])
    for row in range(len(store)):
        sample = by_idx[store.column("idx")[row]]
        other = loadmat(store.column("source_path")[row])
        np.testing.assert_array_equal(store.signal_mv(row), other["feats"].astype(np.float32))
        assert store.column("segment")[row] == other["segment_i"][0, 0]
        assert store.column("patient_id")[row] == f"idx {sample['idx']}"
        assert matrix[row].tolist() == [sample["labels"][3], sample["labels"][0]]
    assert store.column("labels")[0].tolist() == [
        name for name, there in zip(download.LABELS, by_idx[store.column("idx")[0]]["labels"], strict=True) if there
    ]
    assert (store.column("report_id") == -1).all() and store.n_reports == 0
    with pytest.raises(BadStore, match="has no label pericarditis: expected one of is_male"):
        store.label_matrix(np.array([0]), ["pericarditis"])
    with pytest.raises(BadStore, match="have no column colour"):
        store.column("colour")
    with pytest.raises(BadManifest, match=r"names record 99, which no manifest in .* lists \(and 0 more\)"):
        store.rows_of(["99"], "my.tsv")


def test_cmsc_windows(tree):
    raw, rows = tree
    store, manifest = open_with_manifest(raw / "manifests" / "cmsc" / "train.tsv")
    of_train = [row["name"] for row in rows if row["split"] == "train" and row["windows"] > 1]
    assert manifest.paths == [f"{name}_{place}.mat" for name in of_train for place in (0, 1)]
    first = store.files.rows[manifest.path][manifest.pairs]
    np.testing.assert_array_equal(store.column("segment")[first], [[0, 1]] * len(of_train))
    assert (store.column("idx")[first[:, 0]] == store.column("idx")[first[:, 1]]).all()


def test_as_manifests_of_ours(tree, tmp_path):
    raw, rows = tree
    path = raw / "manifests" / "cmsc" / "train.tsv"
    manifest, listed = read_manifest(path), parse_manifest(path)
    assert len(manifest) == len(listed) and manifest.record_ids == [name[:-4] for name in listed.paths]
    assert listed.pairs.tolist() == [[place, place + 1] for place in range(0, len(manifest), 2)]
    for index in range(len(manifest)):
        np.testing.assert_array_equal(manifest.signal_mv(index), manifest.store.signal_mv(manifest.rows[index]))
    assert manifest.identities is None and manifest.starts.tolist() == [0] * len(manifest)
    windows = [f"{row['name']}_0.mat\t2500\t{number}" for number, row in enumerate(rows[:4])]
    (tmp_path / "valid_gallery.tsv").write_text("\n".join([str(raw / "segmented"), *windows]))
    assert read_manifest(tmp_path / "valid_gallery.tsv").identities.tolist() == [0, 1, 2, 3]
    store = manifest.store
    for name in ("record_id", "source_path", "patient_id", "checksum", "split"):
        assert store.text_column(name).to_pylist() == store.column(name).tolist()
    assert store.report_texts().to_pylist() == []


def test_lacking_leads_are_missing_samples(tree, tmp_path):
    raw, rows = tree
    lacking = rows[-1]["name"]
    (tmp_path / "train.tsv").write_text(f"{raw / 'org'}\n{lacking}.mat\t{rows[-1]['feats'].shape[1]}\n")
    store = open_folder(tmp_path)
    assert store.unit == MILLIVOLT and store.sample_rate == 400
    assert store.column("missing_leads")[0] == 1 << 11 and store.column("missing_share")[0] == 0
    np.testing.assert_array_equal(np.isnan(store.signal_mv(0)).all(axis=1), np.arange(12) == 11)


def test_labels_inside_the_files_of_the_older_pipeline(tmp_path):
    rows = download.write_old_physionet(tmp_path / "mat")
    lines = [str(tmp_path / "mat"), *(f"{row['name']}.mat\t2500" for row in rows)]
    (tmp_path / "train.tsv").write_text("\n".join(lines))
    store = open_folder(tmp_path)
    assert store.label_names == list(scored_labels())
    matrix = store.label_matrix(np.arange(len(rows)), store.label_names)
    np.testing.assert_array_equal(matrix, [row["label"] for row in rows])
    assert store.column("patient_id").tolist() == [f"mat/{row['patient_id']}" for row in rows]
    assert store.column("sex").tolist() == ["MF"[row["sex"]] for row in rows]
    np.testing.assert_array_equal(store.column("age"), [row["age"] or np.nan for row in rows])


def test_train_and_valid_share_one_scan_and_a_worker_needs_none(texts, monkeypatch):
    folder, _ = texts
    store, _ = open_with_manifest(folder / "manifests" / "train.tsv")
    reports = store.column("report_id")
    monkeypatch.setattr("ecgtext_plugins.store.fairseq_signals.mat_store.scan_files", None)
    other, _ = open_with_manifest(folder / "manifests" / "valid.tsv")
    assert other is store
    copy = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(copy.column("report_id"), reports)
    assert copy.report_text(0) == store.report_text(0) and copy.fingerprint == store.fingerprint
    assert copy.reports_fingerprint == store.reports_fingerprint
    np.testing.assert_array_equal(copy.signal_mv(3), store.signal_mv(3))


def test_nothing_is_written_without_being_asked_for(texts, monkeypatch, caplog):
    folder = texts[0] / "manifests"
    before = sorted(path.name for path in folder.iterdir())
    store = MatStore.open(folder, "plain")
    with caplog.at_level(logging.INFO):
        checksums = store.column("checksum")
    assert f"`ecgtext manifest index {folder}` keeps the result" in caplog.text
    assert sorted(path.name for path in folder.iterdir()) == before
    store.scan(workers=2, keep=True)
    np.testing.assert_array_equal(store.column("checksum"), checksums)
    monkeypatch.setattr("ecgtext_plugins.store.fairseq_signals.mat_store.scan_files", None)
    again = MatStore.open(folder, "plain")
    np.testing.assert_array_equal(again.column("checksum"), checksums)
    assert again.n_reports == store.n_reports
    (folder / "test.tsv").unlink()
    with pytest.raises(BadManifest, match="belongs to other manifests .* run `ecgtext manifest index"):
        MatStore.open(folder, "plain").column("report_id")
    (folder / INDEX).write_bytes(b"PAR1")
    with pytest.raises(BadManifest, match="cannot be read"):
        MatStore.open(folder, "plain").column("report_id")


def damage(folder, name, what):
    path = folder / "mat" / f"{name}.mat"
    values = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    values["text"] = str(values["text"][0])
    if what == "missing":
        path.unlink()
    elif what == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    else:
        if what == "rate":
            values["curr_sample_rate"] = 250
        elif what == "length":
            values["feats"] = values["feats"][:, :-3]
        elif what == "standardised":
            values |= {"mean": np.zeros((12, 1)), "std": np.ones((12, 1))}
        else:
            del values["feats"]
        savemat(path, values)
    return path


@pytest.mark.parametrize(
    ("what", "message", "at_read"),
    [
        ("missing", "there is no file .*4003.mat", True),
        ("truncated", "4003.mat cannot be read", True),
        ("feats", "4003.mat has no feats", True),
        ("length", "4003.mat has 997 samples: expected 1000 by that line", True),
        ("rate", "4003.mat has curr_sample_rate 250.0 Hz, but .*4000.mat", False),
        ("standardised", "4003.mat has standardised signals: True, but", False),
    ],
)
def test_bad_files_are_named_with_manifest_and_line(texts, what, message, at_read):
    folder, _ = texts
    damage(folder, "4003", what)
    store = MatStore.open(folder / "manifests", "plain")
    with pytest.raises(BadManifest, match=rf"train.tsv line 5: .*{message}"):
        store.column("report_id")
    match = message if at_read else "4003.mat is at .*expected 500 Hz, mV"
    with pytest.raises(BadStore, match=match):
        store.signal_mv(3)


def test_two_lengths_of_one_file(texts):
    folder, rows = texts
    path = folder / "manifests" / "valid.tsv"
    path.write_text(path.read_text() + f"{rows[0]['name']}.mat\t999\n")
    with pytest.raises(BadManifest, match=r"valid.tsv line 4 gives .*4000.mat 999 samples, .*train.tsv line 2 1000"):
        MatStore.open(folder / "manifests", "plain")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda labels: (labels / "label_def.csv").unlink(), "cannot be read"),
        (lambda labels: (labels / "label_def.csv").write_text("name,x\na,1\n"), "a column for each name"),
        (lambda labels: np.save(labels / "y.npy", np.zeros((3, 4))), "no row for sample id"),
        (lambda labels: (labels / "y.npy").write_bytes(b"rubbish"), "cannot be read"),
    ],
)
def test_bad_labels(tmp_path, break_it, message):
    rows = download.write_download(tmp_path, 6)
    download.write_manifests(tmp_path, tmp_path / "manifests", rows, str(tmp_path / "segmented"))
    break_it(tmp_path / "labels")
    store = open_folder(tmp_path / "manifests")
    with pytest.raises(BadStore, match=message):
        store.label_matrix(np.arange(len(store)), ["AF"])


def test_folders_without_manifests(tmp_path):
    with pytest.raises(BadManifest, match="holds no manifest of fairseq-signals"):
        open_folder(tmp_path)
    with pytest.raises(BadManifest, match="holds no cmsc manifest"):
        MatStore.open(tmp_path, "cmsc")
