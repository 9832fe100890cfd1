"""Shards spread over processes; a worker ends as soon as its parent is gone."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait as wait_for
from typing import TypeVar

from ecgtext_plugins.errors import BadStore

Task = TypeVar("Task")
Result = TypeVar("Result")


def spread(work: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """Yield `work(task)` for each task as they finish, in any order; one worker means this very process.

    Raises
    ------
    BadStore
        When a worker process dies; whatever `work` raises.
    """
    if workers <= 1:
        yield from map(work, tasks)
        return
    tasks = iter(tasks)
    # spawn: forked workers would inherit the build's lock and the threads of numpy and pyarrow
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_end_with_parent)
    try:
        running = {pool.submit(work, task) for task in islice(tasks, 2 * workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(work, task) for task in islice(tasks, len(done))}
            for future in done:
                yield future.result()
    except BrokenProcessPool:
        raise BadStore(
            f"one of {workers} worker processes died (often for lack of memory): expected them to run to the end; run "
            "the same command again, with fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    threading.Thread(target=_watch_parent, daemon=True).start()


def _watch_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)
