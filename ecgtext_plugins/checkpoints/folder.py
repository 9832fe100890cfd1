"""Our own form of a model: a folder of model.safetensors, config.json, a model card, and the text encoder's files."""

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

import ecgtext_plugins
from ecgtext_plugins.atomic_files import flush_folder
from ecgtext_plugins.checkpoints.model_card import model_card
from ecgtext_plugins.checkpoints.networks import DBETA, FAMILIES, model_config
from ecgtext_plugins.checkpoints.safe_load import DamagedCheckpoint
from ecgtext_plugins.checkpoints.source import FOLDER, LEAD_KEYS, Source
from ecgtext_plugins.errors import BadCheckpoint
from ecgtext_plugins.text.embedded_files import REQUIRED

WEIGHTS, CONFIG, CARD, TEXT = "model.safetensors", "config.json", "README.md", "text_encoder"
FORMAT, VERSION = "ecgtext", 1
PRIVATE = ("data", "args", "model_path", "encoder_path", "pretrained_model_path")  # paths of where it was trained
NEEDED = ("family", "model", "sample_rate", "n_samples", "standardize")


def is_own_folder(folder: str | Path) -> bool:
    """Tell whether a folder has both of our files."""
    return (Path(folder) / WEIGHTS).is_file() and (Path(folder) / CONFIG).is_file()


def write_folder(folder: Path, source: Source, sha256: str, name: str) -> None:
    """Write a model as a folder, whole or not at all; one that is there is replaced.

    Parameters
    ----------
    folder : Path
    source : Source
    sha256, name : str
        Of the file that it was made of.

    Raises
    ------
    BadCheckpoint
        When a weight is no tensor.
    """
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.partial")
    temporary.mkdir(parents=True)
    try:
        config = _config(source, sha256, name)
        _save_weights(temporary / WEIGHTS, source.weights)
        (temporary / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (temporary / CARD).write_text(model_card(config, source), encoding="utf-8")
        texts = source.text_files
        if texts is None and source.text_config is not None:
            texts = {CONFIG: json.dumps(source.text_config, indent=2) + "\n"}
        if texts:
            (temporary / TEXT).mkdir()
        for file, text in (texts or {}).items():
            (temporary / TEXT / file).write_text(text, encoding="utf-8")
        _take_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_folder(folder: Path) -> Source:
    """Read a folder of :func:`write_folder`.

    Raises
    ------
    BadCheckpoint
        When its config.json is not one of ours.
    DamagedCheckpoint
        When its weights are truncated.
    """
    from safetensors.torch import load_file

    config = _read_config(folder)
    try:
        weights = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedCheckpoint(
            f"{folder / WEIGHTS} is truncated or damaged ({error}): expected whole weights; copy or download it again"
        ) from error
    texts = {file.name: file.read_text(encoding="utf-8") for file in sorted((folder / TEXT).glob("*.json"))}
    if config["family"] == DBETA and CONFIG not in texts:
        raise BadCheckpoint(f"{folder} has no {TEXT}/{CONFIG}: expected the text encoder's; copy the whole folder")
    task = {"max_text_tokens": config["max_text_tokens"]} if "max_text_tokens" in config else {}
    task |= config.get("task", {})
    return Source(
        family=config["family"],
        layout=FOLDER,
        model_config=model_config(config["family"], config["model"]),
        config={"model": {"_name": config["family"], **config["model"]}, "task": task},
        sample_rate=float(config["sample_rate"]),
        n_samples=int(config["n_samples"]),
        weights=weights,
        standardize=bool(config["standardize"]),
        labels=config.get("labels"),
        text_config=json.loads(texts[CONFIG]) if texts else None,
        text_files=texts if all(name in texts for name in REQUIRED) else None,
        updates=config.get("updates"),
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadCheckpoint(f"{path} cannot be read ({error}): expected JSON; copy the whole folder again") from error
    found = config.get("format") if isinstance(config, dict) else None
    if found != FORMAT:
        raise BadCheckpoint(
            f"{path} has format {found!r}: expected {FORMAT!r}, of a folder written by ecgtext convert --to ecgtext"
        )
    missing = [key for key in NEEDED if key not in config]
    if missing or config.get("format_version") != VERSION or config["family"] not in FAMILIES:
        raise BadCheckpoint(
            f"{path} has format_version {config.get('format_version')}, family {config.get('family')!r} and lacks "
            f"{', '.join(missing) or 'nothing'}: expected version {VERSION} and one of {', '.join(FAMILIES)}; convert "
            "the checkpoint again with this version"
        )
    return config


def _config(source: Source, sha256: str, name: str) -> dict[str, Any]:
    model = {key: value for key, value in source.config["model"].items() if key not in (*PRIVATE, "_name")}
    config = {
        "format": FORMAT,
        "format_version": VERSION,
        "family": source.family,
        "sample_rate": source.sample_rate,
        "n_samples": source.n_samples,
        "standardize": source.standardize,
        "labels": source.labels,
        "model": model,
        "updates": source.updates,
        "source": {"file": name, "layout": source.layout, "sha256": sha256},
        "ecgtext_plugins": ecgtext_plugins.__version__,
    }
    kept: dict[str, Any] = {key: True for key in source.unheeded}
    if source.hidden_leads:
        kept |= {key: source.config["task"].get(key) for key in LEAD_KEYS}
    if kept:
        config["task"] = kept
    if source.family == DBETA:
        config["max_text_tokens"] = int(source.config["task"]["max_text_tokens"])
    return config


def _save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Save tensors; tied ones are written once for each of their keys."""
    from safetensors.torch import save_file

    values, seen = {}, set()
    for key, value in weights.items():
        if not isinstance(value, Tensor):
            raise BadCheckpoint(f"the weight {key} is a {type(value).__name__}: expected a tensor; use a whole file")
        place = value.untyped_storage().data_ptr()
        value = value.detach().contiguous()
        values[key] = value.clone() if place in seen else value
        seen.add(place)
    path.touch()  # with this process's permissions, which safetensors would narrow
    mode = path.stat().st_mode
    save_file(values, path, metadata={"format": "pt"})
    path.chmod(mode)


def _take_place(temporary: Path, folder: Path) -> None:
    """Rename a finished folder to its name; what was there goes once the new one stands."""
    for path in (*temporary.rglob("*"), temporary):
        if path.is_dir():
            flush_folder(path)
        else:
            with open(path, "rb") as handle:
                os.fsync(handle.fileno())
    old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.old")
    if folder.exists():
        folder.rename(old)
    try:
        temporary.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    flush_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
