"""What a training run finds in its folder before fairseq loads it: a damaged checkpoint, a finished run, other data."""

from pathlib import Path
from typing import Any

from ecgtext_plugins.checkpoints.safe_load import load_checkpoint_file
from ecgtext_plugins.errors import BadCheckpoint

LAST = "checkpoint_last.pt"
SAME = {
    "training_records_sha256": "training records",
    "text_encoder_files": "tokenizer or text encoder config",
}


def restored_state(save_dir: str, restore_file: str) -> dict[str, Any]:
    """Read the plain values of the checkpoint that fairseq is about to continue from; {} when there is none.

    Raises
    ------
    BadCheckpoint
        When it is truncated or unsafe; names the newest whole checkpoint beside it.
    """
    path = Path(save_dir) / LAST if restore_file == LAST else Path(restore_file)
    if not path.is_file():
        return {}
    try:
        return load_checkpoint_file(path, mmap=True)
    except BadCheckpoint as error:
        whole = _newest_whole(path)
        remedy = f"continue from the whole one with checkpoint.restore_file={whole}" if whole else "remove it"
        raise BadCheckpoint(f"{error}; {remedy}") from error


def _newest_whole(damaged: Path) -> Path | None:
    others = [path for path in damaged.parent.glob("checkpoint*.pt") if path != damaged]
    for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            load_checkpoint_file(path, mmap=True)
        except BadCheckpoint:
            continue
        return path
    return None


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
