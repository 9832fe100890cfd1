"""ECG tracings in HDF5 files: one array (records, samples, 12) of floats, as the CODE datasets ship them."""

from collections import OrderedDict
from typing import Any, BinaryIO

import numpy as np

from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.wfdb_records import LARGEST_RECORD
from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.signals.leads import LEADS

TRACINGS = "tracings"
OPEN_FILES = 24  # that a process keeps: the records of CODE-15%, in order of id, come from its 18 parts in turn
# What h5py raises on files that are not whole.
DAMAGE = (OSError, LookupError, ValueError, RuntimeError, TypeError, ArithmeticError, MemoryError, AttributeError)
_files: OrderedDict[tuple[str, str], tuple[Any, BinaryIO]] = OrderedDict()  # h5py's file, and what it reads from


def forget_open_files() -> None:
    """Close the HDF5 files that this process has open, as a file may have been replaced."""
    while _files:
        _close(*_files.popitem()[1])


def open_dataset(raw: RawFolder, name: str, key: str, source: str) -> Any:
    """Return the dataset `key` (h5py) of the file `name`; the file stays open for the next call.

    Raises
    ------
    BadRecord
        ``missing_signal_file``, ``truncated`` (or no HDF5 file at all), ``hdf5_key``; `source` stands in the message.
    """
    import h5py

    try:
        file = _open_file(raw, name)
        found, there = file.get(key), ", ".join(sorted(file)[:10]) or "nothing"
    except FileNotFoundError:
        raise BadRecord(
            "missing_signal_file", f"{source}: there is no {name} in {raw}: expected it as downloaded; download it"
        ) from None
    except DAMAGE as error:
        raise BadRecord(
            "truncated",
            f"{source}: {raw}/{name} cannot be opened as HDF5 ({error}): expected a whole file; download it again",
        ) from None
    if not isinstance(found, h5py.Dataset):
        raise BadRecord(
            "hdf5_key", f"{source}: {name} has no dataset {key} (it has {there}): expected one; download it again"
        )
    return found


def _open_file(raw: RawFolder, name: str) -> Any:
    """Return the open file `name`; raises what h5py does."""
    import h5py

    place = (str(raw), name)
    if place not in _files:
        handle = raw.open(name)
        try:
            _files[place] = h5py.File(handle, "r"), handle
        except DAMAGE:
            handle.close()
            raise
        if len(_files) > OPEN_FILES:
            _close(*_files.popitem(last=False)[1])
    _files.move_to_end(place)
    return _files[place][0]


def _close(file: Any, handle: BinaryIO) -> None:
    file.close()
    handle.close()


def open_tracings(raw: RawFolder, name: str, source: str) -> Any:
    """Return the dataset of tracings, (N, T, 12) real numbers; raises BadRecord as above, or ``shape``."""
    found = open_dataset(raw, name, TRACINGS, source)
    is_right = found.ndim == 3 and found.shape[2] == len(LEADS) and found.dtype.kind in "fiu"
    if not is_right or found.shape[1] * len(LEADS) > LARGEST_RECORD:
        raise BadRecord(
            "shape",
            f"{source}: {TRACINGS} of {name} is {found.dtype} {found.shape}: expected numbers (records, samples, "
            f"{len(LEADS)}); download it again",
        )
    return found


def read_tracing(raw: RawFolder, name: str, row: int, source: str) -> np.ndarray:
    """Read one row of the tracings of a file as (12, T), leads in the file's order; raises BadRecord as above."""
    tracings = open_tracings(raw, name, source)
    if not 0 <= row < len(tracings):
        raise BadRecord(
            "truncated", f"{source}: {name} has {len(tracings)} tracings: expected one in row {row}; download it again"
        )
    try:
        return np.ascontiguousarray(tracings[row].T)
    except DAMAGE as error:
        raise BadRecord(
            "truncated", f"{source}: row {row} of {raw}/{name} cannot be read ({error}); download it again"
        ) from None
