"""Embedding of recordings by windows: pooling, means, every family, and the numbers published code gives."""

import numpy as np
import pyarrow as pa
import pytest
import torch

import ecgtext_plugins
from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.evaluation.embed import embed_manifest, embed_records, pooled
from ecgtext_plugins.evaluation.record_sources import ArrayForm, open_records
from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.store.manifest import read_manifest
from tests.evaluation.tiny_models import tiny_ecg_model, write_recordings


@pytest.mark.parametrize("labels", [None, ["a", "b"]])
@pytest.mark.parametrize("batch_size", [2, 64])
def test_a_record_is_the_mean_of_its_windows(tmp_path, labels, batch_size):
    model = tiny_ecg_model(tmp_path / "model.pt", labels)
    write_recordings(tmp_path / "records")
    sources = open_records([tmp_path / "records"])
    found = embed_records(model, sources, batch_size)
    assert found.records.tolist() == [0, 1, 2, 3, 4] and found.counts.tolist() == [3, 3, 1, 1, 4]
    for place, vector in enumerate(found.mean()):
        recording = sources.read(place)
        np.testing.assert_allclose(vector, model.embed(recording.signal, recording.rate, LEADS), atol=2e-6)
        np.testing.assert_allclose(vector, found.values[found.owner == place].mean(0), atol=2e-6)


def test_mean_pooling_counts_no_padding(tmp_path):
    model = tiny_ecg_model(tmp_path / "model.pt")
    ecg = torch.randn(2, 12, 400, generator=torch.Generator().manual_seed(0))
    padding = torch.arange(400)[None] >= torch.tensor([[400], [250]])
    ecg = ecg.masked_fill(padding[:, None], 0.0)
    with torch.inference_mode():
        both = pooled(model, "mean")(ecg, padding)
        alone = torch.cat([pooled(model, "mean")(ecg[:1]), pooled(model, "mean")(ecg[1:, :, :250])])
        frames = model.ecg_encoder.encode_frames(ecg[:1])[0]
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone[0], frames[0].mean(0))


def test_what_pooling_is_refused(tmp_path):
    model = tiny_ecg_model(tmp_path / "model.pt")
    with pytest.raises(BadConfig, match="wav2vec2_cmsc, which has no class token; use default or mean"):
        pooled(model, "cls")
    with pytest.raises(BadConfig, match="pooling=max"):
        pooled(model, "max")


def test_published_embeddings_of_a_classifier(shared):
    golden = np.load(shared / "golden" / "ecg_fm_finetuned_tiny_ref.npz")
    model = ecgtext_plugins.load(shared / "golden" / "ecg_fm_finetuned_tiny.pt")
    with torch.inference_mode():
        found = pooled(model)(torch.from_numpy(golden["source"]), None).numpy()
    np.testing.assert_allclose(found, golden["embedding"], atol=1e-4 * np.abs(golden["embedding"]).max())


def test_poolings_of_the_released_model(shared, demo_data, tmp_path):
    """D-BETA: default is the pooler of cls, and whole records of 10 s are windows of its length."""
    golden = np.load(shared / "golden" / "dbeta_tiny_ref.npz")
    path = shared / "golden" / "dbeta_tiny.pt"
    sizes = {key: value for key, value in torch.load(path, weights_only=True)["cfg"].items() if key != "t5"}
    model = ecgtext_plugins.load(path, ecg_only=True, config=sizes)
    ecg = torch.from_numpy(golden["ecg"])
    with torch.inference_mode():
        token = pooled(model, "cls")(ecg)
        mean = pooled(model, "mean")(ecg)
        expected = torch.tanh(model.model.unimodal_ecg_pooler.dense(token))
        padded = torch.nn.functional.pad(ecg, (0, 320))
        mask = (torch.arange(5320) >= 5000).expand(len(ecg), -1)
        torch.testing.assert_close(pooled(model, "mean")(padded, mask), mean, atol=1e-4, rtol=1e-4)
    scale = np.abs(golden["ecg_features"]).max()
    np.testing.assert_allclose(expected.numpy(), golden["ecg_features"], atol=1e-4 * scale)
    for place, signal in enumerate(golden["ecg"]):
        np.save(tmp_path / f"{place}.npy", signal)
    found = embed_records(model, open_records(sorted(tmp_path.glob("*.npy")), ArrayForm(500.0, LEADS)))
    np.testing.assert_allclose(found.mean(), golden["ecg_features"], atol=1e-4 * scale)


def test_whole_records_of_a_manifest_by_pooling(demo_data, tmp_path):
    manifest = read_manifest(demo_data / "manifests" / "test.tsv")
    model = tiny_ecg_model(tmp_path / "model.pt", standardize=False, n_samples=int(manifest.n_samples[0]))
    for pooling in ("default", "mean"):
        whole = embed_manifest(model, manifest, pooling=pooling)
        windows = embed_records(model, open_records([manifest.path]), pooling=pooling)
        np.testing.assert_allclose(whole, windows.mean(), atol=2e-6)
    assert open_records([manifest.path]).ids.equals(pa.array(manifest.record_ids))
