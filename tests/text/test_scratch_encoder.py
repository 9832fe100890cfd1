"""Encoders from scratch: determinism, T5's token layout, round trips."""

import hashlib
import os
import subprocess
import sys

import pytest
import torch

from ecgtext_plugins.errors import TextEncoderUnavailable
from ecgtext_plugins.text.embedded_files import text_encoder_files, tokenizer_from_files
from ecgtext_plugins.text.encoders import build_text_encoder, load_text_encoder, load_tokenizer
from ecgtext_plugins.text.scratch import build_scratch_text_encoder
from ecgtext_plugins.text.tokenization import mask_token_id, tokenise
from ecgtext_plugins.text.unigram import train_unigram

REPORTS = [
    "sinus rhythm normal ecg",
    "sinus bradycardia otherwise normal ecg",
    "atrial fibrillation with rapid ventricular response",
    "left bundle branch block abnormal ecg",
    "right bundle branch block abnormal ecg",
    "sinus tachycardia possible inferior infarct - age undetermined",
]
SIZES = {"vocab_size": 200, "d_model": 16, "num_layers": 1, "num_heads": 2, "d_ff": 32}
BUILD = "import sys, json; from ecgtext_plugins.text.scratch import build_scratch_text_encoder as b; "


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_scratch_text_encoder(REPORTS, tmp_path_factory.mktemp("text") / "encoder", seed=3, **SIZES)


def test_same_bytes_in_another_process_with_other_hash_seed_and_order(folder, tmp_path):
    code = f"{BUILD} b({REPORTS[::-1]!r} + {REPORTS[:1]!r}, sys.argv[1], seed=3, **{SIZES!r})"
    environment = os.environ | {"PYTHONHASHSEED": "77", "TOKENIZERS_PARALLELISM": "true"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "other")], check=True, env=environment, cwd=os.getcwd())
    assert digests(tmp_path / "other") == digests(folder)


def test_the_seed_changes_weights_only(folder, tmp_path):
    other = digests(build_scratch_text_encoder(REPORTS, tmp_path / "encoder", seed=4, **SIZES))
    changed = {name for name, digest in digests(folder).items() if other[name] != digest}
    assert changed == {"model.safetensors"}


def test_building_leaves_the_global_generator_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_scratch_text_encoder(REPORTS, tmp_path / "encoder", **SIZES)
    assert torch.equal(torch.rand(3), expected)


def test_token_layout_is_that_of_t5(folder):
    tokenizer = load_tokenizer(folder)
    vocabulary = tokenizer.get_vocab()
    assert [vocabulary[token] for token in ("<pad>", "</s>", "<unk>")] == [0, 1, 2]
    assert [vocabulary[f"<extra_id_{i}>"] for i in range(100)] == list(
        range(len(tokenizer) - 1, len(tokenizer) - 101, -1)
    )
    assert sorted(vocabulary.values()) == list(range(len(tokenizer)))
    assert len(tokenizer) <= SIZES["vocab_size"]
    assert mask_token_id(tokenizer) == len(tokenizer) - 1
    assert {vocabulary[f"<extra_id_{i}>"] for i in range(100)} <= set(tokenizer.all_special_ids)
    ids, _ = tokenise(tokenizer, ["sinus rhythm <extra_id_0> ecg", "sinus ñ rhythm"])
    assert len(tokenizer) - 1 in ids[0].tolist()
    assert 2 in ids[1].tolist()


def test_text_survives_encoding(folder):
    tokenizer = load_tokenizer(folder)
    ids, mask = tokenise(tokenizer, REPORTS)
    assert tokenizer.batch_decode(ids, skip_special_tokens=True) == REPORTS
    for row, real in zip(ids, mask, strict=True):
        assert row[real][-1] == 1 and (row[real] == 1).sum() == 1 and (row[~real] == 0).all()


def test_truncation_keeps_the_end_token(folder):
    ids, mask = tokenise(load_tokenizer(folder), [" ".join(REPORTS), "ecg"], max_length=7)
    assert ids.shape == mask.shape == (2, 7)
    assert ids[0, -1] == 1 and mask[0].all()
    assert mask.dtype == torch.bool and ids.dtype == torch.int64


def test_segmentation_is_the_likeliest_one():
    """Compare the tokenizer's segmentation with a dynamic programme of our own over the vocabulary it saved."""
    import json

    tokenizer = train_unigram(REPORTS, 160)
    scores = dict(json.loads(tokenizer.to_str())["model"]["vocab"])

    def best(word):
        totals = [(0.0, [])]
        for end in range(1, len(word) + 1):
            options = [
                (totals[start][0] + scores[word[start:end]], [*totals[start][1], word[start:end]])
                for start in range(end)
                if word[start:end] in scores and totals[start] is not None
            ]
            totals.append(max(options) if options else None)
        return totals[-1]

    for word in ("sinus", "bundle", "fibrillation", "undetermined"):
        score, _ = best("▁" + word)
        tokens = tokenizer.encode(word).tokens[:-1]
        assert "".join(tokens) == "▁" + word
        assert sum(scores[token] for token in tokens) == pytest.approx(score)
    assert len(tokenizer.encode("sinus rhythm").tokens) < len("sinus rhythm")


def test_encoder_ignores_padding_given_the_mask(folder):
    tokenizer, encoder = load_tokenizer(folder), load_text_encoder(folder)
    ids, mask = tokenise(tokenizer, [REPORTS[0], REPORTS[-1]])
    alone, alone_mask = tokenise(tokenizer, [REPORTS[0]])
    with torch.no_grad():
        batched = encoder(input_ids=ids, attention_mask=mask).last_hidden_state[0, mask[0]]
        single = encoder(input_ids=alone, attention_mask=alone_mask).last_hidden_state[0]
    torch.testing.assert_close(batched, single, atol=1e-5, rtol=1e-5)
    assert not encoder.training


def test_embedded_files_give_the_same_tokenizer_and_shape(folder):
    texts = text_encoder_files(folder)
    tokenizer, again = load_tokenizer(folder), tokenizer_from_files(texts)
    samples = [*REPORTS, "unknown ñ word", "<extra_id_5> left"]
    assert again(samples)["input_ids"] == tokenizer(samples)["input_ids"]
    assert (len(again), mask_token_id(again)) == (len(tokenizer), mask_token_id(tokenizer))
    assert again.all_special_ids == tokenizer.all_special_ids
    assert text_encoder_files(folder) == texts and str(folder) not in "".join(texts.values())

    import json

    rebuilt = build_text_encoder(json.loads(texts["config.json"]))
    rebuilt.load_state_dict(load_text_encoder(folder).state_dict(), strict=True)
    assert rebuilt.config.feed_forward_proj == "gated-gelu"


def test_embedded_files_must_be_complete(folder):
    texts = text_encoder_files(folder)
    del texts["tokenizer.json"]
    with pytest.raises(TextEncoderUnavailable, match="has no tokenizer.json"):
        tokenizer_from_files(texts)


@pytest.mark.parametrize(
    ("reports", "sizes", "sentence"),
    [
        ([], {}, "none of 0 reports has a word"),
        (["  "], {}, "none of 1 reports has a word"),
        (REPORTS, {"vocab_size": 110}, "vocabulary of 110 is too small.*need at least 12[0-9]"),
        (REPORTS, {"num_heads": 3}, "width 16 cannot be split over 3 heads"),
    ],
)
def test_what_cannot_be_built_says_why_and_leaves_nothing(tmp_path, reports, sizes, sentence):
    with pytest.raises(TextEncoderUnavailable, match=sentence):
        build_scratch_text_encoder(reports, tmp_path / "encoder", **(SIZES | sizes))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_replaced_whole(tmp_path):
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "stale.txt").write_text("old")
    build_scratch_text_encoder(REPORTS, folder, **SIZES)
    assert not (folder / "stale.txt").exists() and (folder / "model.safetensors").is_file()
    assert list(tmp_path.iterdir()) == [folder]
