"""Converting a checkpoint from any known form to one of three, whole or not at all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecgtext_plugins.atomic_files import file_sha256, replacing, write_json
from ecgtext_plugins.checkpoints.dbeta_file import dbeta_config, write_dbeta
from ecgtext_plugins.checkpoints.fairseq_signals_file import write_fairseq_signals
from ecgtext_plugins.checkpoints.folder import CARD, CONFIG, TEXT, WEIGHTS, is_own_folder, read_folder, write_folder
from ecgtext_plugins.checkpoints.locate import locate_checkpoint
from ecgtext_plugins.checkpoints.networks import ENCODER, check_source
from ecgtext_plugins.checkpoints.read import read_source
from ecgtext_plugins.checkpoints.source import RELEASE, SIGNALS, Source, unheeded_note
from ecgtext_plugins.checkpoints.weights import parameter_count
from ecgtext_plugins.errors import BadCheckpoint

ECGTEXT, FAIRSEQ_SIGNALS, DBETA_RELEASE = FORMS = ("ecgtext", "fairseq-signals", "dbeta")
LAYOUTS = {FAIRSEQ_SIGNALS: SIGNALS, DBETA_RELEASE: RELEASE}


def convert_checkpoint(
    path: str | Path,
    to: str,
    out: str | Path,
    *,
    config: str | Path | dict | None = None,
    labels: list[str] | None = None,
    allow_types: Sequence = (),
    force: bool = False,
) -> dict[str, Any]:
    """Read a checkpoint, check every key against its network, and write it in another form.

    Parameters
    ----------
    path : path-like
        File or folder.
    to : {"ecgtext", "fairseq-signals", "dbeta"}
        A folder of ours; a ``.pt`` file for fairseq-signals; a ``.pt`` file of D-BETA's release, config.json beside it.
    out : path-like
        Folder or file to write.
    config, labels, allow_types
        As in `read.read_source`.
    force : bool
        Write over `out` if it is of the same form.

    Returns
    -------
    dict
        ``out``, ``to``, ``family``, ``source`` (path, layout, sha256), ``tensors``, ``parameters`` (written), ``left``
        (keys that are not in the result, with the reason), ``notes``.

    Raises
    ------
    BadCheckpoint
        When the checkpoint cannot be read or has no such form, or something else is at `out`. Nothing is written then.
    MisfitCheckpoint
        With all keys that do not fit.
    """
    path, out = locate_checkpoint(path), Path(out)
    if to not in FORMS:
        raise BadCheckpoint(f"a checkpoint cannot be written as {to!r}: expected one of {', '.join(FORMS)}")
    source = read_source(path, config=config, labels=labels, allow_types=allow_types)
    check_source(path, source)
    _check_out(path, to, out, force)
    sha256 = file_sha256(path)
    left, notes = _write(to, out, source, sha256, path.name)
    written = {key: value for key, value in source.weights.items() if key not in left}
    return {
        "out": str(out),
        "to": to,
        "family": source.family,
        "source": {"path": str(path), "layout": source.layout, "sha256": sha256},
        "tensors": len(written),
        "parameters": parameter_count(written),
        "left": left,
        "notes": [*source.notes, *(unheeded_note(key) for key in source.unheeded), *notes],
    }


def _write(to: str, out: Path, source: Source, sha256: str, name: str) -> tuple[dict[str, str], list[str]]:
    if to == ECGTEXT:
        if source.family == ENCODER:
            raise BadCheckpoint(
                f"{name} is an ECG encoder alone, which is no model to load: expected a whole one for a folder; begin "
                "training from the file itself, with model.encoder_path"
            )
        write_folder(out, source, sha256, name)
        tokenizer = source.text_config is None or source.text_files is not None
        return {}, [] if tokenizer else ["no tokenizer in the checkpoint: load the folder with text_encoder="]
    if to == FAIRSEQ_SIGNALS:
        with replacing(out) as temporary:
            return write_fairseq_signals(temporary, source)
    values = dbeta_config(source)
    with replacing(out) as temporary:
        left, notes = write_dbeta(temporary, source)
        write_json(out.parent / CONFIG, values)
    return left, notes


def _check_out(path: Path, to: str, out: Path, force: bool) -> None:
    """Refuse to write over anything but an older result of the same form."""
    if to != ECGTEXT and out.suffix != ".pt":
        raise BadCheckpoint(f"--out {out} is no .pt file: expected one, as --to {to} writes; name it {out}.pt")
    if out.exists() and (out.resolve() in (path.resolve(), path.resolve().parent)):
        raise BadCheckpoint(f"--out {out} is the checkpoint itself: expected another place; nothing was written")
    beside = out.parent / CONFIG
    if to == DBETA_RELEASE and beside.exists() and not (out.exists() and force):
        raise BadCheckpoint(
            f"{beside} is there already, and the release's config.json goes there: expected a folder without one; give "
            "another --out"
        )
    if not out.exists():
        return
    if not force:
        raise BadCheckpoint(f"--out {out} exists: expected a new name; add --force to replace an older result there")
    try:
        same = _is_own_result(out) if to == ECGTEXT else _layout(out, beside) == LAYOUTS[to]
    except BadCheckpoint as error:
        raise BadCheckpoint(f"--out {out} is there and no {to} checkpoint ({error}); give another --out") from error
    if not same:
        raise BadCheckpoint(
            f"--out {out} is there and no {to} checkpoint: --force replaces only its own kind; give another --out"
        )


def _is_own_result(out: Path) -> bool:
    """Tell whether a folder holds what we write, and nothing else."""
    if not is_own_folder(out):
        return False
    read_folder(out)
    return {file.name for file in out.iterdir()} <= {WEIGHTS, CONFIG, CARD, TEXT}


def _layout(out: Path, beside: Path) -> str | None:
    return read_source(out, config=None, ecg_only=True).layout if out.is_file() else None
