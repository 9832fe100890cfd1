import io
import zlib

import numpy as np
import pytest
import scipy.io

from ecgtext_plugins.corpora.mat_struct import LARGEST_FILE, read_struct


def saved(variables: dict, **options) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_numbers_equal_what_scipy_reads(dtype, compressed):
    rng = np.random.default_rng(0)
    data = (100 * rng.random((12, 33))).astype(dtype)
    content = saved(
        {"first": np.eye(3), "ECG": {"sex": "Femälé", "age": 61, "data": data, "one": 0.5, "none": np.zeros((12, 0))}},
        do_compression=compressed,
    )
    fields = read_struct(content, "ECG")
    theirs = scipy.io.loadmat(io.BytesIO(content))["ECG"]
    assert list(fields) == list(theirs.dtype.names) and fields["sex"] == "Femälé"
    for name in ("age", "data", "one", "none"):
        assert fields[name].dtype == theirs[name][0, 0].dtype
        np.testing.assert_array_equal(fields[name], theirs[name][0, 0])


def test_what_is_no_number_and_no_text_is_none():
    odd = {"cell": np.array([1, "a"], dtype=object), "struct": {"a": 1}, "complex": np.array([1 + 2j]), "age": 3}
    fields = read_struct(saved({"ECG": odd}), "ECG")
    assert {name for name, value in fields.items() if value is None} == {"cell", "struct", "complex"}


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "no header"),
        (b"x" * 500, "no header"),
        (saved({"val": np.zeros((12, 5))}, format="4"), "no header"),
        (saved({"val": np.zeros((12, 5))}), "no struct ECG"),
        (saved({"ECG": np.zeros((12, 5))}), "ECG is not a 1 x 1 struct"),
        (saved({"ECG": np.array([[(1,), (2,)]], dtype=[("data", "O")])}), "ECG is not a 1 x 1 struct"),
        (saved({"ECG": {"data": np.zeros((12, 5))}})[:-50], "ends inside an element"),
        (saved({"ECG": {"data": np.zeros((12, 5))}}, do_compression=True)[:-20], "ends inside an element"),
    ],
)
def test_files_that_are_not_it(content, message):
    with pytest.raises(ValueError, match=message):
        read_struct(content, "ECG")


def test_a_small_file_that_would_become_a_large_one():
    content = saved({"x": 1})[:128] + (15).to_bytes(4, "little")
    bomb = zlib.compress(bytes(LARGEST_FILE + 1), 9)
    with pytest.raises(ValueError, match="too large"):
        read_struct(content + len(bomb).to_bytes(4, "little") + bomb, "ECG")


def test_damage_is_an_error_and_nothing_worse():
    """Cuts, wrong bytes and inserted ones; scipy.io.loadmat ends the process on some of these."""
    rng = np.random.default_rng(0)
    struct = {"ECG": {"sex": "Male", "age": 5, "data": rng.standard_normal((12, 20))}}
    plain, packed = saved(struct), saved(struct, do_compression=True)
    read = 0
    for _ in range(3000):
        content = bytearray(plain if rng.random() < 0.7 else packed)
        place = int(rng.integers(120, len(content)))
        kind = rng.integers(3)
        if kind == 0:
            del content[place:]
        elif kind == 1:
            content[place % 400] = rng.integers(256)
        else:
            content[place:place] = rng.bytes(int(rng.integers(1, 20)))
        try:
            fields = read_struct(bytes(content), "ECG")
        except ValueError as error:
            assert str(error).startswith("it")
        else:
            read += 1
            assert isinstance(fields, dict)
    assert 300 < read < 2700
