"""Several gloo processes of one thread each, for tests that compare them with one process."""

import contextlib
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.nn  # before any group: its default arguments would keep the group, and so its threads, alive
import torch.multiprocessing as mp


def in_processes(world, work, folder, *rest):
    """Run `work(rank, world, folder, *rest)` in each of `world` processes that share a process group."""
    mp.spawn(_one, (work, world, folder, rest), nprocs=world)


def _one(rank, work, world, folder, rest):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=world)
    work(rank, world, folder, *rest)
    dist.destroy_process_group()
    # A thread of gloo that outlives its group may drop a tensor while the interpreter ends, which aborts the process.
    end = time.monotonic() + 30
    while gloo_threads():  # a thread that was joined may be listed for a moment more
        assert time.monotonic() < end, "the process group outlives its end: something keeps it"
        time.sleep(0.01)


def gloo_threads():
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # ended meanwhile
            names.append(path.read_text())
    return [name for name in names if "gloo_runloop" in name]
