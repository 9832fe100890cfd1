"""T5 text encoders and their tokenizers, by hub name or from a folder in Hugging Face's form."""

import functools
import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ecgtext_plugins.errors import TextEncoderUnavailable
from ecgtext_plugins.text.transformers_guard import import_transformers

log = logging.getLogger(__name__)

SCRATCH = "scratch"
SCRATCH_FOLDER = "text_encoder"
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
    _check_convertible(Path(name_or_folder).expanduser())
    return _load(str(name_or_folder), import_transformers().AutoTokenizer.from_pretrained)


def load_config(name_or_folder: str) -> Any:
    """Load the ``T5Config`` of a text encoder.

    Raises
    ------
    TextEncoderUnavailable
        When it cannot be found or fetched, or is not of a T5.
    """
    config = _load(str(name_or_folder), import_transformers().AutoConfig.from_pretrained)
    if config.model_type != "t5":
        raise TextEncoderUnavailable(
            f"text encoder '{name_or_folder}' is of type {config.model_type}, expected t5; give a T5 such as "
            "google/flan-t5-small"
        )
    return config


def load_text_encoder(name_or_folder: str) -> Any:
    """Load a pretrained ``T5EncoderModel``, float32, in eval mode.

    Raises
    ------
    TextEncoderUnavailable
        When it cannot be found or fetched, is no T5, or lacks weights.
    """
    load_config(name_or_folder)
    transformers = import_transformers()
    loader = functools.partial(transformers.T5EncoderModel.from_pretrained, output_loading_info=True)
    model, loading = _load(str(name_or_folder), loader)
    missing = sorted(loading["missing_keys"])
    if missing:
        raise TextEncoderUnavailable(
            f"text encoder '{name_or_folder}' lacks {len(missing)} weights, the first is {missing[0]}: its file "
            "is incomplete or of another model; download it again"
        )
    return model.float().eval()


def build_text_encoder(config: dict[str, Any]) -> Any:
    """Build a ``T5EncoderModel`` from the values of a config.json; random weights by torch's global generator."""
    transformers = import_transformers()
    return transformers.T5EncoderModel(transformers.T5Config.from_dict(dict(config)))


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
            f"files and weights of one T5; {REMEDY}"
        ) from error


def _check_convertible(folder: Path) -> None:
    """Refuse a folder with only spiece.model where its converter is not installed: transformers misnames the cause."""
    if not (folder / "spiece.model").is_file() or (folder / "tokenizer.json").is_file():
        return
    packages = {"sentencepiece": "sentencepiece", "google.protobuf": "protobuf"}
    missing = [package for module, package in packages.items() if not _is_installed(module)]
    if missing:
        raise TextEncoderUnavailable(
            f"text encoder folder {folder} has spiece.model but no tokenizer.json, and converting it needs "
            f"{' and '.join(missing)}; run `pip install {' '.join(missing)}` or add the model's tokenizer.json"
        )


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
