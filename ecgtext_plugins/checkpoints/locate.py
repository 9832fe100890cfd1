"""From a path, a folder or a hub name to a checkpoint file on this machine."""

import re
from collections.abc import Iterable
from pathlib import Path

from ecgtext_plugins.errors import BadCheckpoint

PREFERRED = ("checkpoint_best.pt", "checkpoint_last.pt")
CONFIG_FILE = "config.json"
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
WEIGHTS_FILE, TEXT_FOLDER = "model.safetensors", "text_encoder"  # of our own folders
PROBE_SECONDS = 5.0


def locate_checkpoint(name_or_path: str | Path) -> Path:
    """Return the path of a checkpoint; a hub name's is fetched, with what belongs to it, unless it is cached.

    Of a folder that `ecgtext convert --to ecgtext` wrote it is the model.safetensors.

    Raises
    ------
    BadCheckpoint
        When there is none, or a folder has several and none has a usual name.
    """
    name, path = str(name_or_path), Path(name_or_path).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        return path / _chosen(f"folder {name}", (file.name for file in path.iterdir()))
    if not HUB_NAME.fullmatch(name) or name.endswith(".pt"):
        raise BadCheckpoint(
            f"no checkpoint {name}: expected a .pt file, a folder that holds one or that ecgtext convert wrote, or a "
            "name owner/name on the Hugging Face hub; check the spelling"
        )
    return _cached(name) or _fetched(name)


def _chosen(source: str, names: Iterable[str]) -> str:
    every = set(names)
    found = sorted(name for name in every if name.endswith(".pt"))
    if not found and {WEIGHTS_FILE, CONFIG_FILE} <= every:
        return WEIGHTS_FILE
    for preferred in PREFERRED:
        if preferred in found:
            return preferred
    if len(found) != 1:
        what = f"has {len(found)} .pt files ({', '.join(found[:5])})" if found else "has no .pt file"
        raise BadCheckpoint(f"{source} {what}: expected {' or '.join(PREFERRED)}, or only one; give the file's path")
    return found[0]


def _cached(name: str) -> Path | None:
    """Return the checkpoint of a repository in the hub's local cache."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(huggingface_hub.snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    names = [file.name for file in folder.iterdir()]
    if not any(file.endswith(".pt") or file == WEIGHTS_FILE for file in names):
        return None
    return folder / _chosen(f"the cached {name}", names)


def _fetched(name: str) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    remedy = f"download it on a machine with network (`hf download {name} --local-dir FOLDER`) and give that folder"
    try:
        files = [file.rfilename for file in huggingface_hub.HfApi().model_info(name, timeout=PROBE_SECONDS).siblings]
        chosen = _chosen(f"the repository {name}", (file for file in files if "/" not in file))
        texts = [file for file in files if chosen == WEIGHTS_FILE and file.startswith(f"{TEXT_FOLDER}/")]
        for file in ([CONFIG_FILE] if CONFIG_FILE in files else []) + texts:
            huggingface_hub.hf_hub_download(name, file)
        return Path(huggingface_hub.hf_hub_download(name, chosen))
    except BadCheckpoint:
        raise
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise BadCheckpoint(
            f"'{name}' is neither a file or folder here nor a repository that the Hugging Face hub shows: check the "
            f"spelling; or {remedy}"
        ) from error
    except Exception as error:  # no network, proxy, offline mode, server error: many classes, one meaning
        raise BadCheckpoint(
            f"'{name}' is neither a file or folder here nor in the local cache, and the Hugging Face hub cannot be "
            f"reached ({type(error).__name__}); {remedy}"
        ) from error
