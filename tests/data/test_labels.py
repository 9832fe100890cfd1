"""Labels of stores, of y.npy, and of the files themselves."""

import shutil

import numpy as np
import pytest
from scipy.io import savemat

from ecgtext_plugins.data.ecg_dataset import EcgDataset, EcgOptions
from ecgtext_plugins.data.labels import read_labels
from ecgtext_plugins.errors import BadConfig, BadStore
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.joined_stores import JoinedStores
from ecgtext_plugins.store.manifest import Manifest, read_manifest
from ecgtext_plugins.store.recipe import resolve_recipe
from tests import builders
from tests.downloads import fairseq_signals as download


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder, built = tmp_path_factory.mktemp("stores"), []
    for number, names in enumerate((builders.LABELS, builders.LABELS[:3])):
        raw = folder / f"raw{number}"
        rows = builders.write_mimic_tree(raw, 8, seed=number)
        for row in rows:
            row["findings"] = [name for name in row["findings"] if name in names]
        builders.write_tables(raw, rows)
        labels = {"file": "findings.csv", "id": "study_id", "column": "findings", "names": list(names)}
        recipe = resolve_recipe(builders.demo_recipe(labels=labels), "test")
        built.append((build_store(recipe, raw, folder / f"data{number}").store, rows))
    return built


@pytest.fixture
def tree(tmp_path):
    rows = download.write_download(tmp_path, 8, seed=1)
    download.write_manifests(tmp_path, tmp_path / "manifests", rows, str(tmp_path / "segmented"))
    shutil.copytree(tmp_path / "labels", tmp_path / "given")
    shutil.rmtree(tmp_path / "labels")
    return tmp_path, rows


def test_a_stores_labels(stores):
    store, rows = stores[0]
    manifest = read_manifest(store.folder / "manifests" / "train.tsv")
    labels = read_labels(manifest)
    by_id = {row["study_id"]: row["findings"] for row in rows}
    expected = [[name in by_id[record] for name in builders.LABELS] for record in manifest.record_ids]
    assert labels.names == list(builders.LABELS) and labels.known is None
    assert labels.values.dtype == np.float32 and labels.values.tolist() == np.array(expected, float).tolist()
    data = EcgDataset(manifest, EcgOptions(), labels)
    target = data.collater([data[0], data[1]])["target"]
    assert target["label"].tolist() == labels.values[:2].tolist() and target["label_mask"] is None
    with pytest.raises(BadConfig, match="has no labels of the set super"):
        read_labels(manifest, label_set="super")
    with pytest.raises(BadConfig, match="lists records of a store"):
        read_labels(manifest, "y.npy")


def test_a_joined_stores_unknown_labels_are_masked(stores, tmp_path):
    joined = JoinedStores(tmp_path, {"a": stores[0][0], "b": stores[1][0]})
    rows = np.arange(len(joined))[::-1].copy()
    labels = read_labels(Manifest(tmp_path / "train.tsv", joined, rows, joined.column("n_samples")[rows]))
    first = rows < joined.first_rows[1]
    assert labels.known[first].all() and labels.known[~first, :3].all() and not labels.known[~first, 3].any()


def test_qualified_label_sets(monkeypatch, stores):
    store = stores[0][0]
    names = [f"super/{name}" for name in builders.LABELS[:2]] + [f"sub/{name}" for name in builders.LABELS[2:]]
    monkeypatch.setitem(store.corpus, "label_names", names)
    monkeypatch.setattr(store, "label_matrix", lambda rows, asked: np.ones((len(rows), len(asked)), bool))
    manifest = read_manifest(store.folder / "manifests" / "train.tsv")
    manifest.store = store
    assert read_labels(manifest).names == names
    assert read_labels(manifest, label_set="sub").names == names[2:]
    manifest.path = store.folder / "manifests" / "super" / "train.tsv"
    assert read_labels(manifest).names == names[:2]
    with pytest.raises(BadConfig, match="no labels of the set none: expected one of super, sub"):
        read_labels(manifest, label_set="none")


def test_a_label_file(tree):
    folder, rows = tree
    manifest = read_manifest(folder / "manifests" / "train.tsv")
    idx = manifest.store.column("idx")[manifest.rows]
    labels = read_labels(manifest, folder / "given" / "y.npy")
    assert labels.names == download.LABELS and labels.known is None
    assert labels.values.tolist() == [[float(value) for value in rows[one]["labels"]] for one in idx]
    table = np.load(folder / "given" / "y.npy")
    table[idx[0], 2] = np.nan
    np.save(folder / "given" / "y.npy", table)
    masked = read_labels(manifest, folder / "given" / "y.npy")
    assert (~masked.known == ((idx == idx[0])[:, None] & (np.arange(4) == 2))).all() and masked.values[0, 2] == 0
    (folder / "given" / "label_def.csv").unlink()
    assert read_labels(manifest, folder / "given" / "y.npy").names == ["label_0", "label_1", "label_2", "label_3"]


def test_label_files_that_do_not_fit(tree):
    folder, rows = tree
    manifest = read_manifest(folder / "manifests" / "train.tsv")
    idx = manifest.store.column("idx")[manifest.rows]
    path = folder / "given" / "y.npy"
    table = np.load(path)
    np.save(path, table[: idx.max()])
    name = manifest.record_id(int(np.flatnonzero(idx == idx.max())[0]))
    with pytest.raises(BadStore, match=f"record {name} of .* has sample id {idx.max()}: expected one from 0 to"):
        read_labels(manifest, path)
    table[idx[0], 1] = -1
    np.save(path, table)
    with pytest.raises(BadStore, match=rf"y.npy row {idx[0]} column 1 \(record .*\) is -1"):
        read_labels(manifest, path)
    np.save(path, table[:, :3] * 0)
    with pytest.raises(BadStore, match="names 4 labels, .* has 3 columns"):
        read_labels(manifest, path)
    path.write_bytes(b"no array")
    with pytest.raises(BadStore, match="y.npy cannot be read"):
        read_labels(manifest, path)
    with pytest.raises(BadConfig, match="has no variable label"):
        read_labels(manifest)


def test_labels_in_the_files(tmp_path):
    rng, lines = np.random.default_rng(0), [str(tmp_path)]
    wanted = rng.random((5, 7)) < 0.4
    for number, label in enumerate(wanted):
        feats = builders.ecg_counts(rng, 1000) / 200
        savemat(tmp_path / f"{number}.mat", {"feats": feats, "curr_sample_rate": 500, "label": label})
        lines.append(f"{number}.mat\t1000")
    (tmp_path / "train.tsv").write_text("\n".join(lines) + "\n")
    labels = read_labels(read_manifest(tmp_path / "train.tsv"))
    assert labels.names == [f"label_{place}" for place in range(7)] and (labels.values == wanted).all()
