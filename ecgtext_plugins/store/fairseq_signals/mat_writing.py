"""Writing .mat files: MATLAB v5 without compression, whole or not there, the same content always the same bytes."""

import io
import os
from pathlib import Path
from typing import Any

_DESCRIPTION = b"MATLAB 5.0 MAT-file, written by ecgtext-plugins".ljust(116)  # scipy would put the time here


def encode_mat(variables: dict[str, Any]) -> bytes:
    """Return the bytes of a .mat file; scalars become (1, 1), vectors (1, n), a text an array of one text."""
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, variables)
    buffer.seek(0)
    buffer.write(_DESCRIPTION)
    return buffer.getvalue()


def write_if_lacking(path: Path, data: bytes, scratch: Path) -> None:
    """Write `data` to `path` by way of a file in the folder `scratch`, unless a file of that size is there.

    A file gets its name when it is whole. It is not flushed to the disk one by one: who continues after a crash
    compares sizes.
    """
    try:
        if path.stat().st_size == len(data):
            return
    except FileNotFoundError:
        pass
    temporary = scratch / f"{os.getpid()}.partial"
    temporary.write_bytes(data)
    os.replace(temporary, path)
