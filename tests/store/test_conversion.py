from dataclasses import replace

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


@pytest.mark.parametrize("method", ["polyphase", "linear"])
@pytest.mark.parametrize(("crop", "beside"), [("first", [1000]), ("middle", [990, 2000])])
def test_gaps_beside_the_window_leave_no_missing_sample_in_it(method, crop, beside):
    record = record_of(n_samples=3000)
    for start in beside:
        record.signal[:, start : start + 10] = np.nan
    counts, row = convert_by(record, crop=crop, sample_rate=750, resampling=method)
    assert (counts != -32768).all() and row["missing_share"] == 0


def test_missing_leads_kept_on_demand():
    record = record_of(missing_leads=1 << 11)
    record.signal[11] = np.nan
    counts, row = convert_by(record, max_missing_leads=1)
    assert (counts[11] == -32768).all() and row["missing_leads"] == 1 << 11 and row["missing_share"] == 0


def test_flat_leads_are_told():
    record = record_of()
    record.signal[8] = 0
    assert convert_by(record)[1]["flat_leads"] == 1 << 8


def with_counts(n_samples=1500, **changes):
    counts = ecg_counts(np.random.default_rng(1), n_samples)
    counts[3, 7] = counts[:, -1] = -32768
    signal = np.where(counts == -32768, np.nan, counts / 200).astype(np.float32)
    return record_of(signal=signal, counts=counts, **changes)


@pytest.mark.parametrize(
    "changes", [{}, {"seconds": 10}, {"crop": "middle"}, {"seconds": None}, {"seconds": 5, "pad": True}]
)
def test_a_files_own_counts_are_what_the_long_way_gives(changes):
    rule = {"checks": {"missing_samples": "mark", "max_missing_share": 1.0}, **changes}
    record = with_counts()
    short, row = convert_by(record, **rule)
    record.counts = None
    long, other = convert_by(record, **rule)
    np.testing.assert_array_equal(short, long)
    assert row == other and short.dtype == np.int16


def test_the_middle_is_kept_on_demand():
    record = record_of(n_samples=2000)
    counts, _ = convert_by(record, crop="middle")
    np.testing.assert_array_equal(counts, np.rint(record.signal[:, 500:1500] * 200))
    halves, _ = convert_by(record, crop="middle", sample_rate=250)
    whole, _ = convert_by(record, seconds=4, sample_rate=250)
    np.testing.assert_allclose(halves, whole[:, 250:750], atol=3)


@pytest.mark.parametrize("rate", [100, 257, 400])
def test_the_middle_of_a_resampled_record_is_where_it_should_be(rate):
    time = np.arange(3001) / 500
    record = record_of(signal=np.tile(np.sin(2 * np.pi * 3 * time), (12, 1)).astype(np.float32) + 2)
    counts, row = convert_by(record, crop="middle", sample_rate=rate, checks={"limb_leads": "mark"})
    first = (3001 - 1000) // 2 / 500
    grid = np.round(first * rate) / rate + np.arange(2 * rate) / rate
    error = counts[0] / 1000 - (np.sin(2 * np.pi * 3 * grid) + 2)
    assert row["n_samples"] == 2 * rate and np.abs(error[5:-5]).max() < 0.06  # half a sample's time at most


def test_short_records_are_filled_up_on_demand():
    counts, row = convert_by(record_of(n_samples=700), pad=True)
    assert counts.shape == (12, 1000) and (counts[:, 700:] == -32768).all() and (counts[:, :700] != -32768).all()
    assert (row["n_samples"], row["padded_samples"], row["missing_share"]) == (1000, 300, 0)


def test_linear_resampling_takes_the_whole_record_and_crops_then():
    record = record_of(n_samples=2934, rate=400.0)
    counts, row = convert_by(record, resampling="linear", seconds=None)
    assert row["n_samples"] == 3667
    cropped, _ = convert_by(record, resampling="linear", seconds=2)
    np.testing.assert_array_equal(cropped, counts[:, :1000])


def test_a_filter_takes_off_what_it_should():
    record = record_of(n_samples=5000)
    record.signal += np.float32(0.7)
    counts, row = convert_by(record, seconds=10, filter={"high_pass": 0.5})
    assert row["step_uv"] == 1.0 and np.abs(np.median(counts, axis=1)).max() < 150
    with pytest.raises(BadRecord, match="cannot be filtered: the signal has"):
        convert_by(record_of(n_samples=600), filter={"high_pass": 0.5})


def test_short_gaps_are_bridged_on_demand():
    record = record_of()
    record.signal[2, 100:110] = np.nan
    rule = {"missing_samples": "repair"}
    counts, row = convert_by(record, checks=rule)
    assert (counts != -32768).all() and (row["repaired_samples"], row["missing_share"]) == (10, 0)
    line = np.interp(np.arange(100, 110), [99, 110], record.signal[2, [99, 110]])
    np.testing.assert_allclose(counts[2, 100:110], line * 200, atol=0.51)
    record.signal[2, 300:340] = np.nan
    with pytest.raises(BadRecord, match="0.33% missing samples, 0.08 s at a stretch") as caught:
        convert_by(record, checks=rule)
    assert caught.value.reason == "missing_samples"
    counts, row = convert_by(record, checks={**rule, "max_missing_share": 0.01})
    assert row["repaired_samples"] == 10 and row["longest_gap"] == pytest.approx(0.08)
    assert (counts == -32768).sum() == 40


def test_limb_leads_are_derived_on_demand_only():
    complete = record_of()
    lacking = record_of(missing_leads=0b111100)
    lacking.signal[2:6] = np.nan
    with pytest.raises(BadRecord, match="lacks the leads III, aVR, aVL, aVF"):
        convert_by(lacking)
    counts, row = convert_by(lacking, derive_limb_leads=True)
    assert (row["missing_leads"], row["derived_leads"]) == (0, 0b111100)
    np.testing.assert_allclose(counts / 1000 * row["step_uv"], complete.signal[:, :1000], atol=0.006)


def swapped():
    record = record_of()
    record.signal[[0, 1]] = record.signal[[1, 0]]
    return record


def flat():
    record = record_of()
    record.signal[8] = 0
    return record


def clipped():
    record = record_of()
    record.signal[9] = np.minimum(record.signal[9] * 4, 1.5)
    return record


@pytest.mark.parametrize(
    ("record", "check", "column"),
    [
        (swapped(), "limb_leads", "limb_error_mv"),
        (flat(), "flat_leads", "flat_leads"),
        (clipped(), "clipped_leads", "clipped_leads"),
        (record_of(checksum_error="record 7: the samples of lead 'I' sum to 3"), "checksum", "checksum_ok"),
    ],
)
def test_each_check_marks_or_rejects(record, check, column):
    _, clean_row = convert_by(record_of())
    _, row = convert_by(record, checks={check: "mark"})
    assert row[column] != clean_row[column]
    with pytest.raises(BadRecord, match="record 7") as caught:
        convert_by(record, checks={check: "reject"})
    assert caught.value.reason == check


def test_infinite_samples_are_no_ecg():
    record = record_of()
    record.signal[2, 5] = np.inf
    with pytest.raises(BadRecord, match="infinite samples"):
        convert_by(record)


def test_reports_by_the_recipe():
    record = record_of(report="*** Sinus rhythm, rate 0.9 - EKG: o.k.!")
    assert convert_by(record)[1]["report"] == "sinus rhythm, rate 0.9 - ecg: o.k.!"
    bare = convert_by(record, reports={"punctuation": "remove"})[1]["report"]
    assert bare == "sinus rhythm rate 0.9 ecg o k"
    with pytest.raises(BadRecord, match="at least 9 words") as caught:
        convert_by(record, reports={"min_words": 9})
    assert caught.value.reason == "few_words"


def test_official_splits_come_from_the_entry():
    official = {"split": {"by": "official"}}
    recipe = {**resolve_recipe(demo_recipe(), "x"), **official}
    record = record_of()
    with pytest.raises(BadRecord, match="in no split") as caught:
        convert(record, recipe)
    assert caught.value.reason == "no_split"
    record.entry = replace(record.entry, split="valid")
    assert convert(record, recipe)[1]["split"] == "valid"
