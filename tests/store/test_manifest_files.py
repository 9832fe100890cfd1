import pickle

import numpy as np
import pyarrow as pa
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


def rows_as_written(data, name, **columns):
    path = data / "manifests" / name
    write_manifest(path, root="/".join([".."] * (name.count("/") + 1)), **columns)
    return path


def test_windows_and_identities_come_back(data):
    ids, starts = ["40000000", "40000037", "40000000"], [0, 650, 300]
    path = rows_as_written(
        data, "super/w.tsv", record_ids=ids, n_samples=[300, 50, 400], starts=starts, identities=[1, 0, 1]
    )
    assert path.read_text().splitlines()[:3] == [
        "../..",
        "record_id\tn_samples\tstart\tidentity",
        "40000000\t300\t0\t1",
    ]
    manifest = read_manifest(path)
    assert manifest.starts.tolist() == starts and manifest.identities.tolist() == [1, 0, 1]
    assert manifest.record_ids == ids and [manifest.record_id(index) for index in range(3)] == ids
    for index, (row, start, length) in enumerate(zip(manifest.rows, starts, [300, 50, 400], strict=True)):
        counts = manifest.store.counts(row)[:, start : start + length]
        np.testing.assert_array_equal(manifest.counts(index), counts)
        np.testing.assert_array_equal(manifest.signal_mv(index), manifest.store.signal_mv(row)[:, start:][:, :length])
    plain = read_manifest(data / "manifests" / "train.tsv")
    assert plain.identities is None and plain.starts.dtype == np.int64 and not plain.starts.any()
    np.testing.assert_array_equal(plain.counts(0), plain.store.counts(plain.rows[0]))


def test_columns_in_any_order_and_lines_of_windows(data):
    path = data / "manifests" / "crlf.tsv"
    path.write_bytes(b"..\r\nrecord_id\tn_samples\tidentity\tstart\r\n40000000\t700\t3\t0\r\n")
    manifest = read_manifest(path)
    assert (manifest.identities.tolist(), manifest.starts.tolist(), manifest.n_samples.tolist()) == ([3], [0], [700])


def test_arrow_columns_are_written_as_they_are(data):
    ids = pa.chunked_array([["40000037"], ["40000000"]])
    path = rows_as_written(data, "arrow.tsv", record_ids=ids, n_samples=np.array([700, 700]))
    assert path.read_text() == "..\nrecord_id\tn_samples\n40000037\t700\n40000000\t700\n"


@pytest.mark.parametrize(
    ("header", "lines", "message"),
    [
        ("start", ["700\t1"], "700 samples from sample 1 on: expected 700 as in store"),
        ("start", ["0\t10"], "gives record 40000000 0 samples from sample 10 on"),
        ("start", ["300\t-1"], "line 3 .*: expected record_id<TAB>n_samples<TAB>start"),
        ("start", ["300\t9223372036854775808"], "line 3"),
        ("start", ["300\t9223372036854775807"], "300 samples from sample 9223372036854775807 on: expected 700"),
        ("start", ["300\t5", "300\t5"], "lists record 40000000 twice"),
        ("start", ["300\t5", "200\t5"], "lists record 40000000 twice"),
        ("identity", ["700\t-1"], "line 3"),
        ("identity", ["700\tx"], "line 3"),
        ("identity", ["700\t"], "line 3"),
        ("identity", ["700"], "line 3"),
        ("weight", ["700\t1"], "has the columns .*weight.*expected .* start, identity, store where needed"),
        ("start\tstart", ["700\t0\t0"], "has the columns"),
    ],
)
def test_odd_windows_and_identities(data, header, lines, message):
    path = data / "manifests" / "odd.tsv"
    path.write_text(
        "\n".join(["..", f"record_id\tn_samples\t{header}", *(f"40000000\t{line}" for line in lines)]) + "\n"
    )
    with pytest.raises(BadManifest, match=message):
        read_manifest(path)


def test_a_pickled_manifest_holds_numbers_not_text(data):
    manifest = read_manifest(data / "manifests" / "train.tsv")
    before = manifest.signal_mv(0), manifest.record_ids
    sent = pickle.dumps(manifest)
    assert len(sent) < 6000 and b"40000" not in sent
    other = pickle.loads(sent)
    np.testing.assert_array_equal(other.signal_mv(0), before[0])
    assert other.record_ids == before[1]
