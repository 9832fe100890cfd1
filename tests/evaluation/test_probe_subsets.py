"""Subsets of the train split: stored or drawn, nested, and refused when patients are shared."""

import shutil

import numpy as np
import pytest

from ecgtext_plugins.errors import BadConfig, BadManifest
from ecgtext_plugins.evaluation.probe_subsets import probe_subsets
from ecgtext_plugins.store.manifest import read_manifest, write_manifest
from ecgtext_plugins.store.subsets import nested_subset


@pytest.fixture
def data(demo_data, tmp_path):
    """Copy of the demo's store, whose manifests may be changed."""
    return shutil.copytree(demo_data, tmp_path / "data")


def manifests(data):
    return [read_manifest(data / "manifests" / f"{name}.tsv") for name in ("train", "valid", "test")]


def test_nested_draws_lie_inside_one_another_and_differ_by_seed(data):
    train, valid, test = manifests(data)
    drawn = probe_subsets(train, valid, test, (10, 50, 100), seeds=(0, 1), method="nested")
    assert list(drawn.rows) == ["train_10pct", "train_50pct", "train_100pct"]
    ids = train.record_ids
    for place, seed in enumerate((0, 1)):
        small, large = drawn.rows["train_10pct"][place], drawn.rows["train_50pct"][place]
        assert set(small) < set(large) and len(large) == round(len(train) / 2)
        assert np.array_equal(small, nested_subset(ids, 10, seed))
    assert np.array_equal(drawn.rows["train_100pct"], np.arange(len(train)))
    assert len(set(drawn.sha256["train_50pct"])) == 2 and len(drawn.sha256["train_100pct"]) == 1


def test_windows_of_a_record_stay_together(data):
    place = data / "manifests"
    train, valid, test = manifests(data)
    ids = [record for record in train.record_ids for _ in range(2)]
    write_manifest(place / "halves.tsv", ids, [500] * len(ids), starts=[0, 500] * len(train))
    halves = read_manifest(place / "halves.tsv")
    whole = probe_subsets(train, valid, test, (10,), method="nested").rows["train_10pct"][0]
    rows = probe_subsets(halves, valid, test, (10,), method="nested").rows["train_10pct"][0]
    assert rows.tolist() == sorted([*(2 * whole), *(2 * whole + 1)])


def test_stored_subsets_are_found_in_the_train_manifest(data):
    train, valid, test = manifests(data)
    ids = train.record_ids
    write_manifest(data / "manifests" / "train_1pct.tsv", [ids[7], ids[2]], train.n_samples[[7, 2]].tolist())
    found = probe_subsets(train, valid, test, (1, 100))
    assert found.rows["train_1pct"].tolist() == [2, 7] and found.method == "stored"
    with pytest.raises(BadManifest, match=r"no subset train_7pct\.tsv"):
        probe_subsets(train, valid, test, (7,))
    write_manifest(data / "manifests" / "train_1pct.tsv", [test.record_ids[0]], [int(test.n_samples[0])])
    with pytest.raises(BadManifest, match="which is not in"):
        probe_subsets(train, valid, test, (1,))


def test_shared_patients_and_equal_splits_are_refused(data):
    train, valid, test = manifests(data)
    with pytest.raises(BadManifest, match="three different ones"):
        probe_subsets(train, valid, train, (100,))
    ids = test.record_ids[:3] + train.record_ids[:1]
    write_manifest(data / "manifests" / "mixed.tsv", ids, [1000] * 4)
    with pytest.raises(BadManifest, match="1 patients are in both"):
        probe_subsets(train, valid, read_manifest(data / "manifests" / "mixed.tsv"), (100,))


@pytest.mark.parametrize(("percentages", "method"), [((0,), "nested"), ((101,), "nested"), ((), "stored"), ((1,), "x")])
def test_bad_options(data, percentages, method):
    with pytest.raises(BadConfig):
        probe_subsets(*manifests(data), percentages, method=method)
