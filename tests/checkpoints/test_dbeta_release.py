"""Released D-BETA checkpoints: sizes from shapes, parity with the published outputs, what does not fit is named."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import ecgtext_plugins
from ecgtext_plugins.checkpoints.dbeta_release import release_config, release_text_config
from ecgtext_plugins.checkpoints.load import load_model
from ecgtext_plugins.errors import BadCheckpoint, TextEncoderUnavailable
from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.text.encoders import build_text_encoder
from ecgtext_plugins.text.tokenization import tokenise
from tests.checkpoints.tiny import ecgs, save_released, tiny_dbeta


@pytest.fixture(scope="module")
def golden(shared):
    arrays = np.load(shared / "golden" / "dbeta_tiny_ref.npz")
    return shared / "golden" / "dbeta_tiny.pt", {key: arrays[key] for key in arrays.files if arrays[key].ndim}


def golden_config(path):
    return {"model": torch.load(path, weights_only=True)["cfg"]}


def assert_parity(ours, reference):
    assert ours.shape == reference.shape
    assert np.abs(ours.numpy() - reference).max() <= 1e-5 * np.abs(reference).max()


def test_golden_parity(golden):
    path, arrays = golden
    loaded = ecgtext_plugins.load(path, config=golden_config(path))
    assert (loaded.sample_rate, loaded.n_samples, loaded.training) == (500.0, 5000, False)
    assert_parity(loaded.encode_ecg(torch.from_numpy(arrays["ecg"])), arrays["ecg_features"])
    tower = ecgtext_plugins.load(path, config=golden_config(path), ecg_only=True)
    assert_parity(tower.encode_ecg(torch.from_numpy(arrays["ecg"])), arrays["ecg_features"])
    ids, padding = torch.from_numpy(arrays["text"]), torch.from_numpy(arrays["text_attention_mask"] == 0)
    assert padding.any()
    with torch.inference_mode():
        assert_parity(loaded.model.encode_text(ids, padding), arrays["text_features_unpadded"])


def test_golden_config_in_a_file_and_beside_the_checkpoint(golden, tmp_path):
    path, arrays = golden
    with pytest.raises(BadCheckpoint, match="does not tell encoder_attention_heads, and encoder_embed_dim=48"):
        load_model(path)
    (tmp_path / "config.json").write_text(json.dumps(golden_config(path)))
    beside = tmp_path / "sample.pt"
    beside.write_bytes(path.read_bytes())
    ecg = torch.from_numpy(arrays["ecg"][:1])
    assert torch.equal(
        load_model(path, config=tmp_path / "config.json").encode_ecg(ecg), load_model(beside).encode_ecg(ecg)
    )


def test_sizes_are_read_off_the_shapes(dbeta, released, text_folder):
    loaded = load_model(released)
    values = dataclasses.asdict(loaded.model.config) | {"initializer_range": 0.2}
    layers = {"conv_feature_layers": "[(16, 2, 2), (24, 2, 2), (24, 4, 4)]"}
    assert values | layers == dataclasses.asdict(dbeta.config)
    weights = loaded.model.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in dbeta.state_dict().items())
    with torch.inference_mode():
        assert torch.equal(loaded.encode_ecg(ecgs()), dbeta.encode_ecg(ecgs()))
        assert loaded.config["model"]["_name"] == "dbeta" and not loaded.config["model"]["ets_normalize"]


def test_sizes_of_the_release_itself(tmp_path):
    """The published sizes come back from shapes alone: built on the meta device, which has shapes and no values."""
    t5 = {"vocab_size": 32128, "d_model": 768, "d_kv": 64, "d_ff": 2048, "num_layers": 12, "num_heads": 12}
    t5 |= {"model_type": "t5", "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    with torch.device("meta"):
        model = DBeta(DBetaConfig(), build_text_encoder(t5))
    weights = model.state_dict()
    read = release_config(tmp_path / "none.pt", weights)
    assert read == dataclasses.replace(DBetaConfig(), conv_feature_layers=str([(256, 2, 2)] * 4))
    assert release_text_config(tmp_path / "none.pt", weights) == t5 | {"relative_attention_num_buckets": 32}


def test_texts_need_the_tokenizer(dbeta, released, text_folder):
    with pytest.raises(TextEncoderUnavailable, match="text_encoder= .*google/flan-t5-base"):
        load_model(released).encode_text(["sinus rhythm"])
    loaded = load_model(released, text_encoder=text_folder)
    texts = ["sinus rhythm", "left bundle branch block"]
    ids, attention = tokenise(loaded.tokenizer, texts)
    with torch.inference_mode():
        expected = dbeta.encode_text(ids, ~attention)
    assert torch.allclose(loaded.encode_text(texts), expected, atol=1e-6)


def test_a_tokenizer_beyond_the_vocabulary_is_refused(released, tmp_path):
    from ecgtext_plugins.text.scratch import build_scratch_text_encoder

    words = [" ".join(f"{a}{b}{c}" for a in "abcdefgh" for b in "ijklmnop" for c in "qrstuvwx")]
    larger = build_scratch_text_encoder(words, tmp_path / "larger", 600, d_model=16, num_layers=1, num_heads=2, d_ff=32)
    with pytest.raises(TextEncoderUnavailable, match="ids up to"):
        load_model(released, text_encoder=larger)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("unimodal_ecg_pooler.dense.bias"), "1 missing: unimodal_ecg_pooler.dense.bias;"),
        (lambda w: w.pop("ecg_encoder.encoder.layers.0.fc1.weight"), "lacks ecg_encoder.encoder.layers.0.fc1.weight"),
        (lambda w: w.update({"new.weight": torch.zeros(1)}), "1 unexpected: new.weight;"),
        (
            lambda w: w.update({"itm_head.fc.bias": torch.zeros(3)}),
            r"1 of another shape: itm_head.fc.bias \(3,\), expected \(2,\)",
        ),
        (lambda w: w.update({"itm_head.fc.bias": 0.5}), r"itm_head.fc.bias a float, expected \(2,\)"),
        (lambda w: w.update({"multi_modal_ecg_proj.weight": torch.zeros(3)}), r"has shape \(3,\), expected 2 dim"),
        (
            lambda w: [w.pop(key) for key in list(w) if key.startswith("multi_modal_language_layers.1.")],
            r"26 missing: (multi_modal_language_layers.1\S+, ){5}\.\.\.;",
        ),
        (
            lambda w: [
                w.pop("itm_head.fc.bias"),
                w.update({"a": torch.zeros(1), "class_embedding": torch.zeros(2)}),
            ],
            r"1 missing: itm_head.fc.bias; 1 unexpected: a; 1 of another shape: class_embedding \(2,\), expected",
        ),
    ],
)
def test_keys_that_do_not_fit(dbeta, tmp_path, change, said):
    weights = dbeta.state_dict()
    change(weights)
    torch.save({"model": weights}, tmp_path / "sample.pt")
    with pytest.raises(BadCheckpoint, match=said):
        load_model(tmp_path / "sample.pt")


def test_configs_that_do_not_fit(released, dbeta, trained, tmp_path):
    bad = tmp_path / "config.json"
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        load_model(released, config=bad)
    bad.write_text("{")
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        load_model(released, config=bad)
    bad.write_text(json.dumps({"model_type": "t5", "num_heads": 12}))
    with pytest.raises(BadCheckpoint, match="has no encoder_attention_heads"):
        load_model(released, config=bad)
    with pytest.raises(BadCheckpoint, match="has no encoder_attention_heads"):
        load_model(save_released(tmp_path / "beside.pt", dbeta))
    with pytest.raises(BadCheckpoint, match="cannot be built"):
        load_model(released, config={"encoder_attention_heads": 2, "encoder_layers": "many"})
    with pytest.raises(BadCheckpoint, match="48 missing|32 missing"):
        load_model(released, config={"encoder_attention_heads": 2, "encoder_layers": 5})
    with pytest.raises(BadCheckpoint, match="is not a released one"):
        load_model(trained, config={"encoder_attention_heads": 2})


def test_config_beside_sets_the_heads(text_folder, tmp_path):
    model = tiny_dbeta(text_folder, encoder_attention_heads=8)
    path = save_released(tmp_path / "sample.pt", model)
    with torch.inference_mode():
        expected = model.encode_ecg(ecgs())
        assert not torch.allclose(load_model(path).encode_ecg(ecgs()), expected, atol=1e-4)
        (tmp_path / "config.json").write_text(json.dumps({"model": {"encoder_attention_heads": 8}}))
        assert torch.equal(load_model(path).encode_ecg(ecgs()), expected)


def test_other_families_are_not_taken_for_it(shared):
    with pytest.raises(BadCheckpoint, match="lacks cfg, task_state|lacks task_state"):
        load_model(shared / "golden" / "melp_tiny.pt")
    assert load_model(shared / "golden" / "ecg_fm_pretrained_tiny.pt").family == "wav2vec2_cmsc"
