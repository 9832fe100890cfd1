"""Embeddings kept in parts: keys, second runs, damaged parts, a process killed in the middle, models of windows."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ecgtext_plugins.errors import BadStore
from ecgtext_plugins.evaluation import embedding_cache
from ecgtext_plugins.evaluation.embed import embed_manifest
from ecgtext_plugins.evaluation.embedding_cache import EmbeddingCache, embed_entries, entries_sha256
from ecgtext_plugins.evaluation.run_benchmark import cut_windows
from ecgtext_plugins.store.manifest import read_manifest
from tests.evaluation.tiny_models import tiny_ecg_model


@pytest.fixture
def manifest(demo_data):
    return read_manifest(demo_data / "manifests" / "train.tsv")


@pytest.fixture
def counted():
    """An embedding that is a record's first samples, and how many entries were asked for each time."""
    asked = []

    def embed(part):
        asked.append(len(part))
        return np.stack([part.signal_mv(place)[:3, 0] for place in range(len(part))])

    embed.asked = asked
    return embed


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(embedding_cache, "ENTRIES_A_PART", 16)


def test_second_run_embeds_nothing(tmp_path, manifest, counted):
    cache = EmbeddingCache(tmp_path)
    first = cache.of_entries(manifest, {"a": 1}, counted)
    assert sum(counted.asked) == len(manifest) and max(counted.asked) == 16 and first.dtype == np.float32
    expected = np.stack([manifest.signal_mv(place)[:3, 0] for place in range(len(manifest))])
    np.testing.assert_array_equal(first, expected)
    asked = len(counted.asked)
    np.testing.assert_array_equal(cache.of_entries(manifest, {"a": 1}, counted), first)
    assert len(counted.asked) == asked


def test_another_origin_manifest_or_window_rule_is_another_key(tmp_path, manifest, counted, demo_data):
    cache = EmbeddingCache(tmp_path)
    cache.of_entries(manifest, {"a": 1}, counted)
    for other, origin in (
        (manifest, {"a": 2}),
        (read_manifest(demo_data / "manifests" / "test.tsv"), {"a": 1}),
        (cut_windows(manifest, "first_2500"), {"a": 1}),
    ):
        before = sum(counted.asked)
        cache.of_entries(other, origin, counted)
        assert sum(counted.asked) == before + len(other)
    keys = [json.loads(path.read_text()) for path in tmp_path.glob("*/key.json")]
    assert len(keys) == 4 and {key["store_fingerprint"] for key in keys} == {manifest.store.fingerprint}
    assert entries_sha256(manifest) != entries_sha256(cut_windows(manifest, "first_2500"))


@pytest.mark.parametrize("spoil", ["truncate", "shape", "text"])
def test_a_damaged_part_is_made_again(tmp_path, manifest, counted, spoil):
    cache = EmbeddingCache(tmp_path)
    first = cache.of_entries(manifest, {}, counted)
    (path,) = tmp_path.glob("*/part-00001.npy")
    if spoil == "truncate":
        path.write_bytes(path.read_bytes()[:-8])
    elif spoil == "shape":
        np.save(path, np.zeros((3, 3), dtype=np.float32))
    else:
        path.write_text("no array")
    counted.asked.clear()
    np.testing.assert_array_equal(cache.of_entries(manifest, {}, counted), first)
    assert counted.asked == [16]


KILLED = """
import sys, time
import numpy as np
from ecgtext_plugins.evaluation import embedding_cache
from ecgtext_plugins.store.manifest import read_manifest
embedding_cache.ENTRIES_A_PART = 16
def embed(part):
    time.sleep(0.3)
    return np.stack([part.signal_mv(place)[:3, 0] for place in range(len(part))])
embedding_cache.EmbeddingCache(embedding_cache.Path(sys.argv[1])).of_entries(read_manifest(sys.argv[2]), {}, embed)
"""


def test_a_killed_run_continues(tmp_path, manifest, counted, demo_data):
    whole = EmbeddingCache(tmp_path / "whole").of_entries(manifest, {}, counted)
    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(killed), str(manifest.path)])
    deadline = time.monotonic() + 120
    while len(list(killed.glob("*/part-*.npy"))) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = len(list(killed.glob("*/part-*.npy")))
    assert kept >= 2
    counted.asked.clear()
    np.testing.assert_array_equal(EmbeddingCache(killed).of_entries(manifest, {}, counted), whole)
    assert sum(counted.asked) == max(0, len(manifest) - 16 * kept)


def test_models_of_windows_embed_an_entry_as_the_mean_of_its_windows(tmp_path, manifest):
    model = tiny_ecg_model(tmp_path / "weights")  # windows of 400 samples, standardised over the record
    found = embed_entries(model, manifest, batch_size=7)
    record = manifest.signal_mv(3)
    expected = model.embed(record, manifest.store.sample_rate, "I II III aVR aVL aVF V1 V2 V3 V4 V5 V6".split())
    np.testing.assert_allclose(found[3], expected, atol=1e-5)
    cut = cut_windows(manifest, "first_2500")
    early = embed_entries(model, cut, batch_size=7)
    assert early.shape == found.shape and not np.allclose(early, found)


def test_d_beta_takes_whole_records(manifest, monkeypatch):
    seen = []

    class Model:
        family = "dbeta"

    monkeypatch.setattr(embedding_cache, "embed_manifest", lambda *given: seen.append(given))
    embed_entries(Model(), manifest, 5, "cpu")
    assert seen[0][1] is manifest and embed_manifest is not embedding_cache.embed_manifest


def test_an_ecg_that_cannot_be_used_is_named(tmp_path, manifest, monkeypatch):
    model = tiny_ecg_model(tmp_path / "weights")
    signal_of = type(manifest.store).signal_mv
    bad = int(manifest.rows[2])
    monkeypatch.setattr(
        type(manifest.store), "signal_mv", lambda store, row: signal_of(store, row) * (np.nan if row == bad else 1)
    )
    with pytest.raises(BadStore, match=f"1 of .* the first is {manifest.record_id(2)}: all leads miss"):
        embed_entries(model, manifest)
