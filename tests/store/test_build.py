import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from ecgtext_plugins import atomic_files
from ecgtext_plugins.corpora.record import signal_checksum
from ecgtext_plugins.errors import BadRawData, BadStore
from ecgtext_plugins.store import workers
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.lock import build_lock
from ecgtext_plugins.store.recipe import resolve_recipe
from ecgtext_plugins.store.splits import split_of
from tests import builders


def recipe_of(**changes):
    return resolve_recipe(builders.demo_recipe(**changes), "test")


@pytest.fixture
def raw(tmp_path):
    builders.write_mimic_tree(tmp_path / "raw", 23, seed=1)
    return tmp_path / "raw"


def test_the_store_holds_what_was_written(tmp_path):
    rows = builders.write_mimic_tree(tmp_path / "raw", 23, seed=1)
    seen = []
    result = build_store(recipe_of(), tmp_path / "raw", tmp_path / "data", progress=lambda *now: seen.append(now))
    store = result.store
    assert not result.was_finished and len(store) == 23
    assert seen[0] == (23, 0, 0) and seen[-1] == (23, 23, 0) and len(seen) == 6
    for row, index in zip(rows, store.rows_of([row["study_id"] for row in rows]), strict=True):
        np.testing.assert_array_equal(store.counts(index), row["counts"])
        assert store.column("patient_id")[index] == row["subject_id"]
        assert store.column("source_path")[index] == row["path"]
        assert list(store.column("labels")[index]) == row["findings"]
        assert store.column("checksum")[index] == signal_checksum((row["counts"] / 200).astype(np.float32))
        text = " ".join(builders.PHRASES[label] for label in row["findings"]).lower()
        assert store.report_text(store.column("report_id")[index]) == text
        assert store.column("split")[index] == split_of(row["subject_id"], 0, recipe_of()["split"]["fractions"])
    assert store.corpus["counts"] == {"found": 23, "kept": 23, "failed": 0}
    first = store.column("report_id")
    assert [n for k, n in enumerate(first) if n not in first[:k]] == list(range(store.n_reports))
    reports = pq.read_table(tmp_path / "data" / "reports.parquet")
    np.testing.assert_array_equal(reports["count"], np.bincount(first))
    assert {path.name for path in (tmp_path / "data").iterdir()} == {
        *("corpus.json", "records.parquet", "reports.parquet", "failures.parquet"),
        *("checksums.json", "signals", "manifests"),
    }


def test_workers_order_of_tables_and_place_of_raw_do_not_matter(tmp_path, raw):
    build_store(recipe_of(), raw, tmp_path / "one")
    rows = builders.write_mimic_tree(tmp_path / "raw2", 23, seed=1)
    (tmp_path / "raw2" / (rows[3]["path"] + ".dat")).write_bytes(b"")
    (raw / (rows[3]["path"] + ".dat")).write_bytes(b"")
    builders.write_tables(tmp_path / "raw2", rows[::-1])
    expected = build_store(recipe_of(), raw, tmp_path / "one", rebuild=True)
    build_store(recipe_of(), tmp_path / "raw2", tmp_path / "two", workers=2)
    assert builders.tree_digest(tmp_path / "one") == builders.tree_digest(tmp_path / "two")
    assert expected.store.corpus["failures"] == {"truncated": 1}


def test_every_bad_record_has_a_row(tmp_path, raw):
    store = build_store(recipe_of(), raw, tmp_path / "clean").store
    paths = dict(zip(store.column("record_id"), store.column("source_path"), strict=True))
    names = sorted(paths)
    files = [raw / paths[name] for name in names]
    flipped = bytearray(files[1].with_suffix(".dat").read_bytes())
    flipped[77] ^= 1
    files[0].with_suffix(".dat").unlink()
    files[1].with_suffix(".dat").write_bytes(flipped)
    files[2].with_suffix(".hea").unlink()
    files[3].with_suffix(".hea").write_text("nonsense")
    builders.write_record(files[4].parent, names[4], np.zeros((12, 1000), np.int16))
    counts = builders.ecg_counts(np.random.default_rng(0), 1000)
    counts[7, 3] = -32768
    builders.write_record(files[5].parent, names[5], counts)
    builders.write_record(files[6].parent, names[6], counts[:, 10:30])
    result = build_store(recipe_of(), raw, tmp_path / "data", workers=2)
    failures = pq.read_table(tmp_path / "data" / "failures.parquet").to_pylist()
    reasons = "missing_signal_file checksum missing_header header flat_signal missing_samples too_short".split()
    assert [(row["record_id"], row["reason"]) for row in failures] == list(zip(names, reasons, strict=False))
    assert all(row["record_id"] in row["message"] and str(tmp_path) not in row["message"] for row in failures)
    assert result.store.corpus["counts"] == {"found": 23, "kept": 16, "failed": 7}
    assert result.store.corpus["failures"] == dict.fromkeys(reasons, 1)
    kept = sorted(result.store.column("record_id"))
    assert kept == names[7:]
    for name in kept:
        row, before = result.store.rows_of([name])[0], store.rows_of([name])[0]
        np.testing.assert_array_equal(result.store.counts(row), store.counts(before))


def test_nothing_kept_is_a_store_too(tmp_path, raw):
    shutil.rmtree(raw / "files")
    store = build_store(recipe_of(), raw, tmp_path / "data").store
    assert store.corpus["counts"] == {"found": 23, "kept": 0, "failed": 23}
    assert len(store) == store.n_reports == len(store.column("record_id")) == 0


def test_a_finished_build_does_nothing(tmp_path, raw):
    build_store(recipe_of(), raw, tmp_path / "data")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*") if path.is_file()}
    shutil.rmtree(raw)
    assert build_store(recipe_of(name="renamed"), raw, tmp_path / "data").was_finished
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*") if path.is_file()} == before


def test_a_finished_build_refuses_a_raw_folder_that_is_not_the_dataset(tmp_path, raw):
    build_store(recipe_of(), raw, tmp_path / "data")
    (tmp_path / "other").mkdir()
    with pytest.raises(BadRawData):
        build_store(recipe_of(), tmp_path / "other", tmp_path / "data")
    with pytest.raises(BadRawData):
        build_store(recipe_of(), tmp_path / "other", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_another_recipe_is_refused_and_rebuilds_on_demand(tmp_path, raw):
    build_store(recipe_of(), raw, tmp_path / "data")
    (tmp_path / "data" / "notes.txt").write_text("mine")
    other = recipe_of(name="other", sample_rate=250, records_per_shard=12)
    with pytest.raises(BadStore, match="recipe tiny and not by other.*sample_rate 500 / 250.*--rebuild"):
        build_store(other, raw, tmp_path / "data")
    result = build_store(other, raw, tmp_path / "data", rebuild=True)
    assert result.store.sample_rate == 250 and not result.was_finished
    (tmp_path / "data" / "notes.txt").unlink()
    build_store(other, raw, tmp_path / "fresh")
    assert builders.tree_digest(tmp_path / "data") == builders.tree_digest(tmp_path / "fresh")


def interrupt(monkeypatch, after: int):
    """Make the write number `after` fail as on a full disk."""
    calls = iter(range(10**6))

    def replace(source, target):
        if next(calls) >= after:
            raise OSError(28, "No space left on device")
        os.rename(source, target)

    monkeypatch.setattr(atomic_files.os, "replace", replace)


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4, 7, 20, 21, 22, 23, 24, 26])
def test_a_full_disk_is_told_and_the_build_resumes(tmp_path, raw, monkeypatch, after):
    build_store(recipe_of(), raw, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(BadStore, match="No space left.*run the same command again"):
            build_store(recipe_of(), raw, tmp_path / "data")
    marked = {path.stem for path in (tmp_path / "data" / "signals").glob("*.done")}
    assert marked <= {path.stem for path in (tmp_path / "data" / "signals").glob("*.npy")}
    with pytest.raises(BadStore, match="has not finished"):
        from ecgtext_plugins.store.reader import RecordStore

        RecordStore.open(tmp_path / "data")
    build_store(recipe_of(), raw, tmp_path / "data")
    assert builders.tree_digest(tmp_path / "data") == builders.tree_digest(tmp_path / "whole")


def test_an_unfinished_build_keeps_its_shards_and_refuses_changes(tmp_path, raw, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, 10)  # the plan, two shards of four files, one of the third's
        with pytest.raises(BadStore):
            build_store(recipe_of(), raw, tmp_path / "data")
    done = tmp_path / "data" / "signals" / "shard-00001.npy"
    stamp = done.stat().st_mtime_ns
    with pytest.raises(BadStore, match="recipe tiny and not by tiny.*seconds 2 / 1"):
        build_store(recipe_of(seconds=1), raw, tmp_path / "data")
    tables = (raw / "findings.csv").read_bytes()
    (raw / "findings.csv").write_bytes(tables.replace(b"sinus_rhythm", b"st_elevation"))
    with pytest.raises(BadStore, match="raw data in .* have changed"):
        build_store(recipe_of(), raw, tmp_path / "data")
    (raw / "findings.csv").write_bytes(tables)
    progress = []
    build_store(recipe_of(), raw, tmp_path / "data", progress=lambda *now: progress.append(now))
    assert progress[0] == (23, 10, 0)
    assert done.stat().st_mtime_ns == stamp


def test_manifests_of_an_unfinished_build_go_with_it_and_others_stay(tmp_path, raw, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, 25)  # after the first manifest
        with pytest.raises(BadStore):
            build_store(recipe_of(subsets={"percentages": [50]}), raw, tmp_path / "data")
    manifests = tmp_path / "data" / "manifests"
    (manifests / "super").mkdir()
    for name in ("super/train.tsv", "train_50pct.tsv", "mine.tsv"):
        (manifests / name).write_text("..\nrecord_id\tn_samples\n")
    build_store(recipe_of(), raw, tmp_path / "data", rebuild=True)
    left = {path.relative_to(manifests).as_posix() for path in manifests.rglob("*.tsv")}
    assert left == {"train.tsv", "valid.tsv", "test.tsv", "mine.tsv"}


def test_a_shard_whose_files_are_damaged_is_built_again(tmp_path, raw, monkeypatch):
    build_store(recipe_of(), raw, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt(patch, 14)
        with pytest.raises(BadStore):
            build_store(recipe_of(), raw, tmp_path / "data")
    signals = tmp_path / "data" / "signals"
    (signals / "shard-00000.npy").write_bytes(b"cut")
    (signals / "shard-00001.npy").unlink()
    (signals / "shard-00002.done").write_text("{}")
    build_store(recipe_of(), raw, tmp_path / "data")
    assert builders.tree_digest(tmp_path / "data") == builders.tree_digest(tmp_path / "whole")


def test_foreign_folders_are_left_alone(tmp_path, raw):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("mine")
    for rebuild in (False, True):
        with pytest.raises(BadStore, match="holds thesis.txt and no store"):
            build_store(recipe_of(), raw, tmp_path / "home", rebuild=rebuild)
    with pytest.raises(BadStore, match="is a file"):
        build_store(recipe_of(), raw, tmp_path / "home" / "thesis.txt")
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["thesis.txt"]
    with pytest.raises(BadRawData):
        build_store(recipe_of(), tmp_path / "home", tmp_path / "data")
    build_store(recipe_of(), raw, tmp_path / "data")  # what the failed attempt left is no obstacle


def test_one_build_at_a_time(tmp_path, raw):
    (tmp_path / "data").mkdir()
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom ecgtext_plugins.store.lock import build_lock\n"
        "with build_lock(Path(sys.argv[1])):\n print('held', flush=True); time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "data")], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        began = time.monotonic()
        with pytest.raises(BadStore, match=f"another build .process {holder.pid}. is at work"):
            build_store(recipe_of(), raw, tmp_path / "data")
        assert time.monotonic() - began < 2
    finally:
        holder.kill()
        holder.wait()
    build_store(recipe_of(), raw, tmp_path / "data")  # a dead holder's lock does not count
    with build_lock(tmp_path / "data"):
        pass
    assert not (tmp_path / "data" / ".build.lock").exists()


def test_a_dead_worker_is_told():
    with pytest.raises(BadStore, match="worker processes died.*fewer --workers"):
        list(workers.spread(os._exit, [9, 9, 9], 2))


def test_results_of_all_tasks_come_once():
    assert sorted(workers.spread(abs, range(-30, 0), 2)) == list(range(1, 31))
    assert list(workers.spread(abs, range(-3, 0), 1)) == [3, 2, 1]


def test_odd_identifiers_are_failures(tmp_path):
    rows = builders.write_mimic_tree(tmp_path / "raw", 4)
    rows[0]["study_id"], rows[1]["study_id"], rows[2]["subject_id"] = "40\t1", "", " "
    builders.write_tables(tmp_path / "raw", rows)
    store = build_store(recipe_of(), tmp_path / "raw", tmp_path / "data").store
    assert store.corpus["failures"] == {"identifier": 3}
    np.testing.assert_array_equal(store.column("record_id"), [rows[3]["study_id"]])


def test_a_removal_cut_short_leaves_nothing_of_the_old_store(tmp_path, raw):
    build_store(recipe_of(), raw, tmp_path / "data")
    (tmp_path / "data" / "corpus.json").unlink()  # what --rebuild does first
    rows = builders.write_mimic_tree(tmp_path / "new", 7, seed=2)
    assert len(build_store(recipe_of(), tmp_path / "new", tmp_path / "data").store) == len(rows)
    build_store(recipe_of(), tmp_path / "new", tmp_path / "fresh")
    assert builders.tree_digest(tmp_path / "data") == builders.tree_digest(tmp_path / "fresh")
