"""Encoders of every family: loading, tokens, padding, embedded files, and what is refused."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file

from ecgtext_plugins.errors import TextEncoderUnavailable
from ecgtext_plugins.text import encoders
from ecgtext_plugins.text.embedded_files import text_encoder_files, tokenizer_from_files
from ecgtext_plugins.text.encoders import (
    build_text_encoder,
    load_config,
    load_text_encoder,
    load_text_encoder_and_tokenizer,
    load_tokenizer,
)
from ecgtext_plugins.text.tokenization import check_length, mask_token_id, special_token_ids, tokenise
from ecgtext_plugins.text.transformers_guard import import_transformers
from tests.text import tiny_encoders
from tests.text.tiny_encoders import FAMILIES, REPORTS

CLASSES = {"t5": "T5EncoderModel", "bert": "BertModel", "roberta": "RobertaModel", "deberta-v2": "DebertaV2Model"}
MASKS = {"t5": "<extra_id_0>", "bert": "[MASK]", "roberta": "<mask>", "deberta-v2": "[MASK]"}
SPECIAL = {
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    "deberta-v2": ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"],
    "t5": ["<pad>", "</s>", "<unk>", *(f"<extra_id_{i}>" for i in range(100))],
}
ATTENTION = {"t5": "sdpa", "bert": "sdpa", "roberta": "sdpa", "deberta-v2": "eager"}
TINY = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 40,
    "max_position_embeddings": 64, "pad_token_id": 0,
}  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    """Return the model type and a folder with its files."""
    return request.param, FAMILIES[request.param](tmp_path_factory.mktemp("text") / "encoder")


@pytest.fixture
def bert(tmp_path):
    return tiny_encoders.tiny_bert(tmp_path / "encoder")


def edit_config(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def encode(encoder, ids, mask):
    with torch.no_grad():
        return encoder(input_ids=ids, attention_mask=mask).last_hidden_state


def test_the_class_of_the_family_without_pooler_with_its_own_weights(family):
    model_type, folder = family
    encoder = load_text_encoder(folder)
    assert type(encoder).__name__ == CLASSES[model_type]
    assert not any("pooler" in name for name, _ in encoder.named_parameters())
    assert (encoder.training, encoder.dtype, encoder.config.hidden_size) == (False, torch.float32, 16)
    stored = load_file(folder / "model.safetensors")
    table = encoder.get_input_embeddings().weight
    assert any(value.shape == table.shape and torch.equal(value, table) for value in stored.values())
    assert len(table) == encoder.config.vocab_size


def test_attention_is_the_fused_one_where_there_is_one(family):
    model_type, folder = family
    fused = load_text_encoder(folder)
    assert fused.config._attn_implementation == ATTENTION[model_type]
    if ATTENTION[model_type] == "sdpa":
        plain = build_text_encoder(json.loads((folder / "config.json").read_text())).eval()
        assert plain.config._attn_implementation == "sdpa"
        plain.load_state_dict(fused.state_dict())
        plain.set_attn_implementation("eager")
        ids, mask = tokenise(load_tokenizer(folder), REPORTS)
        torch.testing.assert_close(encode(plain, ids, mask)[mask], encode(fused, ids, mask)[mask], atol=1e-5, rtol=1e-5)


def test_a_text_alone_and_in_a_padded_batch(family):
    encoder, tokenizer = load_text_encoder_and_tokenizer(family[1])
    ids, mask = tokenise(tokenizer, REPORTS)
    assert not mask.all()
    batched = encode(encoder, ids, mask)
    assert batched.shape == (*ids.shape, encoder.config.hidden_size) and batched[mask].std() > 0.1
    for row, text in enumerate(REPORTS):
        alone = encode(encoder, *tokenise(tokenizer, [text]))[0]
        torch.testing.assert_close(batched[row, mask[row]], alone, atol=1e-5, rtol=1e-5)


def test_tokens_after_a_word_change_its_state(family):
    encoder, tokenizer = load_text_encoder_and_tokenizer(family[1])
    ids, mask = tokenise(tokenizer, REPORTS[:1])
    changed = ids.clone()
    changed[0, -2] = (ids[0, -2] + 1) % len(tokenizer)
    assert not torch.allclose(encode(encoder, ids, mask)[0, 0], encode(encoder, changed, mask)[0, 0], atol=1e-4)


def test_special_tokens(family):
    model_type, folder = family
    tokenizer = load_tokenizer(folder)
    assert tokenizer.convert_ids_to_tokens(mask_token_id(tokenizer)) == MASKS[model_type]
    assert special_token_ids(tokenizer) == sorted(tokenizer.convert_tokens_to_ids(SPECIAL[model_type]))
    ids, mask = tokenise(tokenizer, [*REPORTS, " ".join(REPORTS * 9)], max_length=40)
    assert ids.shape == mask.shape == (4, 40) and (ids[~mask] == tokenizer.pad_token_id).all()
    words = tokenizer.decode([i for i in ids[0].tolist() if i not in special_token_ids(tokenizer)])
    assert words.strip() == REPORTS[0]


def test_embedded_files_round_trip(family):
    model_type, folder = family
    texts = text_encoder_files(folder)
    assert {"config.json", "tokenizer.json", "tokenizer_config.json"} <= set(texts)
    assert str(folder) not in "".join(texts.values())
    tokenizer, again = load_tokenizer(folder), tokenizer_from_files(texts)
    samples = [*REPORTS, "Sinus ñ  rhythm, 72/min", ""]
    assert again(samples)["input_ids"] == tokenizer(samples)["input_ids"]
    assert mask_token_id(again) == mask_token_id(tokenizer)
    assert special_token_ids(again) == special_token_ids(tokenizer)
    rebuilt, loaded = build_text_encoder(json.loads(texts["config.json"])).eval(), load_text_encoder(folder)
    rebuilt.load_state_dict(loaded.state_dict(), strict=True)
    ids, mask = tokenise(again, REPORTS)
    assert torch.equal(encode(rebuilt, ids, mask), encode(loaded, ids, mask))


def test_a_vocab_txt_is_lowercased_word_pieces(bert):
    tokenizer = load_tokenizer(bert)
    ids, _ = tokenise(tokenizer, ["Sinus rhythms"])
    assert tokenizer.convert_ids_to_tokens(ids[0]) == ["[CLS]", "sinus", "rhythm", "##s", "[SEP]"]
    lines = (bert / "vocab.txt").read_text().split()
    assert ids[0].tolist() == [lines.index(token) for token in ["[CLS]", "sinus", "rhythm", "##s", "[SEP]"]]


def test_a_deberta_with_only_a_sentencepiece_model(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    pytest.importorskip("google.protobuf")
    folder = tiny_encoders.tiny_deberta_sentencepiece(tmp_path / "encoder")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    again = tokenizer_from_files(text_encoder_files(folder))
    for text in [*REPORTS, "sinus ñ rhythm"]:
        assert again(text)["input_ids"] == [1, *pieces.encode(text), 2]
    assert mask_token_id(again) == pieces.get_piece_size()  # the token after the pieces
    assert special_token_ids(again) == [0, 1, 2, 3, pieces.get_piece_size()]


def test_a_fetched_sentencepiece_model_names_the_missing_package(tmp_path, monkeypatch):
    import huggingface_hub

    (tmp_path / "spm.model").write_bytes(b"")
    cached = {"owner/deberta": str(tmp_path / "config.json")}
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file: cached.get(name))
    monkeypatch.setattr(encoders, "_is_installed", lambda module: module != "sentencepiece")
    with pytest.raises(TextEncoderUnavailable, match="owner/deberta' has spm.model .*run `pip install sentencepiece`"):
        load_tokenizer("owner/deberta")


@pytest.mark.parametrize("gated", [True, False])
def test_a_config_without_model_type_is_of_a_t5(gated):
    torch.manual_seed(0)
    kind = "gated-gelu" if gated else "relu"
    sizes = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    encoder = build_text_encoder({**sizes, "feed_forward_proj": kind})
    assert type(encoder).__name__ == "T5EncoderModel"
    assert hasattr(encoder.encoder.block[0].layer[1].DenseReluDense, "wi_0") == gated


@pytest.mark.parametrize("model_type", ["distilbert", "electra", "modernbert", "mpnet", "xlm-roberta"])
def test_other_encoders_with_masked_language_modelling(tmp_path, model_type):
    config = import_transformers().CONFIG_MAPPING[model_type](**TINY, **special_ids(model_type)).to_dict()
    encoder = build_text_encoder(config).eval()
    assert encoder.config.hidden_size == 16
    encoder.save_pretrained(tmp_path)
    loaded = load_text_encoder(tmp_path)
    ids = torch.tensor([[5, 6, 7], [8, 9, 0]])
    mask = ids != 0
    torch.testing.assert_close(encode(loaded, ids, mask)[mask], encode(encoder, ids, mask)[mask])
    torch.testing.assert_close(
        encode(loaded, ids, mask)[1, :2], encode(loaded, ids[1:, :2], mask[1:, :2])[0], atol=1e-5, rtol=1e-5
    )


def special_ids(model_type):
    return (
        {"cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2} if "modern" in model_type else {}
    )


@pytest.mark.parametrize(
    ("model_type", "kind"),
    [
        ("gpt2", "a decoder-only language model"),
        ("llama", "a decoder-only language model"),
        ("vit", "a vision model"),
        ("clip", "a vision model"),
        ("bart", "an encoder-decoder"),
        ("wav2vec2", "no text encoder"),
    ],
)
def test_other_models_are_refused_by_name(tmp_path, model_type, kind):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    for load in (load_config, load_text_encoder, lambda folder: build_text_encoder({"model_type": model_type})):
        with pytest.raises(TextEncoderUnavailable, match=f"of type {model_type}, .*{kind}.*google/flan-t5-small"):
            load(tmp_path)


def test_a_bert_set_up_as_a_decoder_is_refused(bert):
    edit_config(bert, is_decoder=True)
    with pytest.raises(TextEncoderUnavailable, match="of type bert, with `is_decoder: true`"):
        load_text_encoder(bert)


def test_types_unknown_to_transformers(bert):
    with pytest.raises(TextEncoderUnavailable, match="of type nobert, which transformers .* does not have"):
        build_text_encoder({"model_type": "nobert"})
    edit_config(bert, model_type="nobert")
    with pytest.raises(TextEncoderUnavailable, match="nobert"):
        load_config(bert)


def test_an_encoder_that_takes_other_inputs_is_refused():
    with pytest.raises(TextEncoderUnavailable, match="type perceiver cannot be used: .*TypeError"):
        build_text_encoder({"model_type": "perceiver", "num_latents": 4, "d_latents": 16, "d_model": 16})


def test_more_tokens_than_embeddings(family, tmp_path):
    model_type, folder = family
    tokenizer, config = load_tokenizer(folder), json.loads((folder / "config.json").read_text())
    tokenizer.save_pretrained(tmp_path)
    size = len(tokenizer) - 3
    (tmp_path / "config.json").write_text(json.dumps(config | {"vocab_size": size}))
    for load in (load_text_encoder_and_tokenizer, text_encoder_files):
        with pytest.raises(TextEncoderUnavailable, match=f"ids up to {size + 2}, .*embeddings for {size} tokens"):
            load(tmp_path)


def test_more_embeddings_than_tokens_are_fine(family):
    encoder, tokenizer = load_text_encoder_and_tokenizer(family[1])
    tokens = len(tokenizer)
    assert encoder.config.vocab_size == tokens + (10 if family[0] == "deberta-v2" else 0)


def test_embeddings_of_another_number_than_the_config_says(bert):
    rows = json.loads((bert / "config.json").read_text())["vocab_size"]
    edit_config(bert, vocab_size=rows + 7)
    sentence = rf"1 weights of another shape .*word_embeddings.weight: \({rows}, 16\), expected \({rows + 7}, 16\)"
    with pytest.raises(TextEncoderUnavailable, match=sentence):
        load_text_encoder(bert)


def test_missing_weights_are_refused_and_unused_ones_not_listed(bert, capfd):
    level = logging.getLogger("transformers").level
    load_text_encoder(bert)
    assert "UNEXPECTED" not in "".join(capfd.readouterr())
    assert logging.getLogger("transformers").level == level
    weights = load_file(bert / "model.safetensors")
    del weights["bert.encoder.layer.1.output.dense.weight"]
    save_file(weights, bert / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TextEncoderUnavailable, match="lacks 1 weights, the first is encoder.layer.1.output.dense"):
        load_text_encoder(bert)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_folder_without_tokenizer_files_is_refused(tmp_path, model_type):
    """Transformers itself makes a tokenizer of special tokens for it, silently."""
    config = {"model_type": model_type, "vocab_size": 200}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(TextEncoderUnavailable, match="no words|cannot be loaded"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_that_cannot_pad_is_refused(bert, tmp_path):
    tokenizer = import_transformers().PreTrainedTokenizerFast(tokenizer_object=load_tokenizer(bert).backend_tokenizer)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(TextEncoderUnavailable, match="without a padding token"):
        load_tokenizer(tmp_path)


def test_texts_longer_than_the_encoder_reads_are_refused(tmp_path):
    config = load_config(str(tiny_encoders.tiny_bert(tmp_path / "bert")))
    check_length(config, 64)
    with pytest.raises(TextEncoderUnavailable, match="at most 64 tokens, but max_text_tokens is 65"):
        check_length(config, 65)
    roberta = load_config(str(tiny_encoders.tiny_roberta(tmp_path / "roberta")))
    places = roberta.max_position_embeddings - roberta.pad_token_id - 1
    check_length(roberta, places)
    with pytest.raises(TextEncoderUnavailable, match=f"at most {places} tokens"):
        check_length(roberta, places + 1)
    check_length(load_config(str(tiny_encoders.tiny_t5(tmp_path / "t5"))), 5000)
    check_length(load_config(str(tiny_encoders.tiny_deberta(tmp_path / "deberta"))), 5000)


def test_flan_t5s_gelu_in_one_step_is_the_same_function(tmp_path):
    from transformers.activations import NewGELUActivation

    encoder = load_text_encoder(str(tiny_encoders.tiny_t5(tmp_path / "encoder")))
    activations = [module.act for module in encoder.modules() if hasattr(module, "wi_0")]
    assert activations and all(isinstance(act, torch.nn.GELU) for act in activations)
    x = torch.linspace(-9, 9, 100_001)
    assert torch.allclose(activations[0](x), NewGELUActivation()(x), rtol=1e-5, atol=1e-6)
