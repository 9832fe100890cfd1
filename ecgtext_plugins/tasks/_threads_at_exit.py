"""Threads that work while the interpreter ends abort the process ("terminate called without an active exception").

fairseq loads batches ahead in a daemon thread, and gloo's threads drop tensors after the last reduction. What ends a
training, its last update or an error, such a thread would turn the exit code into that of SIGABRT.
"""

import atexit
import contextlib
import functools
import queue
import threading
import time

import torch.distributed as dist
from fairseq.data.iterators import BackgroundConsumer


@functools.cache
def end_threads_at_exit() -> None:
    """Have the threads end before the interpreter does; later calls do nothing."""
    atexit.register(_end_gloo)
    atexit.register(end_loading)  # the last to be registered is the first to be called


def end_loading(seconds: float = 30.0) -> None:
    """Let every thread that loads ahead end after its present batch; wait at most so long."""
    loading = [thread for thread in threading.enumerate() if isinstance(thread, BackgroundConsumer)]
    for thread in loading:
        thread._max_len = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(thread.is_alive() for thread in loading):
        for thread in loading:
            with contextlib.suppress(queue.Empty):  # it may wait for a place
                while True:
                    thread._queue.get_nowait()
            thread.join(0.01)


def _end_gloo() -> None:
    if dist.is_available() and dist.is_initialized() and dist.get_backend() == "gloo":
        dist.destroy_process_group()
