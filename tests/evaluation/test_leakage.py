"""What a model was trained on, changed manifests, shared signals."""

import shutil
from types import SimpleNamespace

import pyarrow as pa
import pytest

from ecgtext_plugins.errors import BadCheckpoint, BadManifest
from ecgtext_plugins.evaluation.leakage import (
    leak_notes,
    leaked_records,
    read_training_records,
    refuse_changed_manifests,
    refuse_leaks,
    shared_signals,
)
from ecgtext_plugins.store.manifest import read_manifest


@pytest.fixture
def splits(demo_data):
    return {name: read_manifest(demo_data / "manifests" / f"{name}.tsv") for name in ("train", "test")}


@pytest.fixture
def trained(tmp_path):
    """Write training_records.txt beside a checkpoint for the records of a manifest at some places."""

    def write(manifest, places):
        checksums = manifest.store.text_column("checksum").take(pa.array(manifest.rows[places]))
        (tmp_path / "training_records.txt").write_text("\n".join(sorted(checksums.to_pylist())) + "\n")
        (tmp_path / "checkpoint_best.pt").write_bytes(b"weights")
        return tmp_path

    return write


def test_records_that_were_trained_on(splits, trained):
    folder = trained(splits["test"], [4, 1])
    for path in (folder, folder / "checkpoint_best.pt"):
        records = read_training_records(path)
        leaked = leaked_records(records, splits["test"])
        assert leaked == [splits["test"].record_id(1), splits["test"].record_id(4)]
    assert leaked_records(records, splits["train"]) == []
    sentence = f"was trained on 2 of the {len(splits['test'])} records .* first is {leaked[0]} .*--allow-leaks"
    with pytest.raises(BadCheckpoint, match=sentence):
        refuse_leaks("c.pt", leaked, splits["test"], "demo")
    refuse_leaks("c.pt", [], splits["test"], "demo")


def test_no_list_and_a_damaged_one(splits, trained):
    folder = trained(splits["train"], [0])
    (folder / "training_records.txt").write_text("abc\n")
    with pytest.raises(BadCheckpoint, match="training_records.txt is damaged"):
        read_training_records(folder)
    (folder / "training_records.txt").unlink()
    assert read_training_records(folder) is None


def test_what_is_known_of_leaks(splits, trained):
    records = read_training_records(trained(splits["train"], [0]))
    (passed,) = leak_notes(records, [])
    assert "exactly the signal" in passed and "other recordings of the same patients" in passed and "rate" in passed
    (unknown,) = leak_notes(None, [])
    assert "no training_records.txt" in unknown and "not known" in unknown
    assert leak_notes(records, ["r1"]) == []


def test_the_same_signal_under_two_names(splits):
    assert shared_signals(splits["train"], splits["test"]) == []
    column = splits["test"].store.text_column("checksum").to_pylist()
    column[splits["test"].rows[2]] = column[splits["train"].rows[0]]
    columns = {"checksum": pa.array(column), "record_id": splits["test"].store.text_column("record_id")}
    store = SimpleNamespace(text_column=columns.get)
    train, test = (SimpleNamespace(store=store, rows=splits[name].rows) for name in ("train", "test"))
    assert shared_signals(train, test) == [splits["test"].record_id(2)]


def test_manifests_are_the_builds(demo_data, tmp_path):
    folder = shutil.copytree(demo_data, tmp_path / "data")
    test, train = (folder / "manifests" / f"{name}.tsv" for name in ("test", "train"))
    refuse_changed_manifests(folder, [test, train])
    shutil.copy(train, test)
    with pytest.raises(BadManifest, match="test.tsv is a copy of manifests/train.tsv"):
        refuse_changed_manifests(folder, [train, test])
    test.write_text("\n".join(train.read_text().splitlines()[:4]) + "\n")
    with pytest.raises(BadManifest, match="test.tsv is not the file that the build wrote"):
        refuse_changed_manifests(folder, [test])
