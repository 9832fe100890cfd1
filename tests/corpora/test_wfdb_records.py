import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecgtext_plugins.corpora import wfdb_records
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.record import RecordEntry, signal_checksum
from ecgtext_plugins.corpora.wfdb_records import WfdbSignals
from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.signals.quality import lead_names
from tests import builders


@pytest.fixture
def counts():
    return builders.ecg_counts(np.random.default_rng(3), n_samples=400)


@pytest.fixture
def record(tmp_path, counts):
    return builders.write_record(tmp_path, "r1", counts)


def read_wfdb(path: Path) -> WfdbSignals:
    return wfdb_records.read_wfdb(RawFolder(path.parent), RecordEntry(path.name, "p", path.name))


def edit(record: Path, old: str, new: str) -> None:
    path = record.with_suffix(".hea")
    content = path.read_bytes()
    assert old.encode() in content
    path.write_bytes(content.replace(old.encode(), new.encode()))


def reason(record: Path) -> str:
    with pytest.raises(BadRecord, match="record r1") as caught:
        read = read_wfdb(record)
        if read.checksum_error:
            raise BadRecord("checksum", read.checksum_error)
    return caught.value.reason


def test_leads_are_brought_into_order_by_name(record, counts):
    read = read_wfdb(record)
    np.testing.assert_array_equal(read.signal, (counts / 200).astype(np.float32))
    assert (read.rate, read.step_uv, read.missing_leads) == (500.0, 5.0, 0)
    assert read.signal.dtype == np.float32


def test_real_records_equal_wfdb(shared):
    paths = sorted((shared / "data" / "physionet2021").rglob("*.hea"))
    assert len(paths) == 25
    for path in paths:
        expected = wfdb.rdrecord(str(path.with_suffix("")))
        order = [[name.lower() for name in expected.sig_name].index(lead.lower()) for lead in LEADS]
        read = read_wfdb(path.with_suffix(""))
        np.testing.assert_array_equal(read.signal, expected.p_signal.T[order].astype(np.float32))
        assert (read.rate, read.step_uv) == (expected.fs, 1.0)


@pytest.mark.parametrize("fmt", ["16", "24", "32", "80", "212"])
def test_generated_records_equal_wfdb(tmp_path, fmt):
    rng = np.random.default_rng(int(fmt))
    digital = rng.integers(-120, 120, size=(300, 12))
    digital[17, 4] = {"16": -32768, "24": -(1 << 23), "32": -(1 << 31), "80": -128, "212": -2048}[fmt]
    wfdb.wrsamp(
        "r1",
        fs=257.5,
        units=["mV"] * 12,
        sig_name=list(builders.MIMIC_LEADS),
        d_signal=digital,
        fmt=[fmt] * 12,
        adc_gain=[float(g) for g in rng.integers(50, 900, 12)],
        baseline=[int(b) for b in rng.integers(-30, 30, 12)],
        write_dir=str(tmp_path),
    )
    expected = wfdb.rdrecord(str(tmp_path / "r1"))
    order = [expected.sig_name.index(lead) for lead in LEADS]
    read = read_wfdb(tmp_path / "r1")
    np.testing.assert_array_equal(read.signal, expected.p_signal.T[order].astype(np.float32))
    assert np.isnan(read.signal).sum() == 1 and read.step_uv is None and read.rate == 257.5


def test_two_signal_files_of_one_record_equal_wfdb(tmp_path, counts):
    record = builders.write_record(tmp_path, "r1", counts)
    limb = builders.write_record(tmp_path, "limb", counts, leads=builders.MIMIC_LEADS[:6])
    chest = builders.write_record(tmp_path, "chest", counts, leads=builders.MIMIC_LEADS[6:])
    lines = [path.with_suffix(".hea").read_text().splitlines()[1:] for path in (limb, chest)]
    record.with_suffix(".hea").write_text("\n".join(["r1 12 500 400", *lines[0], *lines[1]]))
    np.testing.assert_array_equal(read_wfdb(record).signal, (counts / 200).astype(np.float32))


@pytest.mark.parametrize(("units", "gain"), [("mV", 200), ("mv", 200), ("uV", 0.2), ("µV", 0.2), ("V", 200_000)])
def test_units_come_out_in_millivolt(tmp_path, counts, units, gain):
    record = builders.write_record(tmp_path, "r1", counts, gain=gain, units=units)
    np.testing.assert_allclose(read_wfdb(record).signal, counts / 200, rtol=1e-6)


def test_challenge_files_and_comments(tmp_path, counts):
    record = builders.write_record(tmp_path, "r1", counts, extension="mat", comments=["Age: 70", "Dx: 164889003"])
    read = read_wfdb(record)
    np.testing.assert_array_equal(read.signal, (counts / 200).astype(np.float32))
    assert read.comments == ("Age: 70", "Dx: 164889003")


def test_what_is_odd_but_fine(record, counts):
    header = record.with_suffix(".hea")
    header.write_bytes(header.read_bytes().replace(b"\n", b"\r\n") + b"# caf\xe9\r\n")
    np.testing.assert_array_equal(read_wfdb(record).signal, (counts / 200).astype(np.float32))
    edit(record, "r1 12 500 400", "r1 12 499.99/500(0) 400 08:44:00 23/07/2180")
    assert read_wfdb(record).rate == 499.99


def test_missing_samples_are_nan(tmp_path, counts):
    counts[9, 5:8] = -32768
    record = builders.write_record(tmp_path, "r1", counts)
    missing = np.isnan(read_wfdb(record).signal)
    assert missing.sum() == 3 and missing[9, 5:8].all()


def test_missing_leads_are_told(tmp_path, counts):
    record = builders.write_record(tmp_path, "r1", counts, leads=builders.MIMIC_LEADS[:-1])
    read = read_wfdb(record)
    assert lead_names(read.missing_leads) == ["V6"] and np.isnan(read.signal[11]).all()


def test_one_flipped_byte_is_told(record):
    data = bytearray(record.with_suffix(".dat").read_bytes())
    data[1001] ^= 4
    record.with_suffix(".dat").write_bytes(bytes(data))
    assert reason(record) == "checksum"


@pytest.mark.parametrize("keep", [0, 1, 24 * 200, 24 * 399, 24 * 400 - 1])
def test_truncated(record, keep):
    path = record.with_suffix(".dat")
    path.write_bytes(path.read_bytes()[:keep])
    assert reason(record) == "truncated"
    edit(record, "r1 12 500 400", "r1 12 500")  # wfdb reads half a file without complaint then
    assert reason(record) in ("truncated", "size_mismatch", "checksum")


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("r1 12 500 400", "r1 12 0 400", "sampling_rate"),
        ("r1 12 500 400", "r1 12 -500 400", "sampling_rate"),
        ("r1 12 500 400", "r1 12", "sampling_rate"),
        ("r1 12 500 400", "r1 12 500 1000000000000", "truncated"),
        ("r1 12 500 400", "r1 12 500 1000000000000000000", "header"),
        ("r1 12 500 400", "r1/3 12 500 400", "unsupported_format"),
        ("r1 12 500 400", "r1 13 500 400", "header"),
        ("r1 12 500 400", "r1 0 500 400", "header"),
        ("r1 12 500 400", "", "header"),
        ("r1 12 500 400", "r1 twelve", "header"),
        (" 200(0)/mV", " 0(0)/mV", "gain"),
        (" 200(0)/mV", " -200(0)/mV", "gain"),
        (" 200(0)/mV", " 1e-5(0)/mV", "amplitude"),
        (" 200(0)/mV", " 200(0)/mmHg", "unit"),
        ("aVF\n", "aVL\n", "duplicate_lead"),
        ("aVF\n", "EEG\n", "lead_names"),
        (".dat 16 ", ".dat 16x2 ", "unsupported_format"),
        (".dat 16 ", ".dat 999 ", "unsupported_format"),
        (".dat 16 ", ".dat 16+100 ", "truncated"),
        ("r1.dat", "other.dat", "missing_signal_file"),
        ("r1.dat", "../r1.dat", "unsafe_path"),
        ("r1.dat", "/etc/passwd", "unsafe_path"),
    ],
)
def test_bad_headers(record, old, new, code):
    edit(record, old, new)
    assert reason(record) == code


def test_missing_files(record):
    record.with_suffix(".dat").unlink()
    assert reason(record) == "missing_signal_file"
    record.with_suffix(".hea").write_bytes(b"")
    assert reason(record) == "header"
    record.with_suffix(".hea").unlink()
    assert reason(record) == "missing_header"


def test_trailing_bytes(record):
    with open(record.with_suffix(".dat"), "ab") as handle:
        handle.write(b"\0" * 24)
    assert reason(record) == "size_mismatch"


def test_leads_without_names_are_not_guessed(record):
    lines = record.with_suffix(".hea").read_text().replace("r1 12 500 400", "r1 12 500").splitlines()
    record.with_suffix(".hea").write_text("\n".join([lines[0], *(line.split(" 16 0 ")[0] for line in lines[1:])]))
    assert reason(record) == "lead_names"


@pytest.mark.parametrize("fmt", ["16", "212", "32", "516"])
def test_a_header_that_claims_10_to_the_12_samples_allocates_nothing(record, fmt):
    edit(record, "r1 12 500 400", "r1 12 500 1000000000000")
    edit(record, ".dat 16 ", f".dat {fmt} ")
    tracemalloc.start()
    assert reason(record) in ("truncated", "too_long")
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


@pytest.mark.parametrize("mutations", [300, pytest.param(6000, marks=pytest.mark.slow)])
def test_mutated_files_give_a_record_or_a_bad_record(tmp_path, counts, mutations):
    rng = np.random.default_rng(11)
    record = builders.write_record(tmp_path, "r1", counts[:, :100])
    pristine = {suffix: record.with_suffix(suffix).read_bytes() for suffix in (".hea", ".dat")}
    expected = read_wfdb(record).signal
    alphabet = np.frombuffer(b"0123456789 .-+x:/()eE\n\r\t#V\xff\0", dtype=np.uint8)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(mutations):
        suffix = ".hea" if rng.random() < 0.8 else ".dat"
        data = np.frombuffer(pristine[suffix], dtype=np.uint8).copy()
        for _ in range(int(rng.integers(1, 4))):
            place = int(rng.integers(len(data)))
            kind = rng.integers(4)
            if kind == 0:
                data[place] = rng.integers(256)
            elif kind == 1:
                data[place] = rng.choice(alphabet)
            elif kind == 2:
                data = np.delete(data, slice(place, place + int(rng.integers(1, 12))))
            else:
                data = np.insert(data, place, rng.choice(alphabet, int(rng.integers(1, 6))))
            if not len(data):
                break
        record.with_suffix(suffix).write_bytes(data.tobytes())
        began = time.monotonic()
        try:
            read = read_wfdb(record)
            assert isinstance(read, WfdbSignals) and read.signal.shape[0] == 12 and read.signal.dtype == np.float32
            outcomes["read"] += 1
            if suffix == ".dat" and not read.checksum_error:  # three bytes at most differ: the sums tell
                np.testing.assert_array_equal(read.signal, expected)
        except BadRecord as error:
            assert error.reason and "record r1" in error.message
            outcomes["refused"] += 1
        assert time.monotonic() - began < 5
        record.with_suffix(suffix).write_bytes(pristine[suffix])
    assert outcomes["refused"] > mutations / 4 and outcomes["read"] > 0


def test_checksum_of_the_decoded_signal():
    signal = np.zeros((12, 3), np.float32)
    signal[2, 1] = np.nan
    other = signal.copy()
    other.view(np.uint32)[2, 1] ^= 1 << 31  # a NaN of another spelling
    assert signal_checksum(signal) == signal_checksum(other)
    assert signal_checksum(np.zeros((12, 3), np.float32)) != signal_checksum(signal)
