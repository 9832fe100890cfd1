import io

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from ecgtext_plugins.corpora.fairseq_mat import read_mat
from ecgtext_plugins.errors import BadRecord


def mat(**changes):
    values = {"curr_sample_rate": 500, "feats": np.random.default_rng(0).standard_normal((12, 300)), **changes}
    buffer = io.BytesIO()
    savemat(buffer, {name: value for name, value in values.items() if value is not None})
    return buffer.getvalue()


def test_against_scipy():
    """Every value as scipy.io.loadmat reads it."""
    content = mat(
        idx=7,
        segment_i=1,
        mean=np.arange(12.0)[:, None],
        std=np.full((12, 1), 2.0),
        patient_id=4711,
        age=63,
        sex=1,
        label=np.arange(26) % 3 == 0,
        text="Vorhofflimmern – AF",
    )
    found, other = read_mat(content, "x"), loadmat(io.BytesIO(content))
    np.testing.assert_array_equal(found.feats, other["feats"])
    assert found.feats.dtype == np.float64 and found.is_standardised
    np.testing.assert_array_equal(found.mean, other["mean"])
    assert (found.rate, found.idx, found.segment, found.age) == (500.0, 7, 1, 63.0)
    assert (found.patient_id, found.sex, found.text) == ("4711", "F", other["text"][0])
    np.testing.assert_array_equal(found.label, other["label"][0].astype(bool))
    millivolt = (other["feats"] * 2.0 + np.arange(12.0)[:, None]).astype(np.float32)
    np.testing.assert_array_equal(found.millivolt(), millivolt)
    np.testing.assert_array_equal(found.stored_signal(), other["feats"].astype(np.float32))


def test_what_a_file_does_not_say():
    found = read_mat(mat(age=0, sex=0, text=""), "x")
    assert (found.idx, found.segment, found.patient_id, found.text, found.sex) == (-1, -1, "", "", "M")
    assert np.isnan(found.age) and found.label is None and not found.is_standardised
    assert found.millivolt().dtype == np.float32 and found.millivolt().flags.c_contiguous
    assert read_mat(mat(patient_id="p17 "), "x").patient_id == "p17"
    assert read_mat(mat(feats=np.ones((12, 5), np.float32), curr_sample_rate=499.5), "x").rate == 499.5


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        ({"feats": None}, "no_feats", "record 1 has no feats"),
        ({"feats": np.zeros((8, 300))}, "feats_shape", r"float64 \(8, 300\): expected numbers \(12, samples\)"),
        ({"feats": np.zeros(300)}, "feats_shape", r"\(1, 300\)"),
        ({"feats": np.zeros((12, 0))}, "feats_shape", r"\(12, 0\)"),
        ({"feats": "text"}, "feats_shape", "a text"),
        ({"curr_sample_rate": None}, "sampling_rate", "no curr_sample_rate"),
        ({"curr_sample_rate": -500}, "sampling_rate", "curr_sample_rate -500"),
        ({"curr_sample_rate": np.nan}, "mat_value", "curr_sample_rate is float64"),
        ({"idx": np.arange(3)}, "mat_value", "variable idx is int64"),
        ({"mean": np.zeros((12, 1))}, "mat_value", "variable std is None: expected a number for each"),
        ({"mean": np.zeros(3), "std": np.zeros(3)}, "mat_value", "variable mean"),
        ({"text": np.array([101, 2054, 102])}, "mat_value", "token ids"),
        ({"label": "AF"}, "mat_value", "variable label is 'AF'"),
    ],
)
def test_refusals(changes, reason, message):
    with pytest.raises(BadRecord, match=message) as caught:
        read_mat(mat(**changes), "record 1")
    assert caught.value.reason == reason


def test_no_byte_less_and_no_wrong_byte_brings_it_down():
    content = mat(idx=3, text="sinus rhythm")
    for stop in range(0, len(content) - 400, 61):  # inside feats or before it
        with pytest.raises(BadRecord):
            read_mat(content[:stop], "x")
    rng = np.random.default_rng(1)
    for place in [*range(200), *range(len(content) - 200, len(content))]:
        damaged = bytearray(content)
        damaged[place] ^= int(rng.integers(1, 256))
        try:
            read_mat(bytes(damaged), "x")
        except BadRecord:
            pass
    for foreign in (b"", b"\x89HDF\r\n\x1a\n" + bytes(600), b"not a mat file " * 50):
        with pytest.raises(BadRecord, match="expected a whole MATLAB 5 file"):
            read_mat(foreign, "x")
