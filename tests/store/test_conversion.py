import numpy as np
import pytest

from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.store.conversion import convert
from ecgtext_plugins.store.recipe import resolve_recipe
from tests.builders import demo_recipe, ecg_counts


def record_of(n_samples=1500, rate=500.0, report="Sinus rhythm", **changes):
    signal = (ecg_counts(np.random.default_rng(0), n_samples, rate) / 200).astype(np.float32)
    values = {"native_rate": rate, "step_uv": 5.0, "signal": signal, **changes}
    return EcgRecord(RecordEntry("7", "p", "a/7", report=report), **values)


def convert_by(record, **changes):
    return convert(record, resolve_recipe(demo_recipe(**changes), "x"))


def test_longer_records_are_cropped_and_shorter_ones_kept():
    record = record_of()
    counts, row = convert_by(record, seconds=2)
    np.testing.assert_array_equal(counts, np.rint(record.signal[:, :1000] * 200))
    assert (row["n_samples"], row["step_uv"], row["native_rate"], row["sample_rate"]) == (1000, 5.0, 500.0, 500.0)
    counts, row = convert_by(record, seconds=10)
    assert counts.shape == (12, 1500) == (12, row["n_samples"])


@pytest.mark.parametrize(("native", "rate"), [(500, 100), (257, 100), (1000, 500), (250, 500)])
def test_resampled_records_have_seconds_times_rate_samples_in_microvolts(native, rate):
    counts, row = convert_by(record_of(n_samples=3 * native, rate=float(native)), seconds=2, sample_rate=rate)
    assert counts.shape == (12, 2 * rate) and row["step_uv"] == 1.0
    whole, _ = convert_by(record_of(n_samples=3 * native, rate=float(native)), seconds=3, sample_rate=rate)
    np.testing.assert_allclose(counts, whole[:, : 2 * rate], atol=3)  # the crop leaves no end effect


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (record_of(report=None), "empty_report"),
        (record_of(report=" *** "), "empty_report"),
        (record_of(n_samples=499), "too_short"),
        (record_of(n_samples=0), "too_short"),
        (record_of(signal=np.ones((12, 1500), np.float32)), "flat_signal"),
        (record_of(native_rate=499.999999), "sampling_rate"),
        (record_of(missing_leads=1), "missing_leads"),
    ],
)
def test_refusals(record, reason):
    with pytest.raises(BadRecord, match="record 7") as caught:
        convert_by(record)
    assert caught.value.reason == reason


def test_reports_that_are_not_required():
    _, row = convert_by(record_of(report=None), reports={"required": False})
    assert row["report"] == ""


def test_missing_samples_follow_the_recipe():
    record = record_of()
    record.signal[2, 100:110] = np.nan
    with pytest.raises(BadRecord, match="0.08% missing") as caught:
        convert_by(record)
    assert caught.value.reason == "missing_samples"
    counts, row = convert_by(record, checks={"missing_samples": "mark", "max_missing_share": 0.01})
    assert (counts[2, 100:110] == -32768).all() and (counts == -32768).sum() == 10
    assert row["missing_share"] == pytest.approx(10 / 12_000)
    record.signal[5] = np.nan
    with pytest.raises(BadRecord, match="nothing in aVF"):
        convert_by(record, checks={"missing_samples": "mark", "max_missing_share": 1.0})


def test_missing_samples_after_the_crop_do_not_matter():
    record = record_of()
    record.signal[2, 1200:] = np.nan
    assert convert_by(record, seconds=2)[1]["missing_share"] == 0


def test_missing_leads_kept_on_demand():
    record = record_of(missing_leads=1 << 11)
    record.signal[11] = np.nan
    counts, row = convert_by(record, max_missing_leads=1)
    assert (counts[11] == -32768).all() and row["missing_leads"] == 1 << 11 and row["missing_share"] == 0


def test_flat_leads_are_told():
    record = record_of()
    record.signal[8] = 0
    assert convert_by(record)[1]["flat_leads"] == 1 << 8
