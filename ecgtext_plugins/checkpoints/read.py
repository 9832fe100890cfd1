"""Reading any checkpoint that is known here, whichever program wrote it."""

from collections.abc import Sequence
from pathlib import Path

from ecgtext_plugins.checkpoints import dbeta_release
from ecgtext_plugins.checkpoints.dbeta_training import read_training
from ecgtext_plugins.checkpoints.ecg_fm import is_ecg_fm, read_ecg_fm
from ecgtext_plugins.checkpoints.folder import is_own_folder, read_folder
from ecgtext_plugins.checkpoints.safe_load import load_checkpoint_file
from ecgtext_plugins.checkpoints.source import RELEASE, Source
from ecgtext_plugins.errors import BadCheckpoint

WEIGHTS_SUFFIX = ".safetensors"


def read_source(
    path: str | Path,
    *,
    config: str | Path | dict | None = None,
    labels: list[str] | None = None,
    allow_types: Sequence = (),
    ecg_only: bool = False,
) -> Source:
    """Read a checkpoint: weights in the networks' spelling, config, and what belongs to its use.

    Parameters
    ----------
    path : path-like
        A ``.pt`` file of fairseq-signals, of D-BETA's release, of stock fairseq's wav2vec2 or of training here; or one
        of our folders, or the model.safetensors in it.
    config : path-like or dict, optional
        Of a D-BETA release: its config.json.
    labels : list of str, optional
        Of a classifier: names of its outputs.
    allow_types : sequence of type
        Types in the file that the caller trusts.
    ecg_only : bool
        The text encoder's sizes are not needed.

    Raises
    ------
    BadCheckpoint
        When the file is unreadable, unsafe or of another family.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == WEIGHTS_SUFFIX:
        folder = path if path.is_dir() else path.parent
        if not is_own_folder(folder):
            raise BadCheckpoint(
                f"{folder} has no model.safetensors with a config.json: expected a .pt file, or a folder written by "
                "ecgtext convert --to ecgtext; give the file's path"
            )
        source = read_folder(folder)
    else:
        state = load_checkpoint_file(path, allow_types, mmap=True)
        if dbeta_release.is_release(state):
            source = dbeta_release.read_release(path, state, config, ecg_only)
        elif is_ecg_fm(state):
            return _without_config(path, read_ecg_fm(path, state, labels), config)
        else:
            source = read_training(path, state)
    if labels:
        raise BadCheckpoint(
            f"checkpoint {path} is a {source.layout} of {source.family}, and labels can be given for a classifier's "
            ".pt file alone; leave them out"
        )
    return _without_config(path, source, config)


def _without_config(path: Path, source: Source, config: object) -> Source:
    if config is not None and source.layout != RELEASE:
        raise BadCheckpoint(
            f"checkpoint {path} is not a released one, and config is for those: this one carries its own; leave it out"
        )
    return source
