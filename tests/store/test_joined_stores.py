"""Several stores in one manifest."""

import pickle

import numpy as np
import pytest

from ecgtext_plugins.errors import BadManifest, BadStore
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.fairseq_signals.mat_manifest import open_data, train_manifest
from ecgtext_plugins.store.joined_stores import JoinedStores
from ecgtext_plugins.store.manifest import read_manifest, refuse_shared_patients, write_manifest
from ecgtext_plugins.store.recipe import resolve_recipe
from tests import builders


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("joined")
    for name, seed in [("one", 1), ("two", 2)]:
        builders.write_mimic_tree(root / f"raw-{name}", 9, seed=seed)  # the same ids and patients in both
        names = ["other", *builders.LABELS] if name == "two" else list(builders.LABELS)
        labels = {"file": "findings.csv", "id": "study_id", "column": "findings", "names": names}
        recipe = resolve_recipe(builders.demo_recipe(labels=labels), "test")
        build_store(recipe, root / f"raw-{name}", root / name)
    return root


def listed(root, name, places):
    """Write a manifest of (store, record) places; return what it lists."""
    stores = {store: read_manifest(root / store / "manifests" / "train.tsv").store for store in ("one", "two")}
    ids = [stores[store].column("record_id")[row] for store, row in places]
    lengths = [stores[store].column("n_samples")[row] for store, row in places]
    path = root / "manifests" / f"{name}.tsv"
    write_manifest(path, ids, lengths, stores=[store for store, _ in places])
    return read_manifest(path), stores


def test_rows_are_those_of_their_stores(root):
    places = [("two", 3), ("one", 0), ("two", 0), ("one", 8)]
    manifest, stores = listed(root, "train", places)
    assert isinstance(manifest.store, JoinedStores) and len(manifest.store) == 18
    joined = manifest.store
    for index, (name, row) in enumerate(places):
        store = stores[name]
        np.testing.assert_array_equal(manifest.signal_mv(index), store.signal_mv(row))
        np.testing.assert_array_equal(joined.signal_mv(int(manifest.rows[index])), store.signal_mv(row))
        text = joined.report_text(int(joined.column("report_id")[manifest.rows[index]]))
        assert text == store.report_text(int(store.column("report_id")[row]))
        assert joined.column("patient_id")[manifest.rows[index]] == f"{name}:{store.column('patient_id')[row]}"
        names = list(builders.LABELS)
        (ours,) = joined.label_matrix(manifest.rows[index : index + 1], names)
        np.testing.assert_array_equal(ours, store.label_matrix(np.array([row]), names)[0])
    assert joined.label_names == [*builders.LABELS, "other"]
    assert not joined.label_matrix(np.arange(9), ["other"]).any()


def test_reports_with_the_same_words_are_one(root):
    manifest, stores = listed(root, "train", [("one", 0), ("two", 0)])
    texts = [store.report_text(n) for store in stores.values() for n in range(store.n_reports)]
    assert manifest.store.report_texts().to_pylist() == list(dict.fromkeys(texts))
    assert len(manifest.store.fingerprint) == len(manifest.store.reports_fingerprint) == 64


def test_order_of_a_manifest_does_not_change_the_store(root):
    one, _ = listed(root, "train", [("one", 0), ("two", 0)])
    other, _ = listed(root, "valid", [("two", 1), ("one", 1)])
    assert one.store.reports_fingerprint == other.store.reports_fingerprint
    assert one.store.fingerprint == other.store.fingerprint


def test_shared_patients_are_seen_store_by_store(root):
    train, stores = listed(root, "train", [("one", 0), ("two", 0)])
    patients = stores["one"].column("patient_id")
    same = int(np.flatnonzero(patients == patients[0])[-1])
    assert same != 0
    for name, places in [("valid", [("one", same)]), ("test", [("two", 1), ("one", same)])]:
        other, _ = listed(root, name, places)
        with pytest.raises(BadManifest, match="1 patients are in both"):
            refuse_shared_patients([train, other])
    plain = read_manifest(root / "one" / "manifests" / "train.tsv")
    plain.rows = np.array([same])
    with pytest.raises(BadManifest, match="1 patients are in both"):
        refuse_shared_patients([train, plain])
    free = int(np.flatnonzero(patients != patients[0])[0])
    refuse_shared_patients([train, listed(root, "valid", [("two", free)])[0]])


def test_ids_without_a_store_must_be_in_one_only(root):
    manifest, stores = listed(root, "train", [("one", 0), ("two", 0)])
    with pytest.raises(BadManifest, match="several stores have"):
        manifest.store.rows_of([stores["one"].column("record_id")[0]])


def test_other_rates_and_unknown_records_are_refused(root, tmp_path):
    manifest, stores = listed(root, "train", [("one", 0)])
    path = root / "manifests" / "bad.tsv"
    write_manifest(path, ["none"], [1000], stores=["one"])
    with pytest.raises(BadManifest, match="names record none"):
        read_manifest(path)
    recipe = resolve_recipe(builders.demo_recipe(sample_rate=250), "test")
    slow = build_store(recipe, root / "raw-one", tmp_path / "slow").store
    with pytest.raises(BadStore, match="250 and 500 Hz: expected one sample rate"):
        JoinedStores(root, {"a": stores["one"], "b": slow})


def test_a_store_has_one_name(root):
    store = read_manifest(root / "one" / "manifests" / "train.tsv").store
    with pytest.raises(BadStore, match="the names ./one, one in .* stand for 1 stores: expected one name for a store"):
        JoinedStores(root, {"one": store, "./one": store})
    path = root / "manifests" / "twice.tsv"
    ids = [store.column("record_id")[0]] * 2
    write_manifest(path, ids, [1000] * 2, stores=["one", "one"])
    with pytest.raises(BadManifest, match="twice"):
        read_manifest(path)


def test_a_pickled_one_is_small_and_works(root):
    manifest, _ = listed(root, "train", [("two", 3), ("one", 0)])
    before = manifest.signal_mv(0), manifest.store.report_text(1), manifest.store.column("report_id")
    sent = pickle.dumps(manifest)
    assert len(sent) < 8000
    other = pickle.loads(sent)
    np.testing.assert_array_equal(other.signal_mv(0), before[0])
    assert other.store.report_text(1) == before[1] and other.store.fingerprint == manifest.store.fingerprint
    np.testing.assert_array_equal(other.store.column("report_id"), before[2])


def test_columns_and_unknown_names(root):
    manifest, stores = listed(root, "train", [("one", 0), ("two", 0)])
    joined = manifest.store
    ages = np.concatenate([stores[name].column("age") for name in ("one", "two")])
    np.testing.assert_array_equal(joined.column("age"), ages)
    assert joined.column("age") is joined.column("age") and not joined.column("age").flags.writeable
    only = [f"{number}" for number in range(3)]
    with pytest.raises(BadManifest, match="mine.tsv names record 0, which no store has"):
        joined.rows_of(only, source="mine.tsv")
    assert joined.rows_of([]).shape == (0,)
    with pytest.raises(BadStore, match="has label nonsense: expected one of sinus_rhythm"):
        joined.label_matrix(np.arange(2), ["nonsense"])
    for report in (-1, joined.n_reports):
        with pytest.raises(IndexError):
            joined.report_text(report)


def test_the_folder_of_joined_stores_is_opened_as_one(root):
    """So `ecgtext negatives build` finds reports and train manifest there."""
    manifest, _ = listed(root, "train", [("one", 0), ("two", 0)])
    store = open_data(root)
    assert isinstance(store, JoinedStores) and store.reports_fingerprint == manifest.store.reports_fingerprint
    assert train_manifest(store) == manifest.path.resolve()
    with pytest.raises(BadStore, match="is not a finished record store"):
        open_data(root / "raw-one")
