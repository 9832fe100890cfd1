from fractions import Fraction

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.signal import resample as fourier_resample

from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.signals.resampling import METHODS, rational_ratio, resample, resample_by, resample_linear
from tests.downloads.fairseq_signals import straight_lines


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


RATES = [
    (400, 500, 2934, 3667),
    (400, 500, 4096, 5120),
    (1000, 500, 10001, 5000),
    (257, 500, 462, 898),
    (500, 100, 7, 1),
]


def as_fairseq_signals(signal, native_rate, rate):
    """Resample as its preprocessing does."""
    length = int(signal.shape[-1] * (rate / native_rate))
    lines = straight_lines(signal, length)
    newer = interp1d(np.linspace(0, length - 1, signal.shape[-1]), signal, kind="linear")(np.arange(length))
    np.testing.assert_allclose(lines, newer, rtol=1e-12, atol=1e-14)
    return lines


@pytest.mark.parametrize(("native", "rate", "samples", "length"), RATES[:4])
def test_linear_resampling_is_that_of_fairseq_signals_to_the_last_bit(native, rate, samples, length):
    signal = np.random.default_rng(0).standard_normal((12, samples))
    signal[4] = np.nan
    signal[7, 100:130] = np.nan
    resampled = resample_linear(signal, native, rate, dtype=np.float64)
    assert resampled.shape == (12, length) and resampled.dtype == np.float64
    np.testing.assert_array_equal(resampled, as_fairseq_signals(signal, native, rate))


@pytest.mark.parametrize(("native", "rate", "samples", "length"), RATES)
def test_linear_resampling_draws_straight_lines(native, rate, samples, length):
    signal = np.random.default_rng(0).standard_normal((12, samples)).astype(np.float32)
    resampled = resample_linear(signal, native, rate)
    assert resampled.shape == (12, length) and resampled.dtype == np.float32
    grid = np.linspace(0, length - 1, samples)
    expected = [np.interp(np.arange(length), grid, lead) for lead in signal] if length > 1 else signal[:, :1]
    np.testing.assert_allclose(resampled, expected, atol=1e-6)


def test_linear_resampling_keeps_gaps():
    signal = sines(400).astype(np.float32)
    whole = resample_linear(signal, 400, 500)
    signal[3, 800:880] = np.nan
    signal[5] = np.nan
    resampled = resample_linear(signal, 400, 500)
    missing = np.isnan(resampled)
    assert missing[3, 1001:1098].all() and missing[3].sum() <= 102
    assert missing[5].all() and not missing[[0, 1, 2, 4, 6, 7, 8, 9, 10, 11]].any()
    np.testing.assert_array_equal(resampled[~missing], whole[~missing])


def test_linear_resampling_of_next_to_nothing():
    signal = np.full((12, 1), 2.5, np.float32)
    np.testing.assert_array_equal(resample_linear(signal, 100, 500), np.full((12, 5), 2.5))
    assert resample_linear(signal, 500, 100).shape == (12, 0)
    np.testing.assert_array_equal(resample_linear(signal, 500, 500), signal)


def test_linear_resampling_has_no_filter():
    time = np.arange(5000) / 500
    signal = np.tile(np.sin(2 * np.pi * 80 * time), (12, 1))
    assert np.abs(resample_linear(signal, 500, 100)).max() > 0.5


def test_methods_by_name():
    signal = sines(400).astype(np.float32)
    by_name = {method: resample_by(method, signal, 400.0, 500.0, "record 1") for method in METHODS}
    np.testing.assert_array_equal(by_name["polyphase"], resample(signal, Fraction(5, 4)))
    np.testing.assert_array_equal(by_name["linear"], resample_linear(signal, 400, 500))
    for method in METHODS:
        np.testing.assert_array_equal(resample_by(method, signal, 500.0, 500.0, "record 1"), signal)
    with pytest.raises(ValueError, match="'cubic': expected one of polyphase, linear"):
        resample_by("cubic", signal, 400.0, 500.0, "record 1")
