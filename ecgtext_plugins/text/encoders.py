"""Text encoders and their tokenizers, by hub name or from a folder in Hugging Face's form."""

import contextlib
import functools
import importlib.util
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ecgtext_plugins.errors import TextEncoderUnavailable
from ecgtext_plugins.text.families import (
    OLD_MODEL_TYPE,
    check_family,
    check_forward,
    encoder_class,
    fuse_gelu,
    take_bool_masks,
)
from ecgtext_plugins.text.tokenization import check_own_words, check_vocabulary
from ecgtext_plugins.text.transformers_guard import import_transformers

log = logging.getLogger(__name__)

SCRATCH = "scratch"
SCRATCH_FOLDER = "text_encoder"
SENTENCEPIECE_FILES = ("spiece.model", "spm.model", "sentencepiece.bpe.model")  # T5, DeBERTa, XLM-RoBERTa
PROBE_SECONDS = 5.0
REMEDY = (
    "download it on a machine with network (`hf download NAME --local-dir FOLDER`) and give that folder, or give "
    f"`{SCRATCH}` for a small one trained on the store's own reports"
)


def resolve_text_encoder(name_or_folder: str, store_folder: str | Path) -> str:
    """Return what the loaders below take: `scratch` becomes the store's own folder, anything else stays as it is.

    Raises
    ------
    TextEncoderUnavailable
        When `scratch` is asked for and the store has none yet.
    """
    if str(name_or_folder) != SCRATCH:
        return str(name_or_folder)
    folder = Path(store_folder) / SCRATCH_FOLDER
    if not (folder / "config.json").is_file():
        raise TextEncoderUnavailable(
            f"text encoder '{SCRATCH}' is not in {store_folder}: no {SCRATCH_FOLDER}/config.json there; make it with "
            f"`ecgtext negatives build {store_folder} --text-encoder {SCRATCH}`"
        )
    return str(folder)


def load_tokenizer(name_or_folder: str) -> Any:
    """Load the fast tokenizer of a text encoder.

    Raises
    ------
    TextEncoderUnavailable
        When it is neither a folder with a tokenizer nor a hub name that is cached or can be fetched.
    """
    name = str(name_or_folder)
    _check_convertible(name)
    loader = functools.partial(import_transformers().AutoTokenizer.from_pretrained, trust_remote_code=False)
    try:
        tokenizer = _load(name, loader)
    except TextEncoderUnavailable:
        _check_convertible(name)  # its files may have been fetched only now
        raise
    check_own_words(tokenizer, name)
    return tokenizer


def load_config(name_or_folder: str) -> Any:
    """Load the config of a text encoder.

    Raises
    ------
    TextEncoderUnavailable
        When it cannot be found or fetched, or is not of a text encoder.
    """
    loader = functools.partial(import_transformers().AutoConfig.from_pretrained, trust_remote_code=False)
    config = _load(str(name_or_folder), loader)
    check_family(config, str(name_or_folder))
    return config


def load_text_encoder(name_or_folder: str) -> Any:
    """Load a pretrained text encoder, float32, in eval mode.

    It has ``config.hidden_size``, ``config.vocab_size`` and
    ``forward(input_ids=, attention_mask=).last_hidden_state``; weights it has no use for (decoder, pooler, heads) are
    left aside. Attention is the fused one (SDPA) where the family has it.

    Raises
    ------
    TextEncoderUnavailable
        When it cannot be found or fetched, is no text encoder, lacks weights or has them in other shapes.
    """
    name = str(name_or_folder)
    model_class, options = encoder_class(load_config(name))
    loader = functools.partial(
        model_class.from_pretrained, output_loading_info=True, ignore_mismatched_sizes=True, **options
    )
    with _errors_only():  # it would list the weights left aside; what matters is checked here
        model, loading = _load(name, loader)
    _check_weights(loading, name)
    model = fuse_gelu(take_bool_masks(model.float().eval()))
    check_forward(model, name)
    return model


def load_text_encoder_and_tokenizer(name_or_folder: str) -> tuple[Any, Any]:
    """Load a text encoder and its tokenizer, whose ids the encoder has embeddings for.

    Raises
    ------
    TextEncoderUnavailable
        As the two loaders do, and when the tokenizer has ids beyond the encoder's vocabulary.
    """
    tokenizer = load_tokenizer(name_or_folder)
    check_vocabulary(tokenizer, load_config(name_or_folder), str(name_or_folder))
    return load_text_encoder(name_or_folder), tokenizer


def build_text_encoder(config: dict[str, Any]) -> Any:
    """Build a text encoder from the values of a config.json; random weights by torch's global generator.

    A config without `model_type` is of a T5.

    Raises
    ------
    TextEncoderUnavailable
        When it is not of a text encoder that the installed transformers has.
    """
    model_type = config.get("model_type", OLD_MODEL_TYPE)
    transformers = import_transformers()
    if model_type not in transformers.CONFIG_MAPPING:
        raise TextEncoderUnavailable(
            f"text encoder config is of type {model_type}, which transformers {transformers.__version__} does not "
            "have; install a newer one (`pip install -U transformers`)"
        )
    built = transformers.CONFIG_MAPPING[model_type].from_dict(dict(config))
    check_family(built, "config.json")
    model_class, options = encoder_class(built)
    model = fuse_gelu(take_bool_masks(model_class(built, **options)))
    check_forward(model, "config.json")
    return model


def _check_weights(loading: dict[str, Any], name: str) -> None:
    mismatched = sorted(loading["mismatched_keys"])
    if mismatched:
        key, found, expected = mismatched[0]
        raise TextEncoderUnavailable(
            f"text encoder '{name}' has {len(mismatched)} weights of another shape than its config.json says, the "
            f"first is {key}: {tuple(found)}, expected {tuple(expected)}; put weights and config.json of the same "
            "model into the folder"
        )
    missing = sorted(loading["missing_keys"])
    if missing:
        raise TextEncoderUnavailable(
            f"text encoder '{name}' lacks {len(missing)} weights, the first is {missing[0]}: its file "
            "is incomplete or of another model; download it again"
        )


@contextlib.contextmanager
def _errors_only() -> Iterator[None]:
    logging_of_transformers = import_transformers().utils.logging
    level = logging_of_transformers.get_verbosity()
    logging_of_transformers.set_verbosity_error()
    try:
        yield
    finally:
        logging_of_transformers.set_verbosity(level)


def _load(name: str, loader: Callable[..., Any]) -> Any:
    """Call a transformers loader on local files first; then, after a short probe, on the hub."""
    if _is_folder_name(name):
        folder = Path(name).expanduser()
        if not (folder / "config.json").is_file():
            found = "has no config.json" if folder.is_dir() else "is not there"
            raise TextEncoderUnavailable(
                f"text encoder folder {name} {found}: expected a folder in Hugging Face's form (config.json, "
                f"tokenizer, weights); {REMEDY}"
            )
        return _local(str(folder), loader)
    try:
        return loader(name, local_files_only=True)
    except (OSError, ValueError) as error:
        log.debug("text encoder %s is not in the local cache: %s", name, error)
    _probe_hub(name)
    try:
        return loader(name)
    except (OSError, ValueError) as error:
        raise TextEncoderUnavailable(
            f"text encoder '{name}' cannot be fetched: {_first_line(error)}; {REMEDY}"
        ) from error


def _local(folder: str, loader: Callable[..., Any]) -> Any:
    from safetensors import SafetensorError

    try:
        return loader(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise TextEncoderUnavailable(
            f"text encoder folder {folder} cannot be loaded: {_first_line(error)}; expected config.json, tokenizer "
            f"files and weights of one encoder; {REMEDY}"
        ) from error


def _check_convertible(name_or_folder: str) -> None:
    """Refuse files with only a SentencePiece model where its converter is not installed.

    transformers itself would misname the cause.
    """
    folder = _files_folder(name_or_folder)
    if folder is None:
        return
    found = [name for name in SENTENCEPIECE_FILES if (folder / name).is_file()]
    if not found or (folder / "tokenizer.json").is_file():
        return
    packages = {"sentencepiece": "sentencepiece", "google.protobuf": "protobuf"}
    missing = [package for module, package in packages.items() if not _is_installed(module)]
    if missing:
        raise TextEncoderUnavailable(
            f"text encoder '{name_or_folder}' has {found[0]} but no tokenizer.json, and converting it needs "
            f"{' and '.join(missing)}; run `pip install {' '.join(missing)}` or add the model's tokenizer.json"
        )


def _files_folder(name: str) -> Path | None:
    """Return the folder itself, or that of a hub name in the local cache; None when it is not cached."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    if _is_folder_name(name):
        return Path(name).expanduser()
    try:
        config = huggingface_hub.try_to_load_from_cache(name, "config.json")
    except HFValidationError:  # no hub can have the name; _load says so
        return None
    return Path(config).parent if isinstance(config, str) else None


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of its parent
        return False


def _is_folder_name(name: str) -> bool:
    """Tell a folder from a hub name (`name` or `owner/name`), also when the folder does not exist."""
    return Path(name).expanduser().is_dir() or name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name


def _probe_hub(name: str) -> None:
    """Ask the hub once, with a short timeout, whether it knows `name`: transformers itself would retry for a minute."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        huggingface_hub.HfApi().model_info(name, timeout=PROBE_SECONDS)
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise TextEncoderUnavailable(
            f"text encoder '{name}' is neither a folder here nor a model that the Hugging Face hub shows: check the "
            f"spelling; or {REMEDY}"
        ) from error
    except Exception as error:  # no network, proxy, offline mode, server error: many classes, one meaning
        raise TextEncoderUnavailable(
            f"text encoder '{name}' is neither a folder here nor in the local cache, and the Hugging Face hub "
            f"cannot be reached ({type(error).__name__}); {REMEDY}"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
