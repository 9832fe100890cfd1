"""Embedding of a manifest: order, lengths, missing samples, what is refused, the parquet file."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ecgtext_plugins.errors import BadCheckpoint, BadManifest, BadStore
from ecgtext_plugins.evaluation.embed import embed_manifest, equal_length_batches, write_embeddings
from ecgtext_plugins.store.manifest import Manifest

LENGTHS = np.array([40, 32, 40, 16, 32, 40, 40])


class FakeModel(torch.nn.Module):
    """Embeds an ECG as the mean and the last sample of leads 0 and 11, so padding or cropping would show."""

    sample_rate, config, checkpoint_sha256 = 100.0, {"model": {}}, "ff" * 32

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.batches = []

    def encode_ecg(self, ecg):
        assert ecg.dtype == torch.float32 and ecg.shape[1] == 12 and not self.training
        self.batches.append(tuple(ecg.shape))
        parts = [ecg[:, 0].mean(1), ecg[:, 11].mean(1), ecg[:, 0, -1], ecg[:, 11, -1]]
        return torch.stack(parts, 1) * self.weight


class FakeStore:
    folder, fingerprint, sample_rate = Path("/store"), "ee" * 32, 100.0

    def __init__(self):
        rng = np.random.default_rng(0)
        self.signals = [rng.normal(size=(12, length)).astype(np.float32) for length in LENGTHS[::-1]]
        self.signals[2][0, 5] = np.nan

    def signal_mv(self, row):
        return self.signals[row].copy()

    def column(self, name):
        return np.array([f"r{place}" for place in range(len(LENGTHS))][::-1], dtype=object)


def manifest(store=None, lengths=LENGTHS):
    """Records r0, r1, ... stored in the opposite order."""
    rows = np.arange(len(LENGTHS))[::-1][: len(lengths)]
    return Manifest(Path("m.tsv"), store or FakeStore(), rows, np.array(lengths))


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_equals_one_by_one_in_the_manifests_order(batch_size):
    model, listed = FakeModel(), manifest()
    vectors = embed_manifest(model, listed, batch_size)
    assert vectors.dtype == np.float32 and vectors.shape == (7, 4)
    for row, vector in zip(listed.rows, vectors, strict=True):
        signal = np.where(np.isnan(listed.store.signals[row]), 0, listed.store.signals[row]).astype(np.float64)
        expected = [signal[0].mean(), signal[11].mean(), signal[0, -1], signal[11, -1]]
        np.testing.assert_allclose(vector, expected, atol=1e-6)
    assert all(shape[0] <= batch_size for shape in model.batches)
    if batch_size == 64:
        assert sorted(shape[2] for shape in model.batches) == [16, 32, 40]


def test_batches_hold_each_place_once_and_one_length():
    batches = list(equal_length_batches(LENGTHS, 3))
    assert sorted(np.concatenate(batches)) == list(range(7))
    assert all(len(set(LENGTHS[batch])) == 1 and len(batch) <= 3 for batch in batches)


def test_other_sample_rate():
    store = FakeStore()
    store.sample_rate = 250.0
    with pytest.raises(BadStore, match="/store is sampled at 250 Hz, but the checkpoint was trained at 100 Hz"):
        embed_manifest(FakeModel(), manifest(store))


def test_empty_and_too_short():
    with pytest.raises(BadManifest, match="m.tsv lists no record"):
        embed_manifest(FakeModel(), manifest(lengths=np.array([], dtype=np.int64)))
    with pytest.raises(BadManifest, match="record r1 has 15 samples, expected at least 16"):
        embed_manifest(FakeModel(), manifest(lengths=np.array([40, 15])))


def test_embedding_that_is_not_finite_names_the_record():
    model, listed = FakeModel(), manifest()
    listed.store.signals[listed.rows[3]][11, -1] = np.inf
    with pytest.raises(BadCheckpoint, match="record r3 is not finite"):
        embed_manifest(model, listed)


def test_parquet_round_trip(tmp_path):
    path, vectors = tmp_path / "out" / "e.parquet", np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    write_embeddings(path, list("abcde"), vectors, {"checkpoint_sha256": "ff"})
    table = pq.read_table(path)
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 3)
    assert table.column("record_id").to_pylist() == list("abcde")
    np.testing.assert_array_equal(np.stack(table.column("vector").to_pylist()), vectors)
    assert table.schema.metadata[b"checkpoint_sha256"] == b"ff"
    assert [p.name for p in path.parent.iterdir()] == ["e.parquet"]


def test_windows_of_a_record_can_be_told_apart(tmp_path):
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_embeddings(tmp_path / "v.parquet", ["a", "a"], vectors, {}, starts=np.array([0, 500]))
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.column_names == ["record_id", "start", "vector"] and table["start"].to_pylist() == [0, 500]
