import time

import numpy as np

from ecgtext_plugins.signals.limb_leads import limb_errors
from ecgtext_plugins.signals.measures import Measures, measure
from ecgtext_plugins.signals.quality import lead_names
from tests.signals.simulated import recordings


def test_a_good_recording():
    signal = recordings(200)[1]
    found = measure(signal, 0, 500.0)
    assert found == Measures(0.0, 0.0, 0, 0, 0, float(limb_errors(signal)))
    assert type(found.limb_error_mv) is float and found.limb_error_mv < 0.01


def test_everything_that_can_be_wrong():
    signal = recordings(200)[1].copy()
    signal[3] = np.nan  # the file lacks it
    signal[11] = np.nan
    signal[8] = 0.25
    signal[7, 1000:1050] = np.nan
    signal[6] = np.where(np.arange(5000) % 500 < 20, 5.0, signal[6])
    signal[[1, 2]] = signal[[2, 1]]
    found = measure(signal, 1 << 3, 500.0)
    assert found.nan_share == (5000 + 50) / (11 * 5000)
    assert found.longest_gap_seconds == 10.0
    assert lead_names(found.empty_leads) == ["V6"]
    assert lead_names(found.flat_leads) == ["V3"]
    assert lead_names(found.clipped_leads) == ["V1"]
    assert found.limb_error_mv > 0.05


def test_missing_leads_count_for_nothing_whatever_stands_there():
    signal = recordings(200)[1].copy()
    good = measure(signal, 1 << 4, 500.0)
    cut_off = np.minimum(10 * signal[4], 0.6)
    assert measure(np.tile(cut_off, (12, 1)), 0, 500.0).clipped_leads == 0xFFF
    for placeholder in (0.0, np.nan, 7.0, cut_off):
        signal[4] = placeholder
        signal[4, :100] = np.nan
        assert measure(signal, 1 << 4, 500.0) == good


def test_flat_limb_leads_are_told_as_flat_only():
    signal = recordings(200)[1].copy()
    signal[0] = 0.0
    found = measure(signal, 0, 500.0)
    assert lead_names(found.flat_leads) == ["I"] and found.limb_error_mv < 0.01


def test_an_empty_signal():
    found = measure(np.zeros((12, 0), np.float32), 0, 500.0)
    assert (found.nan_share, found.longest_gap_seconds, found.flat_leads, found.clipped_leads) == (0.0, 0.0, 0, 0)
    assert np.isnan(found.limb_error_mv)


def test_cost_per_recording():
    signals = recordings(200)
    measure(signals[0], 0, 500.0)
    times = []
    for signal in signals:
        start = time.perf_counter()
        measure(signal, 0, 500.0)
        times.append(time.perf_counter() - start)
    assert np.median(times) < 2e-3  # far above the usual 0.15 ms, so that a busy machine does not fail it
