import io
import pickle

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from ecgtext_plugins.errors import BadRecord
from tests import builders
from tests.corpora.reading_generic import FORMS, LEADS, read, reason
from tests.downloads import generic as download


@pytest.mark.parametrize(
    ("layout", "turned"), [("auto", False), ("auto", True), ("leads_first", False), ("samples_first", True)]
)
def test_layouts(tmp_path, layout, turned):
    rows = download.write_download(tmp_path, 1)
    signal = rows[0]["signal"]
    np.save(tmp_path / "ecgs" / "r000.npy", np.asfortranarray(signal) if not turned else signal.T)
    np.testing.assert_array_equal(read(tmp_path, layout=layout).signal, signal)


@pytest.mark.parametrize("order", ["<", ">"])
def test_int16_counts_stay_exact(tmp_path, order):
    download.write_download(tmp_path, 1)
    counts = builders.ecg_counts(np.random.default_rng(1), 800)
    counts[4, 7] = -32768
    np.save(tmp_path / "ecgs" / "r000.npy", counts.astype(f"{order}i2"))
    record = read(tmp_path, unit="counts", gain=200)
    np.testing.assert_array_equal(record.counts, counts)
    assert record.step_uv == 5.0 and np.isnan(record.signal[4, 7]) and np.isnan(record.signal).sum() == 1
    expected = np.where(counts == -32768, np.nan, counts / 200).astype(np.float32)
    np.testing.assert_array_equal(record.signal, expected)
    record = read(tmp_path, unit="uV")
    assert record.step_uv == 1.0
    np.testing.assert_array_equal(record.counts, counts)


@pytest.mark.parametrize(("unit", "factor"), [("mV", 1.0), ("uV", 1e-3), ("V", 1e3)])
def test_units(tmp_path, unit, factor):
    rows = download.write_download(tmp_path, 1)
    np.save(tmp_path / "ecgs" / "r000.npy", rows[0]["signal"].astype(np.float64) / factor)
    np.testing.assert_allclose(read(tmp_path, unit=unit).signal, rows[0]["signal"], rtol=1e-6)


def test_leads_go_by_name_and_may_be_missing(tmp_path):
    rows = download.write_download(tmp_path, 1)
    leads = ["v6", "ii", "AVR", "lead I", "V1", "V2", "V3", "V4", "V5", "aVF", "aVL"]
    order = [LEADS.index(lead) for lead in ("V6", "II", "aVR", "I", "V1", "V2", "V3", "V4", "V5", "aVF", "aVL")]
    np.save(tmp_path / "ecgs" / "r000.npy", rows[0]["signal"][order])
    record = read(tmp_path, leads=leads)
    assert record.missing_leads == 1 << 2 and np.isnan(record.signal[2]).all()
    present = [place for place in range(12) if place != 2]
    np.testing.assert_array_equal(record.signal[present], rows[0]["signal"][present])
    assert reason(tmp_path, r"shape \(11, 1000\): expected 12 leads") == "shape"


def test_columns_of_tables_may_be_called_anything(tmp_path):
    rows = download.write_download(tmp_path, 1, form="parquet")
    signal = rows[0]["signal"]
    table = pa.table({"t": np.arange(1000), "MDC_ECG_LEAD_II": signal[1], "MDC_ECG_LEAD_V1": signal[6]})
    pq.write_table(table, tmp_path / "ecgs" / "r000.parquet")
    key = {"II": "MDC_ECG_LEAD_II", "V1": "MDC_ECG_LEAD_V1"}
    record = read(tmp_path, key=key, **FORMS["parquet"])
    np.testing.assert_array_equal(record.signal[[1, 6]], signal[[1, 6]])
    assert record.missing_leads == 0b111111111111 ^ 0b1000010
    assert reason(tmp_path, "map leads to columns", **FORMS["parquet"]) == "lead_names"
    assert reason(tmp_path, "expected c7", key={"II": "c7"}, **FORMS["parquet"]) == "lead_names"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("I;II\n0.5;-1\n;nan\n 2e-3 ;0\n", [[0.5, np.nan, 0.002], [-1, np.nan, 0]]),
        ("\ufeffI\tII\n1\t2\n3\t4\n5\t6\n", [[1, 3, 5], [2, 4, 6]]),
        ('time,"I",ii\r\n0,0.25,1\r\n1,0.5,1\r\n2,0,1\r\n', [[0.25, 0.5, 0], [1, 1, 1]]),
    ],
)
def test_csv_files_of_many_kinds(tmp_path, content, expected):
    download.write_download(tmp_path, 1, form="csv")
    (tmp_path / "ecgs" / "r000.csv").write_text(content, encoding="utf-8")
    np.testing.assert_array_equal(read(tmp_path, **FORMS["csv"]).signal[:2], np.array(expected, dtype=np.float32))


def test_whole_numbers_in_csv_keep_their_step(tmp_path):
    download.write_download(tmp_path, 1, form="csv")
    (tmp_path / "ecgs" / "r000.csv").write_text("I,II\n100,-7\n40,3\n")
    record = read(tmp_path, **{**FORMS["csv"], "unit": "counts", "gain": 200})
    assert record.step_uv == 5.0
    np.testing.assert_array_equal(record.signal[:2], np.array([[0.5, 0.2], [-0.035, 0.015]], dtype=np.float32))


def pickled(path):
    with open(path, "wb") as handle:
        pickle.dump(np.zeros((12, 10)), handle)


class Bomb:
    def __reduce__(self):
        return (print, ("unpickled",))


@pytest.mark.parametrize(
    ("write", "code"),
    [
        (lambda path: np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True), "objects"),
        (lambda path: np.save(path, np.array([Bomb()], dtype=object), allow_pickle=True), "objects"),
        (pickled, "unreadable"),
        (lambda path: path.write_bytes(b""), "unreadable"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "truncated"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "truncated"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "unreadable"),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "truncated"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"(12, 1000)", b"(12, 10000000000000)")), "truncated"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"(12, 1000)", b"(12, 9999)")), "truncated"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"(12, 1000)", b"(-12,-100)")), "truncated"),
        (lambda path: np.save(path, np.zeros(1000)), "shape"),
        (lambda path: np.save(path, np.zeros((1, 12, 1000))), "shape"),
        (lambda path: np.save(path, np.zeros((11, 1000))), "shape"),
        (lambda path: np.save(path, np.zeros((12, 12))), "shape"),
        (lambda path: np.save(path, np.zeros((12, 1000), dtype=complex)), "samples"),
        (lambda path: np.save(path, np.zeros((12, 1000), dtype=bool)), "samples"),
        (lambda path: np.save(path, np.full((12, 1000), "x")), "samples"),
        (lambda path: np.save(path, np.zeros((12, 1000), dtype=[("a", "f4")])), "samples"),
        (lambda path: np.save(path, np.full((12, 1000), 2000.0)), "amplitude"),
        (lambda path: np.save(path, np.full((12, 1000), -np.inf)), "amplitude"),
        (lambda path: path.unlink(), "missing_signal_file"),
        (lambda path: (path.unlink(), path.mkdir()), "unreadable"),
    ],
)
def test_npy_files_that_cannot_be_used(tmp_path, capsys, write, code):
    download.write_download(tmp_path, 1)
    write(tmp_path / "ecgs" / "r000.npy")
    assert reason(tmp_path) == code
    assert "unpickled" not in capsys.readouterr().out


def write_73(path, **what):
    """Write a MATLAB 7.3 file with a dataset ecg; one without data takes no room."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("ecg", **({"dtype": "f4", "chunks": True} if "shape" in what else {}), **what)
    with open(path, "r+b") as handle:
        handle.write(b"MATLAB 7.3 MAT-file")


@pytest.mark.parametrize(
    ("write", "code"),
    [
        (lambda path: path.write_bytes(b"nothing"), "unreadable"),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "unreadable"),
        (lambda path: savemat(path, {"val": np.zeros((12, 10))}), "no_variable"),
        (lambda path: savemat(path, {"ecg": {"data": np.zeros((12, 10))}}), "no_variable"),
        (lambda path: savemat(path, {"ecg": "text"}), "no_variable"),
        (lambda path: path.write_bytes(b"MATLAB 7.3 MAT-file, and no HDF5"), "unreadable"),
        (lambda path: h5py.File(path, "w").close(), "unreadable"),
        (lambda path: write_73(path, shape=(1 << 40, 12)), "too_long"),
        (lambda path: write_73(path, data="text"), "no_variable"),
        (lambda path: write_73(path, data=h5py.Empty("f4")), "no_variable"),
    ],
)
def test_mat_files_that_cannot_be_used(tmp_path, write, code):
    download.write_download(tmp_path, 1, form="mat")
    write(tmp_path / "ecgs" / "r000.mat")
    assert reason(tmp_path, **FORMS["mat"]) == code


@pytest.mark.parametrize(
    ("form", "content", "code"),
    [
        ("csv", b"", "unreadable"),
        ("csv", b"I,II\n1,2,3\n", "unreadable"),
        ("csv", b"I,II\n1,high\n", "samples"),
        ("csv", b"I;II\n1,5;2,5\n", "samples"),
        ("csv", b"I,II\n1,\xe4\n", "unreadable"),
        ("csv", b"I,II,ii\n1,2,3\n", "duplicate_lead"),
        ("csv", b"I,II,II\n1,2,3\n", "unreadable"),
        ("csv", b"a,b\n1,2\n", "lead_names"),
        ("parquet", b"PAR1 and so on PAR1", "unreadable"),
        ("parquet", b"", "unreadable"),
    ],
)
def test_tables_of_samples_that_cannot_be_used(tmp_path, form, content, code):
    download.write_download(tmp_path, 1, form=form)
    (tmp_path / "ecgs" / f"r000.{form}").write_bytes(content)
    assert reason(tmp_path, **FORMS[form]) == code


def test_parquet_with_other_than_numbers(tmp_path):
    download.write_download(tmp_path, 1, form="parquet")
    path = tmp_path / "ecgs" / "r000.parquet"
    for values in (["a", "b"], [[1.0], [2.0]], [True, False]):
        pq.write_table(pa.table({"I": values}), path)
        assert reason(tmp_path, **FORMS["parquet"]) == "samples"
    pq.write_table(pa.table({"I": [1.0, None], "II": pa.array([None, 2], pa.int32())}), path)
    np.testing.assert_array_equal(read(tmp_path, **FORMS["parquet"]).signal[:2], [[1, np.nan], [np.nan, 2]])


def test_damaged_files_are_failures_never_crashes(tmp_path):
    rng = np.random.default_rng(0)
    for form in ("npy", "mat", "parquet"):
        download.write_download(tmp_path / form, 1, form=form)
        path = tmp_path / form / "ecgs" / f"r000.{form}"
        content = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(content)
            for place in rng.integers(0, min(len(damaged), 400), 3):
                damaged[place if rng.random() < 0.5 else -place - 1] = rng.integers(256)
            path.write_bytes(damaged)
            try:
                assert read(tmp_path / form, **FORMS[form]).signal.shape[0] == 12
            except BadRecord as error:
                assert "record r000" in error.message


@pytest.mark.parametrize(
    ("rate", "unit", "code"),
    [
        ("", "mV", "sampling_rate"),
        ("fast", "mV", "sampling_rate"),
        ("5", "mV", "sampling_rate"),
        ("500", "", "unit"),
        ("500", "mv", "unit"),
        ("500", "counts", "unit"),
    ],
)
def test_rates_and_units_of_the_table(tmp_path, rate, unit, code):
    rows = download.write_download(tmp_path, 1)
    rows[0] |= {"hz": rate, "in": unit}
    download.write_table(tmp_path, rows, (*download.COLUMNS, "hz", "in"))
    columns = {"rate": "hz", "unit": "in"}
    assert reason(tmp_path, "in the table: expected", columns=columns, rate=None, unit=None) == code


def test_npy_of_version_2_and_fortran_order(tmp_path):
    rows = download.write_download(tmp_path, 1)
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asfortranarray(rows[0]["signal"]), version=(2, 0))
    (tmp_path / "ecgs" / "r000.npy").write_bytes(stream.getvalue())
    np.testing.assert_array_equal(read(tmp_path).signal, rows[0]["signal"])
