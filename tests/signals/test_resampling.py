from fractions import Fraction

import numpy as np
import pytest
from scipy.signal import resample as fourier_resample

from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.signals.resampling import rational_ratio, resample


def sines(rate: float, seconds: float = 4.0, offset: float = 0.0) -> np.ndarray:
    time = np.arange(round(rate * seconds)) / rate
    return np.stack([np.sin(2 * np.pi * (1 + lead) * time + lead) + offset for lead in range(12)])


@pytest.mark.parametrize(
    ("native", "rate"), [(500, 100), (1000, 500), (257, 500), (360, 250), (499.99, 500), (100, 100)]
)
def test_sines_become_the_same_sines_at_the_other_rate(native, rate):
    resampled = resample(sines(native), rational_ratio(native, rate, "record 1"))
    expected = sines(rate)
    length = min(resampled.shape[1], expected.shape[1])
    inner = slice(rate // 2, length - rate // 2)
    assert resampled.dtype == np.float32
    assert resampled.shape[1] == -(-sines(native).shape[1] * Fraction(str(rate)) // Fraction(str(native)))
    np.testing.assert_allclose(resampled[:, inner], expected[:, inner], atol=0.01)


def test_periodic_signal_agrees_with_fourier_resampling():
    signal = sines(500)
    expected = fourier_resample(signal, 400, axis=1)
    np.testing.assert_allclose(resample(signal, Fraction(1, 5))[:, 50:-50], expected[:, 50:-50], atol=0.01)


def test_frequencies_above_the_new_nyquist_are_removed():
    time = np.arange(5000) / 500
    signal = np.tile(np.sin(2 * np.pi * 80 * time), (12, 1))
    assert np.abs(resample(signal, Fraction(1, 5))[:, 50:-50]).max() < 0.01


def test_offset_makes_no_end_effect():
    flat = np.full((12, 1000), 7.5)
    np.testing.assert_allclose(resample(flat, Fraction(1, 5)), 7.5, atol=1e-3)


def test_gaps_stay_gaps_and_spread_no_further():
    signal = sines(500).astype(np.float32)
    whole = resample(signal, Fraction(1, 5))
    signal[3, 1000:1100] = np.nan
    signal[5] = np.nan
    resampled = resample(signal, Fraction(1, 5))
    missing = np.isnan(resampled)
    assert missing[3, 200:220].all() and missing[3].sum() <= 22
    assert missing[5].all() and not missing[[0, 1, 2, 4, 6, 7, 8, 9, 10, 11]].any()
    np.testing.assert_allclose(resampled[3, :180], whole[3, :180], atol=0.02)


def test_absurd_ratio_is_refused_before_a_filter_is_made():
    with pytest.raises(BadRecord, match="record 9 .*499.999999999") as caught:
        rational_ratio(499.999999999, 500, "record 9")
    assert caught.value.reason == "sampling_rate"
