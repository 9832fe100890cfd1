"""The table of negatives: build, skip, refuse, draw."""

import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ecgtext_plugins.errors import BadNegatives, TextEncoderUnavailable
from ecgtext_plugins.negatives import build
from ecgtext_plugins.negatives.build import build_negatives
from ecgtext_plugins.negatives.embedding import embed_texts
from ecgtext_plugins.negatives.table import NegativesTable
from ecgtext_plugins.text.encoders import load_text_encoder, load_tokenizer
from ecgtext_plugins.text.scratch import build_scratch_text_encoder

REPORTS = [f"{rhythm} {finding}" for rhythm in ("sinus rhythm", "atrial fibrillation") for finding in
           ("normal ecg", "left bundle branch block", "low voltage", "st elevation")]  # fmt: skip
SIZES = {"vocab_size": 150, "d_model": 8, "num_layers": 1, "num_heads": 2, "d_ff": 16}


class FakeStore:
    """What the builder needs of a RecordStore: records 0..9, of which the first six are in the train manifest."""

    report_of_record = np.array([3, 1, 6, 1, 4, -1, 0, 2, 5, 7])
    train_rows = np.arange(6)

    def __init__(self, folder: Path):
        self.folder, self.reports_fingerprint, self.n_reports = folder, "ab" * 32, len(REPORTS)

    def column(self, name):
        assert name == "report_id"
        return self.report_of_record

    def report_text(self, report_id):
        return REPORTS[report_id]


@pytest.fixture
def store(tmp_path, monkeypatch):
    store = FakeStore(tmp_path)
    monkeypatch.setattr(build.RecordStore, "open", lambda folder: store)
    monkeypatch.setattr(
        build, "read_manifest", lambda path: SimpleNamespace(path=path, store=store, rows=store.train_rows)
    )
    build_scratch_text_encoder(REPORTS, tmp_path / "text_encoder", **SIZES)
    return store


def test_table_equals_brute_force_over_the_train_reports(store):
    meta, built = build_negatives(store.folder, "scratch", k=2)
    assert built
    encoder, tokenizer = (load(store.folder / "text_encoder") for load in (load_text_encoder, load_tokenizer))
    vectors = embed_texts(encoder, tokenizer, REPORTS).astype(np.float64)
    table = NegativesTable.open(store.folder / "negatives", store).table
    assert table.shape == (8, 2) and table.dtype == np.int32
    for report in range(8):
        others = [candidate for candidate in (1, 3, 4, 6) if candidate != report]
        expected = sorted(others, key=lambda candidate: vectors[report] @ vectors[candidate])[:2]
        assert table[report].tolist() == expected
    assert (meta["k"], meta["k_asked"], meta["n_reports"], meta["n_candidates"]) == (2, 2, 8, 4)
    assert json.loads((store.folder / "negatives" / "meta.json").read_text()) == meta
    assert sorted(path.name for path in (store.folder / "negatives").iterdir()) == ["farthest.npy", "meta.json"]


def test_asking_for_more_than_there_are_keeps_all_others(store):
    meta, _ = build_negatives(store.folder, "scratch", k=64)
    assert (meta["k"], meta["k_asked"]) == (3, 64)
    table = NegativesTable.open(store.folder / "negatives", store).table
    for report, row in enumerate(table):
        assert report not in row and set(row) <= {1, 3, 4, 6} and len(set(row)) == 3


def test_same_inputs_are_skipped_others_rebuilt(store):
    build_negatives(store.folder, "scratch", k=2)
    table = store.folder / "negatives" / "farthest.npy"
    before, stamp = table.read_bytes(), table.stat().st_mtime_ns
    assert build_negatives(store.folder, "scratch", k=2)[1] is False
    assert table.stat().st_mtime_ns == stamp
    assert build_negatives(store.folder, "scratch", k=2, rebuild=True)[1] is True
    assert table.read_bytes() == before
    assert build_negatives(store.folder, "scratch", k=1)[1] is True
    build_scratch_text_encoder(REPORTS, store.folder / "text_encoder", seed=9, **SIZES)
    meta, built = build_negatives(store.folder, "scratch", k=1)
    assert built
    store.train_rows = np.arange(4)
    assert build_negatives(store.folder, "scratch", k=1)[0] != meta
    store.reports_fingerprint = "cd" * 32
    assert build_negatives(store.folder, "scratch", k=1)[1] is True


def test_the_same_encoder_under_another_name_is_the_same_input(store):
    build_negatives(store.folder, "scratch", k=2)
    assert build_negatives(store.folder, str(store.folder / "text_encoder"), k=2)[1] is False


def test_damaged_or_half_written_tables(store):
    folder = store.folder / "negatives"
    build_negatives(store.folder, "scratch", k=2)
    whole = (folder / "farthest.npy").read_bytes()
    (folder / "farthest.npy").write_bytes(whole[:40])
    with pytest.raises(BadNegatives, match="farthest.npy cannot be read"):
        NegativesTable.open(folder, store)
    np.save(folder / "farthest.npy", np.zeros((8, 5), dtype=np.int32))
    with pytest.raises(BadNegatives, match=r"holds int32 \(8, 5\), expected int32 \(8, 2\)"):
        NegativesTable.open(folder, store)
    (folder / "farthest.npy").unlink()
    assert build_negatives(store.folder, "scratch", k=2)[1] is True
    assert (folder / "farthest.npy").read_bytes() == whole
    (folder / "meta.json").write_text("{")
    with pytest.raises(BadNegatives, match="meta.json is not JSON"):
        NegativesTable.open(folder, store)
    (folder / "meta.json").write_text('{"format": 99}')
    with pytest.raises(BadNegatives, match="has format 99, expected 1"):
        NegativesTable.open(folder, store)


def test_missing_and_foreign_tables_name_the_command(store):
    with pytest.raises(BadNegatives, match=f"`ecgtext negatives build {store.folder} --text-encoder NAME`"):
        NegativesTable.open(store.folder / "negatives", store)
    build_negatives(store.folder, "scratch", k=2)
    store.reports_fingerprint = "cd" * 32
    with pytest.raises(BadNegatives, match="built for reports abab.* has reports cdcd.* --text-encoder scratch`"):
        NegativesTable.open(store.folder / "negatives", store)


@pytest.mark.parametrize("reports", [[2, 2, 2], [2, -1], [-1], []])
def test_fewer_than_two_reports(store, reports):
    store.report_of_record, store.train_rows = np.array(reports, dtype=np.int64), np.arange(len(reports))
    found = len({report for report in reports if report >= 0})
    with pytest.raises(BadNegatives, match=f"train.tsv has {found} unique reports, .* at least 2 are needed"):
        build_negatives(store.folder, "scratch")
    assert not (store.folder / "negatives").exists()


def test_bad_arguments(store, tmp_path):
    with pytest.raises(BadNegatives, match="table of 0 farthest"):
        build_negatives(store.folder, "scratch", k=0)
    with pytest.raises(TextEncoderUnavailable, match="is not there"):
        build_negatives(store.folder, str(tmp_path / "nothing"))


def test_draws_are_uniform_over_the_row_and_a_function_of_the_generator(store):
    build_negatives(store.folder, "scratch", k=3)
    table = NegativesTable.open(store.folder / "negatives", store)
    draws = [table.draw(5, np.random.default_rng([1, index])) for index in range(3000)]
    assert draws == [table.draw(5, np.random.default_rng([1, index])) for index in range(3000)]
    values, counts = np.unique(draws, return_counts=True)
    assert sorted(values) == sorted(table.table[5]) and type(draws[0]) is int
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert chi_square < 13.8  # 0.1 % quantile for two degrees of freedom


def test_pickles_without_its_content(store):
    build_negatives(store.folder, "scratch", k=2)
    table = NegativesTable.open(store.folder / "negatives", store)
    data = pickle.dumps(table)
    assert b"ndarray" not in data and b"memmap" not in data
    np.testing.assert_array_equal(pickle.loads(data).table, table.table)
    assert isinstance(table.table, np.memmap)
