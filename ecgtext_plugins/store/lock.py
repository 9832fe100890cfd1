"""One build at a time in a folder: a file lock that the system drops when its process dies."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ecgtext_plugins.errors import BadStore


@contextlib.contextmanager
def build_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`; the lock file is gone afterwards.

    Raises
    ------
    BadStore
        When another process holds it.
    """
    path = folder / ".build.lock"
    descriptor = _acquire(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while still held: who waits for the old file sees that it is gone
        os.close(descriptor)


def _acquire(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise BadStore(
                f"another build (process {holder or 'unknown'}) is at work in {path.parent}: expected one at a time; "
                "wait for it, or give another --dest"
            ) from None
        if _is_still(path, descriptor):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
            return descriptor
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    """Tell whether the locked file is the one at `path`, and not one just removed by its former holder."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
