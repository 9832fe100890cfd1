import numpy as np
import pandas as pd
import pytest

from ecgtext_plugins.signals.gaps import bridge_gaps, fill_gaps, longest_gap


def with_gaps(share, samples=400, seed=0):
    """Return a random signal with gaps of 1 to 40 samples, some at the ends; the last lead is one gap."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((12, samples)).astype(np.float32)
    for lead in signal:
        for start in rng.integers(-5, samples, round(share * 20)):
            lead[max(0, start) : start + 1 + int(40 * rng.random() ** 3)] = np.nan
    signal[11] = np.nan
    return signal


def longest_by_text(signal):
    """Spell every lead in letters and cut it at what is there."""
    spelt = ["".join(".x"[int(missing)] for missing in np.isnan(lead)) for lead in signal]
    return max(len(run) for text in spelt for run in text.split("."))


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
def test_longest_gap(share):
    signal = with_gaps(share)
    assert longest_gap(signal) == 400
    assert longest_gap(signal, missing_leads=1 << 11) == longest_by_text(signal[:11])
    without = np.delete(signal, [2, 3, 11], axis=0)
    assert longest_gap(signal, missing_leads=1 << 2 | 1 << 3 | 1 << 11) == longest_by_text(without)


def test_no_gap_at_all():
    assert longest_gap(np.zeros((12, 100), np.float32)) == 0
    assert longest_gap(np.zeros((12, 0), np.float32)) == 0
    assert longest_gap(np.full((12, 9), np.nan, np.float32), missing_leads=0xFFF) == 0


def test_gap_at_the_end_of_one_lead_does_not_go_on_in_the_next():
    signal = np.zeros((12, 50), np.float32)
    signal[0, 40:] = np.nan
    signal[1, :7] = np.nan
    assert longest_gap(signal) == 10


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("longest", [1, 5, 25])
def test_short_inner_gaps_become_straight_lines(share, longest):
    signal = with_gaps(share)
    before = signal.copy()
    bridged, repaired = bridge_gaps(signal, longest)
    expected = signal.copy()
    for lead in expected:
        series = pd.Series(lead.astype(np.float64))
        lengths = series.isna().groupby(series.notna().cumsum()).transform("sum")
        inside = series.ffill().notna() & series.bfill().notna()
        short = series.isna() & inside & (lengths <= longest)
        lead[short] = series.interpolate()[short]
    np.testing.assert_allclose(bridged, expected, atol=1e-6)
    assert repaired == np.isnan(signal).sum() - np.isnan(bridged).sum() > 0
    np.testing.assert_array_equal(signal, before)


def test_what_is_not_bridged():
    signal = np.zeros((12, 20), np.float32)
    assert bridge_gaps(signal, 5)[0] is signal
    signal[0, :2] = signal[1, -2:] = signal[2, 5:11] = signal[3] = np.nan
    bridged, repaired = bridge_gaps(signal, 5)
    assert repaired == 0
    np.testing.assert_array_equal(bridged, signal)
    assert bridge_gaps(signal, 6)[1] == 6
    assert bridge_gaps(signal, 0)[1] == 0


def test_filling_for_filters_leaves_no_gap_and_keeps_what_is_there():
    signal = with_gaps(0.4)
    gaps = np.isnan(signal)
    filled = fill_gaps(signal, gaps)
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(filled[~gaps], signal[~gaps])
    expected = pd.DataFrame(signal.T.astype(np.float64)).interpolate(limit_direction="both").fillna(0.0).to_numpy().T
    np.testing.assert_allclose(filled, expected, atol=1e-6)
