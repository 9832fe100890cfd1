import numpy as np
import pytest

from ecgtext_plugins.errors import BadManifest, BadStore
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.manifest import read_manifest, write_manifest
from ecgtext_plugins.store.recipe import resolve_recipe
from tests import builders


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    builders.write_mimic_tree(folder / "raw", 15, seed=9, n_samples=700)
    build_store(resolve_recipe(builders.demo_recipe(), "test"), folder / "raw", folder / "data")
    return folder / "data"


def test_the_builds_manifests_cover_the_store_once(data):
    manifests = {name: read_manifest(data / "manifests" / f"{name}.tsv") for name in ("train", "valid", "test")}
    rows = np.concatenate([manifest.rows for manifest in manifests.values()])
    assert sorted(rows) == list(range(15))
    patients = {}
    for name, manifest in manifests.items():
        store = manifest.store
        assert manifest.rows.dtype == manifest.n_samples.dtype == np.int64
        assert len(manifest) == len(manifest.record_ids) == store.corpus["splits"][name]
        assert set(store.column("split")[manifest.rows]) <= {name}
        assert (manifest.n_samples == 700).all()
        np.testing.assert_array_equal(store.column("record_id")[manifest.rows], manifest.record_ids)
        patients[name] = set(store.column("patient_id")[manifest.rows])
    assert not patients["train"] & (patients["valid"] | patients["test"])
    lines = (data / "manifests" / "train.tsv").read_text().splitlines()
    assert lines[:2] == ["..", "record_id\tn_samples"]


def test_order_is_the_manifests_and_folders_are_relative_to_it(data, tmp_path):
    ids = read_manifest(data / "manifests" / "train.tsv").record_ids[:4][::-1]
    write_manifest(tmp_path / "mine.tsv", ids, [700] * 4, root=str(data))
    assert read_manifest(tmp_path / "mine.tsv").record_ids == ids
    write_manifest(data / "manifests" / "none.tsv", [], [])
    assert len(read_manifest(data / "manifests" / "none.tsv")) == 0


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "has the columns"),
        ([".."], "has the columns"),
        (["..", "id\tlength"], "expected the store's folder in line 1"),
        (["..", "record_id\tn_samples", "40000000"], "line 3"),
        (["..", "record_id\tn_samples", "40000000\tlong"], "line 3"),
        (["..", "record_id\tn_samples", "40000000\t-700"], "line 3"),
        (["..", "record_id\tn_samples", "40000000\t700", "", "40000037\t700"], "line 4"),
        (["..", "record_id\tn_samples", "40000000\t700", "40000000\t700"], "lists record 40000000 twice"),
        (["..", "record_id\tn_samples", "40000000\t701"], "gives record 40000000 701 samples: expected 700"),
        (["..", "record_id\tn_samples", "41\t700"], "odd.tsv names record 41"),
    ],
)
def test_odd_manifests(data, lines, message):
    path = data / "manifests" / "odd.tsv"
    path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(BadManifest, match=message):
        read_manifest(path)


def test_missing_manifests_and_stores(tmp_path):
    with pytest.raises(BadManifest, match="no.tsv cannot be read"):
        read_manifest(tmp_path / "no.tsv")
    write_manifest(tmp_path / "manifests" / "a.tsv", [], [])
    with pytest.raises(BadStore, match="is not a finished record store"):
        read_manifest(tmp_path / "manifests" / "a.tsv")
    (tmp_path / "b.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(BadManifest, match="cannot be read"):
        read_manifest(tmp_path / "b.tsv")
