"""Finding text encoders: folders and hub names are not confused, failures are quick and say what to do."""

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecgtext_plugins.errors import TextEncoderUnavailable
from ecgtext_plugins.text import encoders, transformers_guard
from ecgtext_plugins.text.embedded_files import text_encoder_files, tokenizer_from_files
from ecgtext_plugins.text.encoders import load_text_encoder, load_tokenizer, resolve_text_encoder
from ecgtext_plugins.text.scratch import build_scratch_text_encoder
from ecgtext_plugins.text.tokenization import mask_token_id

SIZES = {"vocab_size": 150, "d_model": 8, "num_layers": 1, "num_heads": 2, "d_ff": 16}


@pytest.fixture
def folder(tmp_path):
    return build_scratch_text_encoder(["sinus rhythm", "left bundle"], tmp_path / "encoder", **SIZES)


def test_unknown_hub_name_offline_is_told_within_seconds():
    code = (
        "from ecgtext_plugins.text.encoders import load_tokenizer, load_text_encoder\n"
        "from ecgtext_plugins.errors import TextEncoderUnavailable\n"
        "import time\n"
        "for load in (load_tokenizer, load_text_encoder):\n"
        "    start = time.perf_counter()\n"
        "    try: load('nobody/has-this-encoder')\n"
        "    except TextEncoderUnavailable as error: print(time.perf_counter() - start, error, sep='\\t')\n"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    out = subprocess.run(
        [sys.executable, "-c", code], env=environment, text=True, capture_output=True, check=True
    ).stdout
    lines = [line.split("\t") for line in out.splitlines()]
    assert len(lines) == 2
    for seconds, sentence in lines:
        assert float(seconds) < 10
        assert sentence.startswith(
            "text encoder 'nobody/has-this-encoder' is neither a folder here nor in the local cache"
        )
        assert "`hf download NAME --local-dir FOLDER`" in sentence and "`scratch`" in sentence


@pytest.mark.parametrize("name", ["./encoder", "/no/encoder", "~/no-such-encoder", "models/t5/small", "../encoder"])
def test_a_missing_folder_is_never_asked_of_the_hub(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(encoders, "_probe_hub", lambda name: pytest.fail("the hub was asked"))
    start = time.perf_counter()
    with pytest.raises(TextEncoderUnavailable, match="is not there: expected a folder in Hugging Face's form"):
        load_tokenizer(name)
    assert time.perf_counter() - start < 5


def test_a_folder_that_looks_like_a_hub_name_is_the_folder(folder, monkeypatch):
    monkeypatch.chdir(folder.parent.parent)
    name = f"{folder.parent.name}/{folder.name}"
    assert len(load_tokenizer(name)) == len(load_tokenizer(folder))


def test_names_that_no_hub_can_have():
    with pytest.raises(TextEncoderUnavailable, match="check the spelling"):
        load_tokenizer("not a name")


def test_folder_without_config(tmp_path):
    with pytest.raises(TextEncoderUnavailable, match="has no config.json"):
        load_text_encoder(tmp_path)


def test_weights_missing_or_damaged(folder):
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    with pytest.raises(TextEncoderUnavailable, match="cannot be loaded"):
        load_text_encoder(folder)
    weights.unlink()
    with pytest.raises(TextEncoderUnavailable, match="cannot be loaded"):
        load_text_encoder(folder)


def test_incomplete_weights_are_refused_by_name(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    gone = next(name for name in sorted(weights) if "layer_norm" in name)
    del weights[gone]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TextEncoderUnavailable, match=f"lacks 1 weights, the first is {gone}"):
        load_text_encoder(folder)


def test_half_precision_files_load_as_float32(folder):
    import torch

    load_text_encoder(folder).to(torch.bfloat16).save_pretrained(folder)
    assert load_text_encoder(folder).dtype == torch.float32


@pytest.fixture
def only_spiece(tmp_path):
    """A folder as some T5 releases are: spiece.model and no tokenizer.json."""
    sentencepiece = pytest.importorskip("sentencepiece")
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(["sinus rhythm normal ecg", "left bundle branch block", "atrial fibrillation"] * 30))
    folder = build_scratch_text_encoder(["sinus rhythm"], tmp_path / "t5", **SIZES)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 192}))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / "spiece"), vocab_size=60, hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, minloglevel=2,
    )  # fmt: skip
    return folder, sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))


def test_sentencepiece_only_folder_is_converted(only_spiece):
    pytest.importorskip("google.protobuf")
    folder, pieces = only_spiece
    again = tokenizer_from_files(text_encoder_files(folder))
    for text in ("sinus rhythm", "left bundle branch block"):
        assert again(text)["input_ids"] == [*pieces.encode(text), 1]
    assert again.convert_ids_to_tokens(mask_token_id(again)) == "<extra_id_0>"


def test_sentencepiece_only_folder_names_the_missing_package(only_spiece, monkeypatch):
    monkeypatch.setattr(encoders, "_is_installed", lambda module: module != "google.protobuf")
    with pytest.raises(TextEncoderUnavailable, match="no tokenizer.json, .*run `pip install protobuf`"):
        load_tokenizer(only_spiece[0])


def test_scratch_is_the_stores_own_folder(tmp_path):
    with pytest.raises(TextEncoderUnavailable, match="ecgtext negatives build .* --text-encoder scratch"):
        resolve_text_encoder("scratch", tmp_path)
    build_scratch_text_encoder(["sinus rhythm"], tmp_path / "text_encoder", **SIZES)
    assert resolve_text_encoder("scratch", tmp_path) == str(tmp_path / "text_encoder")
    assert resolve_text_encoder("google/flan-t5-small", tmp_path) == "google/flan-t5-small"


class NoSentinels:
    mask_token = None
    name_or_path = "plain"

    def get_vocab(self):
        return {"<pad>": 0}


def test_mask_token(folder):
    tokenizer = load_tokenizer(folder)
    assert tokenizer.convert_ids_to_tokens(mask_token_id(tokenizer)) == "<extra_id_0>"
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    assert tokenizer.convert_ids_to_tokens(mask_token_id(tokenizer)) == "<mask>"
    with pytest.raises(TextEncoderUnavailable, match="plain has neither a mask token nor <extra_id_0>"):
        mask_token_id(NoSentinels())


GUARD = """
import importlib, sys, types
from importlib.machinery import ModuleSpec
class Finder:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name == "torchaudio" else None
    def create_module(self, spec): return None
    def exec_module(self, module):
        {body}
sys.meta_path.insert(0, Finder())
from ecgtext_plugins.text.transformers_guard import import_transformers, torchaudio_failure
import transformers.utils.import_utils as iu
before = iu.is_torchaudio_available
transformers = import_transformers()
print(torchaudio_failure(), iu.is_torchaudio_available is before)
{after}
"""


@pytest.mark.parametrize("error", ["OSError", "ImportError"])
def test_a_broken_torchaudio_does_not_break_transformers(error):
    code = GUARD.format(
        body=f"raise {error}('libcuda is not here')", after="print(transformers.T5EncoderModel.__name__)"
    )
    out = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True).stdout
    assert out.split("\n")[:2] == [f"{error}: libcuda is not here False", "T5EncoderModel"]


def test_a_working_torchaudio_changes_nothing():
    code = GUARD.format(body="pass", after="")
    out = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True).stdout
    assert out.strip() == "None True"


def test_other_failures_of_torchaudio_are_not_hidden():
    code = GUARD.format(body="raise ValueError('a bug')", after="")
    run = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    assert run.returncode != 0 and "ValueError: a bug" in run.stderr


def test_the_guard_is_the_only_importer_of_transformers():
    package = Path(transformers_guard.__file__).resolve().parents[1]
    importers = []
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            importers += [str(path) for name in names if name.split(".")[0] == "transformers"]
    assert importers == []
