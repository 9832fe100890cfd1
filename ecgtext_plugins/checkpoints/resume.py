"""What a training run finds in its folder before fairseq loads it: a damaged checkpoint, a finished run, other data."""

import contextlib
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ecgtext_plugins.atomic_files import replacing
from ecgtext_plugins.checkpoints.safe_load import DamagedCheckpoint, load_checkpoint_file
from ecgtext_plugins.errors import BadCheckpoint

log = logging.getLogger(__name__)

LAST = "checkpoint_last.pt"
SAME = {
    "training_records_sha256": "training records",
    "text_encoder_files": "tokenizer or text encoder config",
    "target_labels": "labels",
}


def restored_state(
    save_dir: str, restore_file: str, rank: int = 0, barrier: Callable[[], None] | None = None
) -> dict[str, Any]:
    """Read the plain values of the checkpoint that fairseq is about to continue from; {} when there is none.

    fairseq writes the first file of a save beside its name and renames it, but copies it over checkpoint_last.pt in
    place: a run killed then leaves a truncated one. Such a file is replaced by a copy of the newest whole checkpoint
    of the folder, which fairseq then loads; it is kept as checkpoint_last.pt.damaged.

    Parameters
    ----------
    save_dir, restore_file : str
        As fairseq has them. A `restore_file` of another name than checkpoint_last.pt is never replaced.
    rank : int
        Global rank of this process; 0 replaces.
    barrier : callable, optional
        Of several processes: waits until all have called it. Every one reads, and raises, after it.

    Raises
    ------
    BadCheckpoint
        When it is damaged and there is no whole one, or is unsafe.
    """
    path = Path(save_dir) / LAST if restore_file == LAST else Path(restore_file)
    if restore_file == LAST and rank == 0:
        _mend(path)
    if barrier is not None:
        barrier()
    if not path.is_file():
        return {}
    try:
        return load_checkpoint_file(path, mmap=True)
    except BadCheckpoint as error:
        whole = _newest_whole(path)
        remedy = f"continue from the whole one with checkpoint.restore_file={whole}" if whole else "remove it"
        raise BadCheckpoint(f"{error}; {remedy}") from error


def _mend(path: Path) -> None:
    """Replace a damaged checkpoint by the newest whole one beside it; what cannot be replaced stays as it is."""
    try:
        if path.is_file():
            load_checkpoint_file(path, mmap=True)
        return
    except DamagedCheckpoint:
        whole = _newest_whole(path)
    except BadCheckpoint:  # unsafe: the reading that follows says so
        return
    if whole is None:
        return
    kept = path.with_name(f"{path.name}.damaged")
    try:
        with replacing(path) as temporary:
            shutil.copyfile(whole, temporary)
            _keep(path, kept)
    except OSError as error:
        log.warning("%s is damaged and cannot be replaced by %s: %s", path, whole, error)
        return
    updates = updates_of(load_checkpoint_file(path, mmap=True))
    log.warning("%s is damaged, now %s: the run continues from %s (%d updates)", path, kept.name, whole.name, updates)


def _keep(path: Path, kept: Path) -> None:
    """Give a file a second name, so that it never lacks its first; a copy where the file system has no links."""
    kept.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        os.link(path, kept)
        return
    shutil.copyfile(path, kept)


def _newest_whole(damaged: Path) -> Path | None:
    """Find the whole checkpoint of most updates that training can continue from."""
    found = []
    for path in sorted(damaged.parent.glob("checkpoint*.pt")):
        if path == damaged:
            continue
        try:
            state = load_checkpoint_file(path, mmap=True)
        except BadCheckpoint:
            continue
        if isinstance(state.get("model"), dict) and state.get("optimizer_history"):
            found.append((updates_of(state), path))
    return max(found)[1] if found else None


def updates_of(state: dict[str, Any]) -> int:
    """Return the number of updates in a checkpoint, 0 when it tells none."""
    history = state.get("optimizer_history") or [{}]
    return int(history[-1].get("num_updates", 0))


def is_finished(state: dict[str, Any], max_update: int) -> bool:
    """Tell whether a run is complete: fairseq would train one more update and save it over the result."""
    return bool(max_update) and updates_of(state) >= max_update


def refuse_other_data(saved: dict[str, Any], now: dict[str, Any], save_dir: str) -> None:
    """Raise BadCheckpoint when a run would continue on other records or with another tokenizer than it began with."""
    for key, what in SAME.items():
        if key in saved and key in now and saved[key] != now[key]:
            raise BadCheckpoint(
                f"the run in {save_dir} was begun with other {what} than task.data has now: expected the same; give "
                "another hydra.run.dir, or begin from its weights with checkpoint.finetune_from_model"
            )
