"""Tiny random text encoders of each family, in the files that their releases have."""

import json

from ecgtext_plugins.text.scratch import build_scratch_text_encoder
from ecgtext_plugins.text.transformers_guard import import_transformers

REPORTS = [
    "sinus rhythm normal ecg",
    "left bundle branch block",
    "atrial fibrillation with rapid ventricular response",
]
WORDS = sorted({word for report in REPORTS for word in report.split()})
SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
BERT_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def _save(encoder, folder, seed=0):
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for parameter in encoder.parameters():  # the usual start is too near zero to tell differences
            torch.nn.init.normal_(parameter, std=0.3)
    encoder.save_pretrained(folder)
    return folder


def tiny_t5(folder):
    return build_scratch_text_encoder(REPORTS, folder, vocab_size=200, d_model=16, num_layers=3, num_heads=2, d_ff=32)


def tiny_bert(folder):
    """As Bio_ClinicalBERT or MedCPT before conversion: vocab.txt, no tokenizer.json, weights with heads and pooler."""
    transformers = import_transformers()
    vocabulary = [
        *BERT_SPECIAL,
        *WORDS,
        *"abcdefghijklmnopqrstuvwxyz",
        *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
    ]
    config = transformers.BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, **SIZES)
    _save(transformers.BertForPreTraining(config), folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    return folder


def tiny_roberta(folder):
    """vocab.json and merges.txt of a byte-level BPE."""
    from tokenizers import ByteLevelBPETokenizer

    transformers = import_transformers()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(REPORTS, vocab_size=300, min_frequency=1, special_tokens=special, show_progress=False)
    config = transformers.RobertaConfig(
        vocab_size=bpe.get_vocab_size(), max_position_embeddings=66, type_vocab_size=1, pad_token_id=1, **SIZES
    )
    _save(transformers.RobertaForMaskedLM(config), folder)
    bpe.save_model(str(folder))
    return folder


def deberta_config(vocab_size):
    return import_transformers().DebertaV2Config(
        vocab_size=vocab_size,
        max_position_embeddings=64,
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        conv_kernel_size=3,
        **SIZES,
    )


def tiny_deberta(folder):
    """DeBERTa-v3 with a Unigram tokenizer.json; more embeddings than tokens, as released."""
    transformers = import_transformers()
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    pieces = [(token, 0.0) for token in special] + [("▁", -3.0)]
    pieces += [(f"▁{word}", -4.0) for word in WORDS] + [(c, -8.0) for c in "abcdefghijklmnopqrstuvwxyz"]
    tokenizer = transformers.DebertaV2Tokenizer(vocab=[*pieces, ("[MASK]", 0.0)], unk_id=3)
    tokenizer.save_pretrained(folder)
    return _save(transformers.DebertaV2ForMaskedLM(deberta_config(len(tokenizer) + 10)), folder)


def tiny_deberta_sentencepiece(folder):
    """DeBERTa-v3 as on the hub: spm.model and no tokenizer.json. Needs sentencepiece to train it."""
    from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

    transformers = import_transformers()
    folder.mkdir()
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(REPORTS * 30))
    SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / "spm"), vocab_size=60, hard_vocab_limit=False,
        pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]",
        unk_piece="[UNK]", num_threads=1, minloglevel=2,
    )  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "vocab_type": "spm"}))
    size = SentencePieceProcessor(model_file=str(folder / "spm.model")).get_piece_size()
    return _save(transformers.DebertaV2Model(deberta_config(size + 10)), folder)


FAMILIES = {"t5": tiny_t5, "bert": tiny_bert, "roberta": tiny_roberta, "deberta-v2": tiny_deberta}
