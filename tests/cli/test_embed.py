"""`ecgtext embed` as typed."""

import json

import numpy as np
import pyarrow.parquet as pq

from ecgtext_plugins.cli.main import main
from ecgtext_plugins.store.manifest import read_manifest


def test_writes_the_vectors_of_the_manifest(demo_store, stand_in, tmp_path, capsys):
    manifest, out = demo_store / "manifests" / "train.tsv", tmp_path / "train.parquet"
    assert main(["embed", "model.pt", str(manifest), "--out", str(out), "--batch-size", "7", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    listed, table = read_manifest(manifest), pq.read_table(out)
    assert table.column("record_id").to_pylist() == listed.record_ids
    vectors = np.stack(table.column("vector").to_pylist())
    expected = np.stack([np.nanmean(np.abs(listed.store.signal_mv(row)), axis=1) for row in listed.rows])
    np.testing.assert_allclose(vectors, expected, rtol=1e-5)
    assert (result["n"], result["width"]) == vectors.shape and result["checkpoint_sha256"] == "ab" * 32
    assert table.schema.metadata[b"store_fingerprint"].decode() == listed.store.fingerprint
    assert stand_in.loaded == [("model.pt", None)]


def test_other_rate_is_one_sentence_and_no_file(demo_store, stand_in, tmp_path, capsys):
    stand_in.sample_rate = 500.0
    out = tmp_path / "out" / "e.parquet"
    assert main(["embed", "model.pt", str(demo_store / "manifests" / "test.tsv"), "--out", str(out)]) == 1
    assert "is sampled at 100 Hz, but the checkpoint was trained at 500 Hz" in capsys.readouterr().err
    assert not out.exists() and not list(tmp_path.rglob("*.partial"))


def test_missing_manifest_and_checkpoint(demo_store, tmp_path, capsys):
    out = str(tmp_path / "e.parquet")
    assert main(["embed", "model.pt", str(tmp_path / "no.tsv"), "--out", out]) == 1
    assert "no.tsv cannot be read" in capsys.readouterr().err
    missing = str(tmp_path / "missing.pt")
    assert main(["embed", missing, str(demo_store / "manifests" / "test.tsv"), "--out", out]) == 1
    assert "missing.pt" in capsys.readouterr().err
