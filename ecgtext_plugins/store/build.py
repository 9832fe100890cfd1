"""The resumable build of a record store from a raw dataset.

Killed at any moment, the same command continues with the shards that have no marker and ends byte-identical: every
shard is a function of the recipe and the sorted record ids, and corpus.json is written last.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgtext_plugins import atomic_files
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.readers import Corpus, open_corpus
from ecgtext_plugins.errors import BadStore
from ecgtext_plugins.store import leftovers
from ecgtext_plugins.store.dask_engine import spread_over_dask
from ecgtext_plugins.store.finalise import finalise
from ecgtext_plugins.store.lock import build_lock
from ecgtext_plugins.store.reader import RecordStore
from ecgtext_plugins.store.recipe import differences, fingerprint
from ecgtext_plugins.store.shard import ShardPaths, ShardTask, finished_shard, write_shard
from ecgtext_plugins.store.workers import spread

Progress = Callable[[int, int, int], None]  # records found, kept and failed so far
Engine = Callable[[Iterable[ShardTask], int], Iterator[tuple[int, int]]]  # tasks and how many -> kept, failed of each


@dataclass(frozen=True)
class BuildResult:
    """A finished store, and whether it was finished before."""

    store: RecordStore
    was_finished: bool


def build_store(
    recipe: dict[str, Any],
    raw: str | Path,
    folder: str | Path,
    workers: int = 1,
    rebuild: bool = False,
    progress: Progress | None = None,
    tables: str | Path | None = None,
    engine: str = "local",
    scheduler: str | None = None,
) -> BuildResult:
    """Build the store of `recipe` (as :func:`load_recipe` returns it) from the dataset in `raw` into `folder`.

    Parameters
    ----------
    workers : int
        Processes; the result does not depend on it. A script that gives more than 1 needs a guard
        ``if __name__ == "__main__":``.
    rebuild : bool
        Remove what an earlier build left in `folder` first; otherwise another recipe's is refused.
    progress : callable or None
        Called with (found, kept, failed) at the start and after each shard.
    tables : str or Path or None
        A further folder for tables that the recipe names.
    engine : str
        ``local``: processes of this machine; ``dask``: a Dask cluster whose workers see `folder` and `raw` as this
        machine does. The result is the same.
    scheduler : str or None
        Address of a running Dask scheduler; None starts `workers` processes on this machine.

    Raises
    ------
    BadRawData
        When `raw` is not the recipe's dataset.
    BadStore
        When `folder` holds another recipe's store or other files, another build runs there, the raw data have changed
        since the build began, or the disk is full.
    """
    run = _engine(engine, workers, scheduler, Path(folder).resolve())
    raw, folder = RawFolder(raw), Path(folder).resolve()
    leftovers.refuse_foreign_folder(folder)
    finished = (folder / "corpus.json").is_file() and not rebuild
    # Who has removed the raw data of a finished store may run the command again.
    corpus = None if finished and not raw.exists() else open_corpus(recipe, raw, tables)
    folder.mkdir(parents=True, exist_ok=True)
    with build_lock(folder):
        if rebuild:
            leftovers.remove_store(folder)
        if (folder / "corpus.json").is_file():
            store = RecordStore.open(folder)
            _refuse_other_recipe(folder, store.corpus["recipe"], recipe)
            leftovers.remove_work_files(folder)
            return BuildResult(store, was_finished=True)
        corpus = corpus or open_corpus(recipe, raw, tables)
        _continue_plan(folder, recipe, corpus)
        leftovers.remove_partial_files(folder)
        shards = list(_write_shards(folder, recipe, corpus, run, progress))
        finalise(folder, recipe, corpus, shards)
        leftovers.remove_work_files(folder)
    return BuildResult(RecordStore.open(folder), was_finished=False)


def _engine(name: str, workers: int, scheduler: str | None, folder: Path) -> Engine:
    if name == "local" and scheduler is None:
        return lambda tasks, number: spread(write_shard, tasks, min(workers, number))
    if name == "dask":
        return lambda tasks, number: spread_over_dask(write_shard, tasks, folder, min(workers, number), scheduler)
    raise ValueError(f"engine is {name!r} with scheduler {scheduler!r}: expected local without one, or dask")


def _refuse_other_recipe(folder: Path, there: dict[str, Any], recipe: dict[str, Any]) -> None:
    if fingerprint(there) != fingerprint(recipe):
        raise BadStore(
            f"{folder} was built by recipe {there.get('name')} and not by {recipe['name']} as it is now (they differ "
            f"in {'; '.join(differences(there, recipe)) or 'the format'}): expected the same recipe; give another "
            "--dest, or --rebuild to remove that store"
        )


def _continue_plan(folder: Path, recipe: dict[str, Any], corpus: Corpus) -> None:
    """Write down recipe and source, or compare them with those that an unfinished build wrote down."""
    digest = hashlib.sha256(fingerprint(recipe).encode())
    for record_id in corpus.record_ids.to_pylist():
        digest.update(record_id.encode("utf-8") + b"\n")
    for place, name in corpus.table_files:
        digest.update(f"{name} {place.sha256(name)}\n".encode())
    plan = {"found": len(corpus.record_ids), "recipe": recipe, "sha256": digest.hexdigest()}
    path = folder / ".build" / "plan.json"
    if path.is_file():
        try:
            begun = json.loads(path.read_text("utf-8"))
            there, found, sha256 = begun["recipe"], begun["found"], begun["sha256"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadStore(
                f"{path} is damaged ({error}): expected the build's plan; build again with --rebuild"
            ) from None
        _refuse_other_recipe(folder, there, recipe)
        if sha256 != plan["sha256"]:
            raise BadStore(
                f"the raw data in {corpus.raw} have changed since the build in {folder} began (it had {found} records, "
                f"now {plan['found']}; or its tables differ): expected the same; build again with --rebuild"
            )
        return
    leftovers.remove_shards(folder)  # of a store whose removal was cut short
    try:
        atomic_files.write_json(path, plan)
    except OSError as error:
        raise BadStore(
            f"{path} cannot be written ({error}): expected room and permission to write there; make some, then run the "
            "same command again"
        ) from None


def _write_shards(
    folder: Path, recipe: dict[str, Any], corpus: Corpus, run: Engine, progress: Progress | None
) -> Iterator[ShardPaths]:
    """Write the shards that are not done yet; yield all in order once they are."""
    found, size, content = len(corpus.record_ids), recipe["records_per_shard"], fingerprint(recipe)
    shards = [ShardPaths(folder, number) for number in range(-(-found // size))]
    kept, failed, waiting = 0, 0, []
    for paths in shards:
        done = finished_shard(paths, content)
        if done is None:
            waiting.append(paths)
        else:
            kept, failed = kept + done[0], failed + done[1]
    if progress:
        progress(found, kept, failed)
    tasks = (
        ShardTask(
            paths,
            corpus.raw,
            tuple(corpus.entries(paths.number * size, min(found, (paths.number + 1) * size))),
            recipe,
            content,
        )
        for paths in waiting
    )
    for more_kept, more_failed in run(tasks, len(waiting)) if waiting else ():
        kept, failed = kept + more_kept, failed + more_failed
        if progress:
            progress(found, kept, failed)
    yield from shards
