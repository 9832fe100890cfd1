"""Embeddings kept in parts: keys, second runs, damaged parts, a process killed, models of windows, fewer leads."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from ecgtext_plugins.checkpoints.load import load_model
from ecgtext_plugins.checkpoints.raw_signal import windows_of
from ecgtext_plugins.data.ecg_dataset import EcgDataset, EcgOptions
from ecgtext_plugins.data.lead_selection import lead_selection
from ecgtext_plugins.errors import BadConfig, BadStore
from ecgtext_plugins.evaluation import embedding_cache
from ecgtext_plugins.evaluation.embed import embed_manifest
from ecgtext_plugins.evaluation.embedding_cache import EmbeddingCache, embed_entries, entries_sha256
from ecgtext_plugins.evaluation.evaluation_tasks import Encoder
from ecgtext_plugins.evaluation.run_benchmark import cut_windows
from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.store.manifest import read_manifest
from tests.checkpoints.tiny import save_trained, tiny_dbeta
from tests.evaluation.tiny_models import tiny_ecg_model
from tests.text.tiny_encoders import tiny_t5


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


@pytest.mark.parametrize("spoil", ["truncate", "another", "text", "one_bit", "no_checksum"])
def test_a_damaged_part_is_made_again(tmp_path, manifest, counted, spoil):
    cache = EmbeddingCache(tmp_path)
    first = cache.of_entries(manifest, {}, counted)
    (path,) = tmp_path.glob("*/part-00001.npy")
    if spoil == "truncate":
        path.write_bytes(path.read_bytes()[:-8])
    elif spoil == "another":
        np.save(path, np.zeros((3, 3), dtype=np.float32))
    elif spoil == "one_bit":
        content = bytearray(path.read_bytes())
        content[-3] ^= 1
        path.write_bytes(content)
    elif spoil == "no_checksum":
        path.with_suffix(".sha256").unlink()
    else:
        path.write_text("no array")
    counted.asked.clear()
    np.testing.assert_array_equal(cache.of_entries(manifest, {}, counted), first)
    assert counted.asked == [16]


def test_other_code_is_another_key(tmp_path, manifest, counted, monkeypatch):
    cache = EmbeddingCache(tmp_path)
    cache.of_entries(manifest, {}, counted)
    monkeypatch.setattr(embedding_cache, "code_sha256", lambda places: "of a later version")
    counted.asked.clear()
    cache.of_entries(manifest, {}, counted)
    assert sum(counted.asked) == len(manifest)


KILLED = """
import sys, time
import numpy as np
from ecgtext_plugins.evaluation import embedding_cache
from ecgtext_plugins.signals.leads import LEADS
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


def tiny_models(folder):
    text = tiny_t5(folder / "text")
    dbeta = load_model(save_trained(folder / "dbeta.pt", tiny_dbeta(text), text))
    return {"wav2vec2_cmsc": tiny_ecg_model(folder / "weights"), "dbeta": dbeta}


@pytest.mark.parametrize("family", ["wav2vec2_cmsc", "dbeta"])
@pytest.mark.parametrize("leads", ["12", "6", "3", "2", "1"])
def test_a_model_sees_the_leads_that_training_would_show_it(tmp_path, manifest, family, leads):
    """Compared with the ECGs of training's own data set, standardised or not, other leads zero."""
    model = tiny_models(tmp_path)[family]
    found = embed_entries(model, manifest, batch_size=16, leads=leads)
    options = EcgOptions(standardize=model.standardize, leads=lead_selection(leads, padded=True))
    data = EcgDataset(manifest, options)
    for place in (0, 7, len(manifest) - 1):
        ecg = data.ecg(place)
        size = model.n_samples if family == "wav2vec2_cmsc" else ecg.shape[1]
        with torch.no_grad():
            expected = model.encode_ecg(windows_of(ecg, size)[0]).mean(0)
        np.testing.assert_allclose(found[place], expected, atol=2e-4)
    after = embed_entries(model, manifest, batch_size=16)  # nothing of it is left
    assert np.allclose(after, found, atol=2e-4) == (leads == "12")


@pytest.mark.parametrize("family", ["wav2vec2_cmsc", "dbeta"])
def test_leads_by_name_are_the_leads_that_reach_the_network(tmp_path, manifest, family):
    """Compared with zeros put in at the network's door, bit by bit."""
    model = tiny_models(tmp_path)[family]
    names = ["V2", "i", "aVR"]
    found = embed_entries(model, manifest, 16, leads=names)
    hidden = torch.tensor([lead not in ("I", "V2", "aVR") for lead in LEADS])[:, None]
    stem = model.ecg_encoder.feature_extractor
    hook = stem.register_forward_pre_hook(lambda _, given: (given[0].masked_fill(hidden, 0.0), *given[1:]))
    expected = embed_entries(model, manifest, 16)
    hook.remove()
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        embed_entries(model, manifest, 16, leads="3"), embed_entries(model, manifest, 16, leads=("I", "II", "V2"))
    )
    whole = embed_entries(model, manifest, 16)
    np.testing.assert_array_equal(embed_entries(model, manifest, 16, leads=LEADS[::-1]), whole)
    assert not np.allclose(whole, found, atol=1e-3)


def test_leads_pooling_and_models_of_few_leads(tmp_path, manifest):
    model = tiny_models(tmp_path)["dbeta"]
    for pooling in ("mean", "cls"):
        whole, less = (embed_entries(model, manifest, 16, pooling=pooling, leads=leads) for leads in ("12", "1"))
        assert not np.allclose(whole, less, atol=1e-3)
    with pytest.raises(BadConfig, match="leads='4': expected one of 12, 6, 3, 2, 1, or a list of lead names"):
        embed_entries(model, manifest, leads="4")
    with pytest.raises(BadConfig, match="leads holds 'V7': expected lead names .I, II, III, "):
        embed_entries(model, manifest, leads=["I", "V7"])
    with pytest.raises(BadConfig, match="names a lead twice"):
        embed_entries(model, manifest, leads=["II", "ii"])
    with pytest.raises(BadConfig, match="expected a list of lead names"):
        embed_entries(model, manifest, leads=[])
    stem = model.ecg_encoder.feature_extractor.conv_layers[0]
    stem[0] = torch.nn.Conv1d(2, 16, 2, 2)
    with pytest.raises(BadConfig, match="leads='2': the model takes 2 leads: expected one of 12"):
        embed_entries(model, manifest, leads="2")


def test_presets_of_leads_are_kept_apart(tmp_path, manifest):
    encoder = Encoder(None, {"checkpoint_sha256": "aa"}, EmbeddingCache(tmp_path))
    places = {encoder.seeing(leads).place(manifest) for leads in ("12", "6", "3", "2", "1")}
    assert len(places) == 5 and encoder.place(manifest) == encoder.seeing("6").seeing("12").place(manifest)
    assert [encoder.leads, encoder.seeing("3").leads] == ["12", "3"]
