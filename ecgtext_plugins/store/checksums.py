"""SHA-256 of every file that a build has written, in checksums.json, for whoever wants to verify a store."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ecgtext_plugins import atomic_files
from ecgtext_plugins.errors import BadStore

NAME = "checksums.json"
TABLES = ("records.parquet", "reports.parquet", "failures.parquet")


def built_files(folder: Path) -> list[str]:
    """Return the names, relative to the store's `folder`, of all files that a build writes, corpus.json excepted."""
    shards = (path for path in (folder / "signals").glob("shard-*") if path.suffix in (".npy", ".done"))
    manifests = (folder / "manifests").rglob("*.tsv")
    names = {path.relative_to(folder).as_posix() for path in [*shards, *manifests]}
    return sorted(names | {name for name in TABLES if (folder / name).is_file()})


def write_checksums(folder: Path, known: Mapping[str, str]) -> None:
    """Write checksums.json; `known` are digests that need not be computed again, by name."""
    digests = {name: known.get(name) or atomic_files.file_sha256(folder / name) for name in built_files(folder)}
    atomic_files.write_json(folder / NAME, digests)


def read_checksums(folder: Path) -> dict[str, str]:
    """Return the digests of checksums.json by name.

    Raises
    ------
    BadStore
        When it is missing or damaged.
    """
    path = folder / NAME
    try:
        digests = json.loads(path.read_text("utf-8"))
        return {str(name): str(digest) for name, digest in digests.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise BadStore(
            f"{path} cannot be read ({error}): expected the digests that the build wrote; build again with --rebuild"
        ) from None


def changed_files(folder: Path, progress: Callable[[int], None] = lambda size: None) -> Iterator[tuple[str, str]]:
    """Yield (name, what is wrong) for every file that is missing, differs, or that no build wrote.

    `progress` is called with the bytes of each file read.
    """
    expected = read_checksums(folder)
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            yield name, "is missing"
            continue
        if atomic_files.file_sha256(path) != digest:
            yield name, "is not the file that the build wrote"
        progress(path.stat().st_size)
    for name in sorted(set(built_files(folder)) - set(expected)):
        yield name, "was not written by the build"
