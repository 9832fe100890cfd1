import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from scipy.io import loadmat

from ecgtext_plugins.errors import BadConfig, BadStore
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.fairseq_signals import export as export_module
from ecgtext_plugins.store.fairseq_signals.export import disk_need, export_store
from ecgtext_plugins.store.fairseq_signals.export_plan import ExportOptions
from ecgtext_plugins.store.fairseq_signals.manifests import parse_manifest
from ecgtext_plugins.store.fairseq_signals.mat_manifest import open_folder, open_with_manifest
from ecgtext_plugins.store.recipe import load_recipe
from tests.builders import tree_digest
from tests.downloads.fairseq_signals import standardised
from tests.store.fairseq_signals.stores import NO_REPORT, SHORT, V1_CONSTANT, V6_MISSING, small_store

ALL = ExportOptions(kinds=("plain", "cmsc", "identification", "text"), labels=True)
NEWER = {
    "org_sample_rate": ((1, 1), "<i8"),
    "org_sample_size": ((1, 1), "<i8"),
    "curr_sample_rate": ((1, 1), "<i8"),
    "curr_sample_size": ((1, 1), "<i8"),
    "idx": ((1, 1), "<i8"),
}
MOMENTS = {"mean": ((12, 1), "<f8"), "std": ((12, 1), "<f8")}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return small_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def exported(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "fs"
    return folder, export_store(store, folder, ALL)


def table(path):
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def name_of(store, row):
    return f"tiny_{store.column('record_id')[row]}"


def forms(path):
    return {key: (value.shape, value.dtype.str) for key, value in loadmat(path).items() if not key.startswith("__")}


def test_variables_are_those_of_the_newer_pipeline(store, tmp_path):
    export_store(store, tmp_path / "fs", ExportOptions())
    name = name_of(store, 0)
    size = int(store.column("n_samples")[0])
    assert forms(tmp_path / "fs/org" / f"{name}.mat") == {**NEWER, "feats": ((12, size), "<f8")}
    assert forms(tmp_path / "fs/preprocessed" / f"{name}.mat") == {**NEWER, **MOMENTS, "feats": ((12, size), "<f8")}
    window = {**NEWER, **MOMENTS, "feats": ((12, 2500), "<f8"), "segment_i": ((1, 1), "<i8")}
    assert forms(tmp_path / "fs/segmented" / f"{name}_1.mat") == window
    last = loadmat(tmp_path / "fs/segmented" / f"{name}_1.mat")
    assert (last["segment_i"], last["curr_sample_size"], last["org_sample_size"]) == (1, 2500, size)


def test_org_is_the_store_and_the_rest_an_independent_formula_bit_for_bit(store, exported):
    folder, _ = exported
    for row in range(len(store)):
        name = name_of(store, row)
        org = loadmat(folder / "org" / f"{name}.mat")
        np.testing.assert_array_equal(org["feats"], store.signal_mv(row))
        assert org["idx"] == row
        expected = standardised(org)
        done = loadmat(folder / "preprocessed" / f"{name}.mat")
        for key in ("feats", "mean", "std", "curr_sample_rate", "curr_sample_size"):
            np.testing.assert_array_equal(done[key], np.atleast_2d(expected[key]), err_msg=f"{name} {key}")
        windows = expected["feats"].shape[1] // 2500
        for place in range(windows):
            window = loadmat(folder / "segmented" / f"{name}_{place}.mat")
            np.testing.assert_array_equal(window["feats"], expected["feats"][:, 2500 * place : 2500 * (place + 1)])
            np.testing.assert_array_equal(window["mean"], done["mean"])
        assert not (folder / "segmented" / f"{name}_{windows}.mat").exists()
    constant = loadmat(folder / "preprocessed" / f"{name_of(store, V1_CONSTANT)}.mat")
    assert (constant["feats"][6] == 0).all() and constant["std"][6] == 0 and constant["mean"][6] == pytest.approx(0.1)
    lacking = loadmat(folder / "preprocessed" / f"{name_of(store, V6_MISSING)}.mat")
    assert np.isnan(lacking["feats"][11]).all() and np.isnan(lacking["std"][11])
    assert np.isfinite(lacking["feats"][:11]).all()


def test_resampled_by_straight_lines(tmp_path):
    """2934 samples at 400 Hz are 3667 at 500 Hz, bit for bit as scipy's interp1d has them."""
    store = small_store(tmp_path, rate=400, n_samples=2934, n_records=6)
    export_store(store, tmp_path / "fs", ExportOptions())
    for row in (0, 1, V6_MISSING, V1_CONSTANT):
        name = name_of(store, row)
        org, done = (loadmat(tmp_path / "fs" / stage / f"{name}.mat") for stage in ("org", "preprocessed"))
        assert org["feats"].shape == (12, 2934) and done["feats"].shape == (12, 3667)
        assert (org["curr_sample_rate"], done["curr_sample_rate"], done["org_sample_rate"]) == (400, 500, 400)
        assert (done["org_sample_size"], done["curr_sample_size"]) == (2934, 3667)
        expected = standardised(org)
        for key in ("feats", "mean", "std"):
            np.testing.assert_array_equal(done[key], expected[key])
    assert (done["feats"][6] == 0).all()
    assert len(list((tmp_path / "fs/segmented").iterdir())) == len(store) - 1  # one of 3 s has no window


def test_tables(store, exported):
    folder, result = exported
    meta, split, windows = (table(folder / f"{name}.csv") for name in ("meta", "meta_split", "segmented_split"))
    assert [int(row["idx"]) for row in meta] == list(range(len(store)))
    assert [row["split"] for row in split] == store.column("split").tolist()
    for row, line in enumerate(meta):
        signal = store.signal_mv(row).astype(np.float64)
        np.testing.assert_allclose([float(line[f"mean_{k}"] or "nan") for k in range(12)], signal.mean(1), rtol=1e-12)
        np.testing.assert_allclose([float(line[f"std_{k}"] or "nan") for k in range(12)], signal.std(1), rtol=1e-12)
        assert line["save_file"] == f"{name_of(store, row)}.mat" and line["sample_size"] == str(signal.shape[1])
        assert line["patient_id"] == store.column("patient_id")[row] and line["sample_rate"] == "500"
    assert (meta[V6_MISSING]["nan_any"], meta[V6_MISSING]["nan_leads"]) == ("True", "['V6']")
    assert meta[V6_MISSING]["avail_leads"].endswith("'V4', 'V5']") and meta[V6_MISSING]["mean_11"] == ""
    assert (meta[V1_CONSTANT]["constant_leads_any"], meta[V1_CONSTANT]["constant_leads"]) == ("True", "['V1']")
    assert (meta[0]["nan_any"], meta[0]["constant_leads"]) == ("False", "[]")
    assert meta[NO_REPORT]["machine_report"] == "" and meta[0]["machine_report"]
    assert len(windows) == result.summary["windows"] == 2 * (len(store) - 1)
    assert windows[0]["path"] == f"segmented/{name_of(store, 0)}_0.mat" and (folder / windows[0]["path"]).is_file()
    assert [line["path"] for line in table(folder / "segmented.csv")] == [line["path"] for line in windows]
    assert len(table(folder / "records.csv")) == len(table(folder / "manifest.csv")) == len(store)
    assert result.summary["records_without_window"] == 1 and result.summary["records_with_missing_samples"] == 1


def test_manifests_read_back(store, exported):
    folder, result = exported
    split = store.column("split")
    for name in ("train", "valid", "test"):
        rows = [row for row in np.flatnonzero(split == name)]
        plain = parse_manifest(folder / "manifests/plain" / f"{name}.tsv")
        long = [row for row in rows if row != SHORT]
        assert plain.root == folder / "segmented"
        assert plain.paths == [f"{name_of(store, row)}_{place}.mat" for row in long for place in (0, 1)]
        pairs = parse_manifest(folder / "manifests/cmsc" / f"{name}.tsv")
        windows = [[loadmat(pairs.root / pairs.paths[place]) for place in pair] for pair in pairs.pairs]
        assert [int(one["idx"][0, 0]) for one, _ in windows] == long
        for one, two in windows:
            assert one["idx"] == two["idx"] and (one["segment_i"], two["segment_i"]) == (0, 1)
        text = parse_manifest(folder / "manifests/text" / f"{name}.tsv")
        assert text.root == folder / "org"
        assert text.paths == [f"{name_of(store, row)}.mat" for row in rows if row != NO_REPORT]
    assert result.summary["manifests"]["plain"]["train"] == len(plain_of(folder, "train"))


def plain_of(folder, name):
    return parse_manifest(folder / "manifests/plain" / f"{name}.tsv")


def test_identification_classes(store, exported):
    folder, _ = exported
    patient = store.column("patient_id")
    by_name = {name_of(store, row): row for row in range(len(store))}

    def people(name):
        manifest = parse_manifest(folder / "manifests/identification" / f"{name}.tsv")
        rows = [by_name[path.rpartition("_")[0]] for path in manifest.paths]
        files = [loadmat(manifest.root / path) for path in manifest.paths]
        assert [int(file["patient_id"][0, 0]) for file in files] == [int(patient[row]) for row in rows]
        return rows, manifest.classes.tolist()

    rows, classes = people("train")
    assert len(rows) == len(plain_of(folder, "train"))
    assert {(patient[row], number) for row, number in zip(rows, classes, strict=True)} == set(
        zip(dict.fromkeys(patient[rows]), range(max(classes) + 1), strict=True)
    )
    for split in ("valid", "test"):
        gallery, probe = people(f"{split}_gallery"), people(f"{split}_probe")
        assert gallery[1] == probe[1] == list(range(len(gallery[1])))
        for one, two in zip(gallery[0], probe[0], strict=True):
            assert patient[one] == patient[two] and one != two


def test_texts_and_labels_read_back(store, exported):
    folder, _ = exported
    there, manifest = open_with_manifest(folder / "manifests/text/train.tsv")
    assert there.kind == "text" and there.unit == "mV"
    for row in range(len(there)):
        own = int(there.column("idx")[row])
        assert there.report_text(there.column("report_id")[row]) == store.report_text(store.column("report_id")[own])
        np.testing.assert_array_equal(there.signal_mv(row), store.signal_mv(own))
    assert there.label_names == store.label_names
    np.testing.assert_array_equal(
        there.label_matrix(np.arange(len(there)), there.label_names),
        store.label_matrix(there.column("idx"), store.label_names),
    )
    assert "text" not in forms(folder / "org" / f"{name_of(store, NO_REPORT)}.mat")


def test_export_and_build_again_give_the_same_records(store, exported, tmp_path):
    folder, _ = exported
    again = build_store(load_recipe("fairseq_signals"), folder, tmp_path / "again").store
    assert again.corpus["counts"] == {"found": len(store), "kept": len(store), "failed": 0}
    assert again.corpus["splits"] == store.corpus["splits"] and again.label_names == store.label_names
    rows = again.rows_of([name_of(store, row) for row in range(len(store))])
    for name in ("patient_id", "split", "missing_leads", "flat_leads", "n_samples"):
        assert again.column(name)[rows].tolist() == store.column(name).tolist(), name
    for row, other in enumerate(rows):
        np.testing.assert_allclose(again.signal_mv(other), store.signal_mv(row), atol=5.1e-4)
        assert sorted(again.column("labels")[other]) == sorted(store.column("labels")[row])
    texts = [again.report_text(number) for number in again.column("report_id")[rows] if number >= 0]
    assert texts == [store.report_text(number) for number in store.column("report_id") if number >= 0]


def test_folders_in_manifests(store, tmp_path):
    only = ExportOptions(stages=("segmented",), kinds=("plain", "cmsc"), absolute_root=True, tab_header=True)
    export_store(store, tmp_path / "fs", only)
    target = tmp_path / "fs" / "segmented"
    assert (tmp_path / "fs/manifests/plain/train.tsv").read_text().startswith(f"\t{target}/\ntiny_")
    assert (tmp_path / "fs/manifests/cmsc/train.tsv").read_text().startswith(f"{target}\nmat\ntiny_")
    assert plain_of(tmp_path / "fs", "train").root == target
    assert table(tmp_path / "fs/segmented.csv")[0]["path"] == f"{target}/{name_of(store, 0)}_0.mat"
    assert not (tmp_path / "fs/org").exists() and not (tmp_path / "fs/labels").exists()


def test_a_moved_export_still_works(exported, tmp_path):
    moved = shutil.copytree(exported[0], tmp_path / "moved")
    there = open_folder(moved / "manifests/plain")
    assert there.signal_mv(0).shape == (12, 2500) and there.column("source_path")[0].startswith(str(moved))


def test_workers_and_interruptions_change_no_byte(store, exported, tmp_path, monkeypatch):
    whole = {name: digest for name, digest in tree_digest(exported[0]).items()}
    with monkeypatch.context() as patch:
        patch.setattr(export_module, "write_tables", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            export_store(store, tmp_path / "fs", ALL)
    assert not (tmp_path / "fs" / "export.json").exists()
    damaged = tmp_path / "fs" / "segmented" / f"{name_of(store, 1)}_0.mat"
    untouched = tmp_path / "fs" / "org" / f"{name_of(store, 0)}.mat"
    before = untouched.stat().st_mtime_ns
    damaged.write_bytes(damaged.read_bytes()[:1000])
    (tmp_path / "fs" / "org" / f"{name_of(store, 2)}.mat").unlink()
    steps = []
    result = export_store(store, tmp_path / "fs", ALL, workers=2, progress=lambda *step: steps.append(step))
    assert tree_digest(tmp_path / "fs") == whole and untouched.stat().st_mtime_ns == before
    assert steps[0] == (len(store), 0) and steps[-1] == (len(store), len(store)) and not result.was_finished
    again = export_store(store, tmp_path / "fs", ALL)
    assert again.was_finished and again.summary == json.loads(json.dumps(result.summary))


@pytest.mark.slow
def test_killed_exports_end_with_the_same_bytes(store, exported, tmp_path):
    """kill -9 after each of some files, the same command again."""
    program = (
        "import os, sys\n"
        "from ecgtext_plugins.cli.main import main\n"
        "replace, left = os.replace, [int(sys.argv[1])]\n"
        "def dying(*args):\n"
        "    left[0] -= 1\n"
        "    os.kill(os.getpid(), 9) if left[0] == 0 else replace(*args)\n"
        "os.replace = dying\n"
        "sys.exit(main(sys.argv[2:]))"
    )
    words = ["manifest", "export", str(store.folder), "--format", "fairseq-signals", "--dest", str(tmp_path / "fs")]
    words += ["--kinds", "plain,cmsc,identification,text", "--labels", "--workers", "1"]
    for left in (1, 2, 9, 30, 3, 8, 9, 14):
        done = subprocess.run([sys.executable, "-c", program, str(left), *words], capture_output=True)
        assert done.returncode in (-9, 0), done.stderr
    assert subprocess.run([sys.executable, "-c", program, "1000000", *words]).returncode == 0
    assert tree_digest(tmp_path / "fs") == tree_digest(exported[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": ("raw",)}, "--stages is raw: expected one or more of org, preprocessed, segmented"),
        ({"stages": ()}, "--stages is empty"),
        ({"kinds": ("plain", "plain")}, "--kinds is plain,plain"),
        ({"stages": ("org",), "kinds": ("cmsc",)}, "cmsc without the stage segmented"),
        ({"sample_rate": 0}, "--sample-rate is 0"),
        ({"sample_rate": 333.3}, "--sample-rate is 333.3"),
        ({"segment_seconds": 0.0001}, "--segment-seconds 0.0001 is 0.05 samples"),
        ({"segment_seconds": float("nan")}, "--segment-seconds nan"),
    ],
)
def test_options_that_do_not_fit(store, tmp_path, options, message):
    with pytest.raises(BadConfig, match=message):
        export_store(store, tmp_path / "fs", ExportOptions(**options))
    assert not (tmp_path / "fs").exists()


def test_foreign_folders_and_other_exports_are_refused(store, exported, tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(BadStore, match="holds thesis.txt and no export"):
        export_store(store, tmp_path, ALL)
    with pytest.raises(BadStore, match="is a file"):
        export_store(store, tmp_path / "thesis.txt", ALL)
    with pytest.raises(BadStore, match="holds an export of another store or with other options .*segment_seconds 5"):
        export_store(store, exported[0], ExportOptions(segment_seconds=2))
    copy = shutil.copytree(exported[0], tmp_path / "copy")
    (copy / "export.json").write_text("{")
    with pytest.raises(BadStore, match="export.json is damaged"):
        export_store(store, copy, ALL)


def test_disk_need_is_told_before_anything_is_written(store, exported, tmp_path, monkeypatch):
    stages = (exported[0] / stage for stage in ("org", "preprocessed", "segmented"))
    there = sum(path.stat().st_size for stage in stages for path in stage.iterdir())
    assert there <= disk_need(store, tmp_path / "fs", ALL) <= 1.02 * there
    ten_seconds = there / sum(store.column("n_samples")) * 5000
    assert ten_seconds == pytest.approx(1.44e6, rel=0.1)
    usage = type(shutil.disk_usage("/"))(10**9, 10**9 - 10**6, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    with pytest.raises(BadStore, match=r"has 0.0 GB free: expected 0.0 GB for the .mat files of 12 records"):
        export_store(store, tmp_path / "fs", ALL)
    assert not (tmp_path / "fs").exists()


def test_a_folder_that_cannot_be_written(store, tmp_path):
    (tmp_path / "fs").mkdir()
    (tmp_path / "fs").chmod(0o500)
    if os.access(tmp_path / "fs", os.W_OK):
        pytest.skip("this user may write anywhere")
    with pytest.raises((BadStore, OSError)):
        export_store(store, tmp_path / "fs", ALL)


def test_real_records_against_wfdb(shared, tmp_path):
    """org files of real recordings hold what wfdb reads, as fairseq-signals' own do, up to single precision."""
    import wfdb

    raw = shared / "data" / "physionet2021"
    store = build_store(load_recipe("physionet2021"), raw, tmp_path / "data").store
    export_store(store, tmp_path / "fs", ExportOptions(kinds=("plain", "cmsc", "text"), labels=True))
    for row in range(0, len(store), 5):
        path = store.column("source_path")[row]
        physical, fields = wfdb.rdsamp(str(raw / path))
        org = loadmat(tmp_path / "fs/org" / f"physionet2021_{store.column('record_id')[row]}.mat")
        assert fields["sig_name"] == ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
        np.testing.assert_allclose(org["feats"], physical.T[:, : org["feats"].shape[1]], rtol=1.2e-7)
    pairs = parse_manifest(tmp_path / "fs/manifests/cmsc/train.tsv").pairs
    assert len(pairs) == (store.column("split") == "train").sum()
