"""Our own strict reader of one struct in a MATLAB 5 file: numbers and texts, nothing else.

One wrong byte in such a file can make scipy.io.loadmat end the whole process; here it is an error of one record.
Source: The MathWorks, MAT-File Format (Level 5).
"""

import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

LARGEST_FILE = 1 << 26  # bytes, compressed or not
_HEADER = 128  # bytes
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED = 14, 15  # data types
_STRUCT, _CHAR, _DOUBLE, _UINT64 = 2, 4, 6, 15  # array classes; numeric ones are _DOUBLE to _UINT64
_COMPLEX = 0x800


class Element(NamedTuple):
    """A data element: its type and its bytes."""

    type: int
    content: memoryview


def read_struct(content: bytes, name: str) -> dict[str, np.ndarray | str | None]:
    """Read the fields of the 1 x 1 struct `name` in a MATLAB 5 file.

    Returns
    -------
    dict
        Field: an array in the file's shape and number type, a text, or None for anything else (cells, structs, sparse
        and complex arrays).

    Raises
    ------
    ValueError
        Saying what is wrong with the file.
    """
    for kind, data, order in _variables(content):
        if kind == _MATRIX:
            parts = _elements(data, order)
            flags, shape, found = _matrix_header(parts, order)
            if found == name:
                if flags & 0xFF != _STRUCT or math.prod(shape) != 1:
                    raise ValueError(f"its variable {name} is not a 1 x 1 struct")
                return _fields(parts, order)
    raise ValueError(f"it has no struct {name}")


def read_variables(content: bytes, names: Iterable[str]) -> dict[str, np.ndarray | str | None]:
    """Read the variables `names` of a MATLAB 5 file, as far as it has them; values as in :func:`read_struct`.

    Raises
    ------
    ValueError
        Saying what is wrong with the file.
    """
    wanted, found = set(names), {}
    for kind, data, order in _variables(content):
        if kind == _MATRIX:
            name = _matrix_header(_elements(data, order), order)[2]
            if name in wanted:
                found[name] = _value(data, order)
    return found


def _variables(content: bytes) -> Iterator[tuple[int, memoryview, str]]:
    """Yield type, bytes and byte order of each variable of a file, inflated."""
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if len(content) < _HEADER or order is None or struct.unpack(f"{order}H", content[124:126])[0] != 0x0100:
        raise ValueError("it has no header of a MATLAB 5 file")
    for kind, data in _elements(memoryview(content)[_HEADER:], order):
        if kind == _COMPRESSED:
            kind, data = next(_elements(_inflated(data), order), Element(0, data))
        yield kind, data, order


def _elements(data: memoryview, order: str) -> Iterator[Element]:
    """Yield the elements of `data`; raises ValueError where one reaches beyond its end."""
    place = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack(f"{order}II", data[place : place + 8])
        if kind >> 16:  # a small element: its bytes are in the tag
            kind, size, start, after = kind & 0xFFFF, kind >> 16, place + 4, place + 8
        else:
            start = place + 8
            after = start + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if start + size > len(data) or (kind >> 16 == 0 and start == place + 4 and size > 4):
            raise ValueError(f"it ends inside an element of {size} bytes")
        yield Element(kind, data[start : start + size])
        place = after


def _inflated(data: memoryview) -> memoryview:
    try:
        inflater = zlib.decompressobj()
        content = inflater.decompress(data, LARGEST_FILE)
    except zlib.error as error:
        raise ValueError(f"its compressed data are damaged ({error})") from None
    if inflater.unconsumed_tail or not inflater.eof:
        raise ValueError("its compressed data are cut short or too large")
    return memoryview(content)


def _next(parts: Iterator[Element]) -> Element:
    element = next(parts, None)
    if element is None:
        raise ValueError("it ends inside an array")
    return element


def _matrix_header(parts: Iterator[Element], order: str) -> tuple[int, tuple[int, ...], str]:
    """Take flags, shape and name of an array from its `parts`."""
    flags, shape, name = (_next(parts) for _ in range(3))
    if len(flags.content) != 8 or len(shape.content) % 4 or not 2 <= len(shape.content) // 4 <= 32:
        raise ValueError("it has a damaged array header")
    sizes = struct.unpack(f"{order}{len(shape.content) // 4}i", shape.content)
    if min(sizes) < 0:
        raise ValueError("it has an array of negative size")
    return struct.unpack(f"{order}II", flags.content)[0], sizes, bytes(name.content).decode("latin-1")


def _fields(parts: Iterator[Element], order: str) -> dict[str, np.ndarray | str | None]:
    """Read names and values of a struct's fields."""
    width, names = _next(parts).content, bytes(_next(parts).content)
    width = struct.unpack(f"{order}i", width)[0] if len(width) == 4 else 0
    if not 0 < width <= 1024 or len(names) % width:
        raise ValueError("it has damaged field names")
    fields = {}
    for start in range(0, len(names), width):
        name = names[start : start + width].split(b"\0")[0].decode("latin-1")
        kind, data = _next(parts)
        if kind != _MATRIX:
            raise ValueError(f"its field {name[:40]!r} is not an array")
        fields[name] = _value(data, order) if len(data) else None
    return fields


def _value(data: memoryview, order: str) -> np.ndarray | str | None:
    """Read an array of numbers or a text."""
    parts = _elements(data, order)
    flags, shape, _ = _matrix_header(parts, order)
    kind = flags & 0xFF
    if flags & _COMPLEX or (kind != _CHAR and not _DOUBLE <= kind <= _UINT64):
        return None
    stored, content = _next(parts)
    if kind == _CHAR:
        return _text(stored, bytes(content), order)
    if stored not in _NUMBERS:
        raise ValueError(f"it has numbers of the unknown type {stored}")
    dtype = np.dtype(order + _NUMBERS[stored])
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"it has {len(content)} bytes for an array of {' x '.join(map(str, shape))}")
    return np.frombuffer(content, dtype).reshape(shape, order="F")


def _text(stored: int, content: bytes, order: str) -> str:
    encoding = _TEXTS.get(stored, "")
    if encoding in ("utf-16", "utf-32"):
        encoding += "-le" if order == "<" else "-be"
    try:
        return content.decode(encoding)
    except (LookupError, UnicodeDecodeError):
        raise ValueError("it has a text that cannot be decoded") from None
