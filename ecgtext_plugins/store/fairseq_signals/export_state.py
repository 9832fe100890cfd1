"""What an export leaves in its folder while it runs and when it is done, and telling it from anything else."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from ecgtext_plugins.errors import BadStore
from ecgtext_plugins.store.fairseq_signals.export_plan import ExportPlan

DONE, WORK = "export.json", ".export"
_LOCK = ".build.lock"
_PARTIAL = re.compile(r"\..+\.\d+\.partial")


def read_state(path: Path) -> dict[str, Any] | None:
    """Read export.json, or plan.json of an export that runs or was stopped; None when there is none.

    Raises
    ------
    BadStore
        When it is damaged.
    """
    if not path.is_file():
        return None
    try:
        state = json.loads(path.read_text("utf-8"))
        state["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadStore(
            f"{path} is damaged ({type(error).__name__}: {error}): expected the JSON that an export wrote; remove the "
            "folder, or give another --dest"
        ) from None
    return state


def refuse_other_export(plan: ExportPlan) -> None:
    """Raise BadStore when the export's folder is a file, or holds another export or something else."""
    folder = plan.folder
    if folder.exists() and not folder.is_dir():
        raise BadStore(f"{folder} is a file: expected a folder for the export; give another --dest")
    state = read_state(folder / DONE) or read_state(folder / WORK / "plan.json")
    if state is not None:
        if state["fingerprint"] != plan.fingerprint:
            raise BadStore(
                f"{folder} holds an export of another store or with other options ({_told(state.get('options'))}): "
                "expected the same; give another --dest, or remove that folder"
            )
        return
    foreign = sorted(path.name for path in folder.iterdir() if path.name != _LOCK) if folder.is_dir() else []
    if foreign and foreign != [WORK]:
        raise BadStore(
            f"{folder} holds {', '.join(foreign[:5])} and no export: expected an empty folder; give another --dest"
        )


def _told(options: Any) -> str:
    given = options if isinstance(options, dict) else {}
    texts = {name: ",".join(value) if isinstance(value, list) else value for name, value in given.items()}
    return "; ".join(f"{name} {value}" for name, value in texts.items())


def remove_work_files(folder: Path) -> None:
    """Remove what only a running export needs, and what killed ones were writing."""
    shutil.rmtree(folder / WORK, ignore_errors=True)
    manifests = folder / "manifests"
    for place in (folder, folder / "labels", *(manifests.iterdir() if manifests.is_dir() else ())):
        if place.is_dir():
            for path in place.iterdir():
                if _PARTIAL.fullmatch(path.name):
                    path.unlink(missing_ok=True)
