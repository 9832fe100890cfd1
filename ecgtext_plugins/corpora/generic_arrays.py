"""Recordings in npy, mat, csv and parquet files: decoded with suspicion, as they may come from anywhere."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from tokenize import TokenError
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ecgtext_plugins.corpora.array_records import PER_MILLIVOLT, array_record, refuse_too_long
from ecgtext_plugins.corpora.csv_tables import column_names, read_columns
from ecgtext_plugins.corpora.hdf5_tracings import DAMAGE
from ecgtext_plugins.corpora.mat_struct import read_variables
from ecgtext_plugins.corpora.raw_folder import RawFolder, safe_name
from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.corpora.wfdb_header import RATES
from ecgtext_plugins.errors import BadRawData, BadRecord
from ecgtext_plugins.signals.leads import canonical_lead

LARGEST_FILE = 1 << 31  # bytes
_NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_NPY_DAMAGE = (ValueError, KeyError, SyntaxError, TypeError, MemoryError, RecursionError, OverflowError, TokenError)
_MATLAB_73 = b"MATLAB 7.3"


def read_array(raw: RawFolder, entry: RecordEntry, rate: str, unit: str, options: Mapping[str, Any]) -> EcgRecord:
    """Read the recording of `entry` in a format other than WFDB.

    Parameters
    ----------
    rate, unit : str
        Cells of the table, where the recipe maps such columns.
    options : mapping
        Of the recipe.

    Raises
    ------
    BadRecord
        ``unsafe_path``, ``missing_signal_file``, ``unreadable``, ``truncated``, ``objects`` (pickled), ``no_variable``,
        ``lead_names``, ``sampling_rate``, ``unit``, and what :func:`array_record` raises.
    """
    source = f"record {entry.record_id}"
    name = safe_name(entry.source_path, source)
    hertz = _rate(rate if options["rate"] is None else options["rate"], source)
    per_millivolt = _per_millivolt(unit if options["unit"] is None else options["unit"], options["gain"], source)
    try:
        size = raw.size(name)
    except FileNotFoundError:
        raise BadRecord(
            "missing_signal_file",
            f"{source}: there is no {name} in {raw}: expected its samples there; correct the path in the table, or "
            "options.extension",
        ) from None
    except (OSError, ValueError) as error:
        raise _unreadable(source, name, error) from None
    if size > LARGEST_FILE:
        raise BadRecord("too_long", f"{source}: {name} has {size} bytes: expected at most {LARGEST_FILE}; cut it")
    try:
        values, leads = _DECODERS[options["format"]](raw, name, options, source)
    except (OSError, BadRawData) as error:
        raise _unreadable(source, name, error) from None
    return array_record(entry, values, leads, hertz, per_millivolt)


def _unreadable(source: str, name: str, error: Exception) -> BadRecord:
    return BadRecord("unreadable", f"{source}: {name} cannot be read ({error}): expected a whole file; write it again")


def _rate(said: str | float, source: str) -> float:
    try:
        rate = float(said)
    except ValueError:
        rate = np.nan
    if not RATES[0] <= rate <= RATES[1]:
        raise BadRecord(
            "sampling_rate",
            f"{source} has the rate {said!r} in the table: expected {RATES[0]:g} to {RATES[1]:g} Hz; correct it",
        )
    return rate


def _per_millivolt(unit: str, gain: float | None, source: str) -> float:
    if unit.strip() == "counts" and gain is not None:
        return float(gain)
    if unit.strip() not in PER_MILLIVOLT:
        counts = "" if gain is None else ", counts"
        raise BadRecord(
            "unit",
            f"{source} has the unit {unit[:20]!r} in the table: expected {', '.join(PER_MILLIVOLT)}{counts}; correct "
            "it",
        )
    return PER_MILLIVOLT[unit.strip()]


def _npy(raw: RawFolder, name: str, options: Mapping[str, Any], source: str) -> tuple[np.ndarray, Sequence[str]]:
    content = raw.read(name)
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        shape, by_columns, dtype = _NPY_HEADERS[version](stream)
    except _NPY_DAMAGE as error:
        raise BadRecord(
            "unreadable",
            f"{source}: {name} is no npy file of version 1 or 2 ({error}): expected one; write it with np.save",
        ) from None
    if dtype.hasobject:
        raise BadRecord(
            "objects",
            f"{source}: {name} holds Python objects: expected numbers, as unpickling them could run any program; write "
            "it again as float32",
        )
    values = np.frombuffer(content, np.uint8)[stream.tell() :]
    expected = math.prod(shape) * dtype.itemsize
    if not dtype.itemsize or len(values) != expected or min(shape, default=0) < 0:
        raise BadRecord(
            "truncated",
            f"{source}: {name} has {len(values)} bytes of samples: expected {expected} for {dtype} {shape}; copy it "
            "again",
        )
    return _leads_first(values.view(dtype).reshape(shape, order="F" if by_columns else "C"), options, source)


def _mat(raw: RawFolder, name: str, options: Mapping[str, Any], source: str) -> tuple[np.ndarray, Sequence[str]]:
    content, key = raw.read(name), options["key"]
    try:
        is_hdf5 = content.startswith(_MATLAB_73)
        found = _matlab_73(content, key, source) if is_hdf5 else read_variables(content, [key]).get(key)
    except DAMAGE as error:
        raise _unreadable(source, name, error) from None
    if not isinstance(found, np.ndarray):
        raise BadRecord(
            "no_variable",
            f"{source}: {name} has no array of numbers called {key}: expected one; correct options.key",
        )
    return _leads_first(found, options, source)


def _matlab_73(content: bytes, key: str, source: str) -> np.ndarray | None:
    """Return the variable `key` of a MATLAB 7.3 file, which is HDF5 with all axes in reverse."""
    import h5py

    with h5py.File(io.BytesIO(content), "r") as file:
        found = file.get(key)
        if not isinstance(found, h5py.Dataset):
            return None
        refuse_too_long(found.size or 0, source)
        values = found[()]
        return values.T if isinstance(values, np.ndarray) else None


def _leads_first(values: np.ndarray, options: Mapping[str, Any], source: str) -> tuple[np.ndarray, Sequence[str]]:
    """Return `values` as (n, T) by the recipe's layout; array_record checks the shape."""
    leads, layout = options["leads"], options["layout"]
    if layout == "auto" and values.ndim == 2 and values.shape == (len(leads), len(leads)):
        raise BadRecord(
            "shape", f"{source} has an array of shape {values.shape}: expected a layout to tell; give options.layout"
        )
    turned = layout == "samples_first" or (layout == "auto" and values.ndim == 2 and values.shape[1] == len(leads))
    return (values.T if turned else values), leads


def _csv(raw: RawFolder, name: str, options: Mapping[str, Any], source: str) -> tuple[np.ndarray, Sequence[str]]:
    leads, columns = _lead_columns(options["key"], column_names(raw, name), source, name)
    table = read_columns(raw, name, columns)
    refuse_too_long(len(table) * len(leads), source)
    cells = [pc.utf8_trim_whitespace(table[column]) for column in columns]
    cells = [pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column) for column in cells]
    try:
        return _stack([pc.cast(column, pa.int64()) for column in cells]), leads
    except pa.ArrowInvalid:  # not all are whole numbers
        pass
    try:
        return _stack([pc.cast(column, pa.float64()) for column in cells]), leads
    except pa.ArrowInvalid as error:
        raise BadRecord(
            "samples", f"{source}: {name} has a cell that is no number ({error}): expected such as -0.015; correct it"
        ) from None


def _parquet(raw: RawFolder, name: str, options: Mapping[str, Any], source: str) -> tuple[np.ndarray, Sequence[str]]:
    try:
        with raw.open(name) as handle, pq.ParquetFile(handle) as file:
            leads, columns = _lead_columns(options["key"], file.schema_arrow.names, source, name)
            refuse_too_long(file.metadata.num_rows * len(leads), source)
            table = file.read(columns=columns)
            return _stack([table[column] for column in columns]), leads
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise _unreadable(source, name, error) from None


def _lead_columns(
    key: dict[str, str] | None, there: Sequence[str], source: str, name: str
) -> tuple[list[str], list[str]]:
    """Return leads and their columns: as mapped, or those columns that have a lead's name."""
    mapped = key if key is not None else {column: column for column in there if canonical_lead(column)}
    lacking = [column for column in mapped.values() if column not in there]
    if lacking or not mapped:
        raise BadRecord(
            "lead_names",
            f"{source}: {name} has the columns {', '.join(there[:20])}: expected "
            f"{', '.join(lacking) or 'leads such as V1'}; map leads to columns in options.key",
        )
    return list(mapped), list(mapped.values())


def _stack(columns: Sequence[pa.ChunkedArray]) -> np.ndarray:
    """Return the columns as rows (n, T), missing cells NaN."""
    return np.stack([column.to_numpy() for column in columns])


_DECODERS: dict[str, Callable[..., tuple[np.ndarray, Sequence[str]]]] = {
    "npy": _npy,
    "mat": _mat,
    "csv": _csv,
    "parquet": _parquet,
}
