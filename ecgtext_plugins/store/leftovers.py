"""What builds leave in a store's folder: telling it from foreign files, and removing it."""

import re
import shutil
from pathlib import Path

from ecgtext_plugins.errors import BadStore
from ecgtext_plugins.store.checksums import read_checksums

TABLES = ("corpus.json", "records.parquet", "reports.parquet", "failures.parquet", "checksums.json")
MADE_LATER = ("negatives", "text_encoder")  # by other commands, from a finished store
WORK = ".build"
_SHARD_FILE = re.compile(r"shard-\d{5,}\.(npy|done)")
_MANIFEST = re.compile(r"(train|valid|test)(_[0-9.e+-]+pct|_gallery|_probe)?\.tsv")
_PARTIAL = re.compile(r"\..+\.\d+\.partial")


def refuse_foreign_folder(folder: Path) -> None:
    """Raise BadStore when `folder` is a file, or holds files but no store, finished or begun."""
    if folder.exists() and not folder.is_dir():
        raise BadStore(f"{folder} is a file: expected a folder for the store; give another --dest")
    known = {*TABLES, *MADE_LATER, WORK, ".build.lock", "signals", "manifests"}
    ours = (folder / "corpus.json").exists() or (folder / WORK).exists()
    if folder.is_dir() and not ours:
        names = (path.name for path in folder.iterdir())
        foreign = sorted(name for name in names if name not in known and not _PARTIAL.fullmatch(name))
        if foreign:
            raise BadStore(
                f"{folder} holds {', '.join(foreign[:5])} and no store: expected an empty folder; give another --dest"
            )


def remove_partial_files(folder: Path) -> None:
    """Remove what a killed process was writing; only while holding the build's lock."""
    manifests = [path for path in (folder / "manifests").rglob("*") if path.is_dir()]
    for place in (folder, folder / WORK, folder / "signals", folder / "manifests", *manifests):
        if place.is_dir():
            for path in place.iterdir():
                if _PARTIAL.fullmatch(path.name):
                    path.unlink(missing_ok=True)


def remove_shards(folder: Path) -> None:
    """Remove all shards."""
    if (folder / "signals").is_dir():
        for path in (folder / "signals").iterdir():
            if _SHARD_FILE.fullmatch(path.name):
                path.unlink()


def remove_work_files(folder: Path) -> None:
    """Remove what only a running build needs."""
    remove_partial_files(folder)
    shutil.rmtree(folder / WORK, ignore_errors=True)


def remove_store(folder: Path) -> None:
    """Remove a store and nothing else; corpus.json goes first, so that no half store looks whole."""
    built = _built_manifests(folder)
    for name in TABLES:
        (folder / name).unlink(missing_ok=True)
    for name in built:
        (folder / name).unlink(missing_ok=True)
    for name in MADE_LATER:  # learned from the old store's train reports
        shutil.rmtree(folder / name, ignore_errors=True)
    remove_shards(folder)
    remove_work_files(folder)


def _built_manifests(folder: Path) -> list[str]:
    """Return the names of the manifests that a build wrote, a user's own ones left out."""
    try:
        return [name for name in read_checksums(folder) if name.startswith("manifests/")]
    except BadStore:  # a build that did not get so far: by their names
        found = (folder / "manifests").rglob("*.tsv")
        return [path.relative_to(folder).as_posix() for path in found if _MANIFEST.fullmatch(path.name)]
