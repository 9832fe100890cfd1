"""Load checkpoint files by an allow-list of harmless types: a pickle that would run code is refused, never run."""

import importlib
import pickle
import re
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ecgtext_plugins.checkpoints.inert_types import plain, stand_ins
from ecgtext_plugins.errors import BadCheckpoint, BadConfig

PICKLE = b"\x80"  # first byte of a pickle outside a zip file, as torch wrote them before 1.6


class DamagedCheckpoint(BadCheckpoint):
    """A checkpoint that was whole once, or never came to be: truncated, empty, or with bytes that changed."""


NUMPY_DTYPES = ("Float16DType", "Float32DType", "Float64DType", "Int32DType", "Int64DType", "UInt8DType", "BoolDType")


def harmless_types() -> list:
    """Types that our and fairseq-signals' checkpoints carry beside tensors: numpy scalars, arrays and their dtypes."""
    scalar, reconstruct = np._core.multiarray.scalar, np._core.multiarray._reconstruct
    both_spellings = [
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for function, name in ((scalar, "scalar"), (reconstruct, "_reconstruct"))
    ]
    return [np.dtype, np.ndarray, *(getattr(np.dtypes, name) for name in NUMPY_DTYPES), *both_spellings]


UNREADABLE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, struct.error, RuntimeError, OSError, EOFError),
    *(ValueError, LookupError, TypeError, AttributeError, AssertionError),  # torch's unpickler on any other file
)


def load_checkpoint_file(path: str | Path, allow_types: Sequence = (), mmap: bool = False) -> dict:
    """Read a ``.pt`` file to CPU tensors and plain values; configs of argparse and omegaconf become dictionaries.

    Parameters
    ----------
    path : path-like
    allow_types : sequence of type
        Further types that the caller trusts.
    mmap : bool
        Leave tensors on disk until they are used: cheap when only the plain values are wanted.

    Raises
    ------
    BadCheckpoint
        When the file is missing, no checkpoint, or holds a type that is not allowed (which is then named and not
        executed).
    DamagedCheckpoint
        When it is truncated or its bytes have changed.
    """
    path = Path(path)
    if not path.is_file():
        raise BadCheckpoint(f"no checkpoint {path}: expected a .pt file written by training")
    try:
        with torch.serialization.safe_globals([*harmless_types(), *stand_ins(), *allow_types]):
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and zipfile.is_zipfile(path))
        state = plain(state)
    except UNREADABLE as error:
        raise _explained(path, error) from error
    if not isinstance(state, dict):
        raise BadCheckpoint(f"checkpoint {path} holds a {type(state).__name__}, expected a dictionary")
    return state


def types_by_name(names: Sequence[str]) -> list:
    """Import the types that a person trusts, by names such as ``package.module.Name``.

    Raises
    ------
    BadConfig
        When a name is not of that form, or there is no such type.
    """
    found = []
    for name in names:
        module, _, attribute = name.rpartition(".")
        try:
            found.append(getattr(importlib.import_module(module), attribute))
        except (ImportError, AttributeError, ValueError) as error:
            raise BadConfig(
                f"type {name} cannot be imported ({error}): expected module.Name, as the refusal of the checkpoint "
                "spells it; install the package that it comes from"
            ) from error
    return found


def _explained(path: Path, error: Exception) -> BadCheckpoint:
    if isinstance(error, PermissionError):
        return BadCheckpoint(f"checkpoint {path} cannot be read: {error.strerror}; change its permissions")
    found = re.search(r"(?:Unsupported global: GLOBAL|Unsupported class|GLOBAL) ([\w.]+)", str(error))
    if found:
        name = found[1] if "." in found[1] else f"builtins.{found[1]}"
        return BadCheckpoint(
            f"checkpoint {path} holds the type {name}, which could run code and was not loaded; if you trust its "
            f"source, allow it: `ecgtext convert {path} --allow-type {name} ...` writes a file without it"
        )
    size = path.stat().st_size
    whole = zipfile.is_zipfile(path)
    what = "is damaged" if whole else f"is truncated or no checkpoint ({size:,} bytes)"
    kind = DamagedCheckpoint if _is_damaged(path) else BadCheckpoint
    return kind(f"checkpoint {path} {what}: expected a whole .pt file; use an older one of the same folder")


def _is_damaged(path: Path) -> bool:
    """Tell a file that lost bytes from one whose content is refused."""
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as handle:
            return handle.read(1) != PICKLE
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is not None
    except (zipfile.BadZipFile, OSError, EOFError, ValueError):
        return True
