"""Memory that a process frees stays with it, for work on a CPU under glibc that allocates the same again and again."""

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h
NEVER = -1


def keep_freed_memory() -> bool:
    """Tell glibc to give no memory back to the kernel; returns whether it was told.

    Each training step, and each batch of embeddings, allocates the same activations. By default glibc maps each big one
    anew and unmaps it when freed, and the kernel zeroes its pages again: tests/benchmarks says what that costs. The
    process then holds its largest step's memory until it ends, as a GPU's caching allocator does. Nothing is done under
    another C library, or where the environment has glibc's own variables for this.
    """
    own = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if own or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, NEVER))
