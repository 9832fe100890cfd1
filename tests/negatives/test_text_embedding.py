"""Embeddings of reports: padding and batches don't matter; a stopped run continues."""

import numpy as np
import pytest
import torch

from ecgtext_plugins.negatives import embedding
from ecgtext_plugins.negatives.embedding import embed_texts
from ecgtext_plugins.text.encoders import load_text_encoder, load_tokenizer
from ecgtext_plugins.text.scratch import build_scratch_text_encoder

TEXTS = [
    "sinus rhythm",
    "atrial fibrillation with rapid ventricular response and left bundle branch block abnormal ecg",
    "ecg",
    "sinus bradycardia otherwise normal ecg",
    "low voltage",
    "right bundle branch block",
    "sinus rhythm with first degree block",
]


@pytest.fixture(scope="module")
def encoder_and_tokenizer(tmp_path_factory):
    folder = build_scratch_text_encoder(
        TEXTS,
        tmp_path_factory.mktemp("text") / "encoder",
        vocab_size=160,
        d_model=16,
        num_layers=2,
        num_heads=2,
        d_ff=32,
    )
    return load_text_encoder(folder), load_tokenizer(folder)


def one_by_one(encoder, tokenizer, text):
    """Embed by the definition, without padding or mask: mean of the states, to length 1."""
    with torch.no_grad():
        mean = (
            encoder(torch.tensor([tokenizer(text)["input_ids"]]))
            .last_hidden_state[0]
            .numpy()
            .astype(np.float64)
            .mean(0)
        )
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_mixed_lengths_equal_one_by_one(encoder_and_tokenizer, batch_size):
    vectors = embed_texts(*encoder_and_tokenizer, TEXTS, batch_size=batch_size)
    assert vectors.dtype == np.float32 and vectors.shape == (len(TEXTS), 16)
    expected = np.stack([one_by_one(*encoder_and_tokenizer, text) for text in TEXTS])
    np.testing.assert_allclose(vectors, expected, atol=2e-6)


def test_training_mode_is_restored_and_dropout_is_off(encoder_and_tokenizer):
    encoder, tokenizer = encoder_and_tokenizer
    encoder.train()
    try:
        first, second = (embed_texts(encoder, tokenizer, TEXTS) for _ in range(2))
        assert encoder.training
    finally:
        encoder.eval()
    np.testing.assert_array_equal(first, second)


def test_stopped_run_continues_and_gives_the_same(encoder_and_tokenizer, tmp_path, monkeypatch):
    encoder, tokenizer = encoder_and_tokenizer
    monkeypatch.setattr(embedding, "PART_TEXTS", 3)
    expected = embed_texts(encoder, tokenizer, TEXTS)
    real, calls = embedding._embed_batch, []

    def stops_at_second(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(embedding, "_embed_batch", stops_at_second)
    with pytest.raises(KeyboardInterrupt):
        embed_texts(encoder, tokenizer, TEXTS, parts_folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["part-000000000.npy"]
    again = embed_texts(encoder, tokenizer, TEXTS, parts_folder=tmp_path)
    assert len(calls) == 4  # three parts, the first of which was kept, and the one that stopped
    np.testing.assert_array_equal(again, expected)


def test_another_family_of_encoders(encoder_and_tokenizer):
    """BERT names its width otherwise than T5."""
    transformers = pytest.importorskip("transformers")
    tokenizer = encoder_and_tokenizer[1]
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    bert = transformers.BertModel(transformers.BertConfig(vocab_size=len(tokenizer), **sizes)).eval()
    vectors = embed_texts(bert, tokenizer, TEXTS, batch_size=3)
    expected = np.stack([one_by_one(bert, tokenizer, text) for text in TEXTS])
    np.testing.assert_allclose(vectors, expected, atol=2e-6)


def test_bf16_is_close_and_of_length_one(encoder_and_tokenizer):
    exact = embed_texts(*encoder_and_tokenizer, TEXTS)
    half = embed_texts(*encoder_and_tokenizer, TEXTS, bf16=True)
    assert half.dtype == np.float32 and (half != exact).any()
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, atol=1e-6)
    assert ((half * exact).sum(axis=1) > 0.995).all()
