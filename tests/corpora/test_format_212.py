"""Format 212 against the wfdb package, and by hand."""

import numpy as np
import pytest
import wfdb

from ecgtext_plugins.corpora import wfdb_records
from ecgtext_plugins.corpora.format_212 import packed_size, unpack
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.record import RecordEntry
from ecgtext_plugins.errors import BadRecord
from tests import builders


def test_by_hand():
    # 1 and -1: 0x001 and 0xFFF -> 01, F0, FF; -2048 alone: 0x800 -> 00, 08
    assert unpack(bytes([0x01, 0xF0, 0xFF, 0x00, 0x08]), 3).tolist() == [1, -1, -2048]
    assert [packed_size(n) for n in range(5)] == [0, 2, 3, 5, 6]


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_what_wfdb_makes_of_them(tmp_path, seed):
    rng = np.random.default_rng(seed)
    leads, length = int(rng.integers(1, 13)), int(rng.integers(1, 400))
    data = rng.integers(0, 256, packed_size(leads * length) + (leads * length) % 2, dtype=np.uint8).tobytes()
    (tmp_path / "r.dat").write_bytes(data)
    lines = [f"r {leads} 500 {length}", *(f"r.dat 212 200/mV 12 0 0 0 0 lead{n}" for n in range(leads))]
    (tmp_path / "r.hea").write_text("\n".join(lines) + "\n")
    expected = wfdb.rdrecord(str(tmp_path / "r"), physical=False).d_signal
    np.testing.assert_array_equal(unpack(data, leads * length).reshape(length, leads), expected)


def record_212(tmp_path, counts):
    names = list(builders.MIMIC_LEADS)
    order = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
    stored = np.stack([counts[order.index(name)] for name in names]).T.astype(np.int64)
    wfdb.wrsamp("r1", 500, ["mV"] * 12, names, d_signal=stored, fmt=["212"] * 12, adc_gain=[200.0] * 12,
                baseline=[0] * 12, write_dir=str(tmp_path))  # fmt: skip
    return tmp_path


def read(folder):
    return wfdb_records.read_wfdb(RawFolder(folder), RecordEntry("r1", "p", "r1"))


def test_a_record_comes_out_right_and_without_wfdb(tmp_path, monkeypatch):
    counts = np.clip(builders.ecg_counts(np.random.default_rng(0), 500), -2047, 2047)
    counts[4, 9] = -2048
    record_212(tmp_path, counts)
    monkeypatch.setattr(wfdb, "rdrecord", None)
    result = read(tmp_path)
    assert result.checksum_error == "" and np.isnan(result.signal[4, 9]) and np.isnan(result.signal).sum() == 1
    result.signal[4, 9] = counts[4, 9] / 200
    np.testing.assert_array_equal(result.signal, (counts / 200).astype(np.float32))


@pytest.mark.parametrize(("cut", "reason"), [(-1, "truncated"), (-300, "truncated"), (4, "size_mismatch")])
def test_other_sizes_are_told(tmp_path, cut, reason):
    record_212(tmp_path, np.clip(builders.ecg_counts(np.random.default_rng(0), 500), -2047, 2047))
    data = (tmp_path / "r1.dat").read_bytes()
    (tmp_path / "r1.dat").write_bytes(data[:cut] if cut < 0 else data + bytes(cut))
    with pytest.raises(BadRecord) as caught:
        read(tmp_path)
    assert caught.value.reason == reason
