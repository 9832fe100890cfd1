import json
import pickle

import numpy as np
import pyarrow.parquet as pq
import pytest

from ecgtext_plugins.errors import BadManifest, BadStore
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.inspection import common_reports, label_counts
from ecgtext_plugins.store.reader import RecordStore
from ecgtext_plugins.store.recipe import resolve_recipe
from tests import builders


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    rows = builders.write_mimic_tree(folder / "raw", 13, seed=8, n_samples=700)
    rows[4]["report"] = []
    builders.write_tables(folder / "raw", rows)
    recipe = resolve_recipe(builders.demo_recipe(reports={"required": False}), "test")
    build_store(recipe, folder / "raw", folder / "data")
    return folder / "data", {row["study_id"]: row for row in rows}


@pytest.fixture
def store(tree):
    return RecordStore.open(tree[0])


def test_signals_are_views_of_the_file_and_come_back_in_millivolt(store, tree):
    for row, record_id in enumerate(store.column("record_id")):
        counts = store.counts(row)
        assert counts.dtype == np.int16 and counts.shape == (12, 700) and not counts.flags.writeable
        assert isinstance(counts.base, np.memmap)
        np.testing.assert_array_equal(counts, tree[1][record_id]["counts"])
        signal = store.signal_mv(row)
        assert signal.dtype == np.float32 and store.step_mv(row) == 0.005
        np.testing.assert_allclose(signal, counts / 200, rtol=2e-7)


def test_columns(store):
    assert store.column("n_samples").dtype == np.int64 and store.column("age").dtype == np.float32
    assert store.column("shard").dtype == np.int32 and store.column("missing_leads").dtype == np.int16
    assert store.column("report_id") is store.column("report_id")
    with pytest.raises(ValueError):
        store.column("report_id")[0] = 3
    with pytest.raises(BadStore, match="records.parquet has no readable column colour"):
        store.column("colour")


def test_every_column_of_the_contract_is_there(store):
    expected = (
        "record_id patient_id source_path sample_rate native_rate n_samples report_id age sex recorded_at device fold "
        "labels codes shard offset "
        "step_uv missing_leads derived_leads flat_leads clipped_leads missing_share longest_gap repaired_samples "
        "padded_samples limb_error_mv checksum_ok checksum split"
    )
    assert pq.read_schema(store.folder / "records.parquet").names == expected.split()
    assert pq.read_schema(store.folder / "reports.parquet").names == ["report_id", "text", "count"]


def test_rows_of_records(store):
    ids = store.column("record_id")
    np.testing.assert_array_equal(store.rows_of([ids[5], ids[0], ids[5]]), [5, 0, 5])
    assert store.rows_of([]).dtype == np.int64
    with pytest.raises(BadManifest, match=r"my.tsv names record 999, which store .* lacks \(and 1 more\)"):
        store.rows_of([ids[0], "999", "998"], source="my.tsv")


def test_reports(store, tree):
    ids = store.column("report_id")
    assert (ids == -1).sum() == 1
    assert store.n_reports == ids.max() + 1 == len(set(ids[ids >= 0]))
    for report_id in (-1, store.n_reports):
        with pytest.raises(IndexError):
            store.report_text(report_id)


def test_label_matrix_against_the_lists(store):
    rows = np.array([7, 2, 2, 12])
    names = [builders.LABELS[2], builders.LABELS[0]]
    expected = [[name in store.column("labels")[row] for name in names] for row in rows]
    matrix = store.label_matrix(rows, names)
    assert matrix.dtype == bool
    np.testing.assert_array_equal(matrix, expected)
    assert store.label_matrix(np.array([], np.int64), names).shape == (0, 2)
    assert store.label_matrix(rows, []).shape == (4, 0)
    with pytest.raises(BadStore, match="has no label pericarditis: expected one of sinus_rhythm"):
        store.label_matrix(rows, ["pericarditis"])


def test_a_pickled_store_is_small_and_works(store):
    before = store.signal_mv(3), store.report_text(0), store.rows_of(store.column("record_id")[:2].tolist())
    pickled = pickle.dumps(store)
    assert len(pickled) < 4000
    other = pickle.loads(pickled)
    np.testing.assert_array_equal(other.signal_mv(3), before[0])
    assert other.report_text(0) == before[1] and other.fingerprint == store.fingerprint


def test_counts_of_labels_and_reports(store, tree):
    counts = label_counts(store)
    for label in builders.LABELS:
        assert sum(counts[label].values()) == sum(label in row["findings"] for row in tree[1].values())
    reports = common_reports(store, 3)
    assert [report["count"] for report in reports] == sorted((r["count"] for r in reports), reverse=True)
    assert len(reports) == 3


def test_what_is_no_store(tmp_path, store):
    with pytest.raises(BadStore, match="has no corpus.json; build it with `ecgtext manifest build"):
        RecordStore.open(tmp_path)
    (tmp_path / ".build").mkdir()
    with pytest.raises(BadStore, match="its build has not finished"):
        RecordStore.open(tmp_path)
    for content, message in [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 99}', "format 99: expected format 2"),
    ]:
        (tmp_path / "corpus.json").write_text(content)
        with pytest.raises(BadStore, match=message):
            RecordStore.open(tmp_path)


def test_missing_and_short_signals_are_told(tmp_path, store):
    corpus = json.loads((store.folder / "corpus.json").read_text())
    (tmp_path / "corpus.json").write_text(json.dumps(corpus))
    (tmp_path / "records.parquet").write_bytes((store.folder / "records.parquet").read_bytes())
    copy = RecordStore.open(tmp_path)
    with pytest.raises(BadStore, match="shard-00000.npy cannot be mapped"):
        copy.counts(0)
    (tmp_path / "signals").mkdir()
    np.save(tmp_path / "signals" / "shard-00000.npy", np.zeros(12 * 700 + 5, np.int16))
    assert copy.counts(0).shape == (12, 700)
    with pytest.raises(BadStore, match="row 1 of .* ends after 5 counts"):
        copy.counts(1)
    with pytest.raises(BadStore, match="reports.parquet has no readable column text"):
        copy.report_text(0)
