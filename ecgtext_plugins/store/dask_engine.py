"""Shards spread over a Dask cluster: one that is running, or one started for the build on this machine."""

import contextlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from ecgtext_plugins.errors import BadEnvironment, BadStore

Task = TypeVar("Task")
Result = TypeVar("Result")
WAIT = 30  # seconds for a scheduler to answer


def spread_over_dask(
    work: Callable[[Task], Result], tasks: Iterable[Task], folder: Path, workers: int, scheduler: str | None
) -> Iterator[Result]:
    """Yield `work(task)` for each task as they finish, in any order; at most two tasks a thread are under way.

    Parameters
    ----------
    folder : Path
        What all workers must see under the same path.
    workers : int
        Processes of the cluster that is started where there is no `scheduler`.
    scheduler : str or None
        Address of a running one, ``tcp://host:8786``.

    Raises
    ------
    BadEnvironment
        When dask.distributed is not installed here, or this package is not on the workers.
    BadStore
        When the cluster cannot be reached, does not see `folder`, or loses its workers; whatever `work` raises.
    """
    try:
        import distributed
    except ImportError:
        raise BadEnvironment(
            "engine dask needs the package distributed, which is not installed: expected it; "
            "pip install 'ecgtext-plugins[dask]'"
        ) from None
    with contextlib.ExitStack() as opened:
        client = _connect(opened, workers, scheduler)
        _refuse_unshared_folder(client, folder)
        tasks = iter(tasks)
        threads = max(1, sum(client.nthreads().values()))
        running = distributed.as_completed(_submit(client, work, islice(tasks, 2 * threads)))
        try:
            for future in running:
                yield future.result()
                running.update(_submit(client, work, islice(tasks, 1)))
        except (distributed.KilledWorker, distributed.CancelledError, ConnectionError) as error:
            raise BadStore(
                f"the Dask cluster lost its workers ({type(error).__name__}: {error}): expected them to run to the "
                "end; run the same command again"
            ) from None


def _connect(opened: contextlib.ExitStack, workers: int, scheduler: str | None) -> Any:
    """Return a client of the cluster; both are closed with `opened`."""
    from distributed import Client, LocalCluster

    if scheduler is None:
        cluster = LocalCluster(n_workers=max(1, workers), threads_per_worker=1, dashboard_address=":0")
        return opened.enter_context(Client(opened.enter_context(cluster)))
    try:
        return opened.enter_context(Client(scheduler, timeout=WAIT))
    except (OSError, ValueError) as error:
        raise BadStore(
            f"the Dask scheduler {scheduler} does not answer ({error}): expected one there; start it with "
            "`dask scheduler`, or correct --scheduler"
        ) from None


def _submit(client: Any, work: Callable[[Task], Result], tasks: Iterable[Task]) -> list[Any]:
    return [client.submit(work, task, pure=False) for task in tasks]


def _refuse_unshared_folder(client: Any, folder: Path) -> None:
    """Have every worker look for a file that is in `folder` for this moment only."""
    probe = folder / ".build" / f".probe.{uuid.uuid4().int}.partial"
    probe.parent.mkdir(parents=True, exist_ok=True)
    probe.touch()
    try:
        seen = client.run(Path.is_file, probe)
    finally:
        probe.unlink()
    blind = [address for address, there in seen.items() if not there]
    if blind or not seen:
        raise BadStore(
            f"{', '.join(blind[:5]) or 'no Dask worker'} does not see {folder}: expected workers that share it with "
            "this machine; give a --dest on a file system that all of them mount at the same place"
        )
