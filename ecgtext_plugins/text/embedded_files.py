"""A tokenizer and an encoder's config as plain texts, so that a training checkpoint is loadable with nothing else."""

import json
import tempfile
from pathlib import Path
from typing import Any

from ecgtext_plugins.errors import TextEncoderUnavailable
from ecgtext_plugins.text.encoders import load_config, load_tokenizer
from ecgtext_plugins.text.tokenization import check_vocabulary

REQUIRED = ("config.json", "tokenizer.json", "tokenizer_config.json")
OPTIONAL = ("special_tokens_map.json",)
HOW_LOADED = ("is_local", "local_files_only", "name_or_path")  # which transformers adds on saving what it has loaded


def text_encoder_files(name_or_folder: str) -> dict[str, str]:
    """Return the texts of config.json, tokenizer.json, tokenizer_config.json and, if written, special_tokens_map.json.

    Other forms of a tokenizer (vocab.txt, vocab.json and merges.txt, SentencePiece) are converted to tokenizer.json.

    Raises
    ------
    TextEncoderUnavailable
        When the encoder cannot be found, its tokenizer has no fast form, or has ids that the encoder has no rows for.
    """
    tokenizer = load_tokenizer(name_or_folder)
    config = load_config(name_or_folder)
    check_vocabulary(tokenizer, config, str(name_or_folder))
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        config.save_pretrained(folder)
        texts = {
            name: (Path(folder) / name).read_text(encoding="utf-8")
            for name in REQUIRED + OPTIONAL
            if (Path(folder) / name).is_file()
        }
    _check_complete(texts, str(name_or_folder))
    settings = json.loads(texts["tokenizer_config.json"])
    kept = {key: value for key, value in settings.items() if key not in HOW_LOADED}
    texts["tokenizer_config.json"] = json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return texts


def tokenizer_from_files(texts: dict[str, str]) -> Any:
    """Make the tokenizer again from what :func:`text_encoder_files` returned.

    Raises
    ------
    TextEncoderUnavailable
        When a needed text is missing.
    """
    _check_complete(texts, "embedded in the checkpoint")
    with tempfile.TemporaryDirectory() as folder:
        for name in REQUIRED + OPTIONAL:
            if name in texts:
                (Path(folder) / name).write_text(texts[name], encoding="utf-8")
        tokenizer = load_tokenizer(folder)
    tokenizer.name_or_path = ""
    return tokenizer


def _check_complete(texts: dict[str, str], source: str) -> None:
    missing = [name for name in REQUIRED if name not in texts]
    if missing:
        raise TextEncoderUnavailable(
            f"text encoder '{source}' has no {', '.join(missing)} (found: {', '.join(sorted(texts)) or 'nothing'}); "
            "give a folder or hub name whose tokenizer has a fast form (tokenizer.json)"
        )
