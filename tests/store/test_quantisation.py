import numpy as np
import pytest

from ecgtext_plugins.store.quantisation import MISSING, choose_step, quantise, restore


@pytest.mark.parametrize("gain", [200.0, 1000.0, 204.8, 333.0, 4880.0])
def test_integer_sources_stay_exact(gain):
    counts = np.random.default_rng(0).integers(-32767, 32768, size=(12, 500)).astype(np.int16)
    counts[0, 0], counts[0, 1] = 32767, -32767
    signal = (counts / gain).astype(np.float32)
    step = choose_step(signal, 1000 / gain)
    assert step == 1000 / gain
    np.testing.assert_array_equal(quantise(signal, step), counts)
    np.testing.assert_allclose(restore(counts, step / 1000), signal, rtol=2e-7)


def test_other_sources_get_one_microvolt_or_what_the_range_asks():
    signal = np.random.default_rng(1).uniform(-3, 3, size=(12, 500)).astype(np.float32)
    assert choose_step(signal, None) == 1.0
    np.testing.assert_allclose(restore(quantise(signal, 1.0), 1e-3), signal, atol=0.501e-3)
    for peak, step in [(32.767, 1.0), (33.0, 2.0), (65.534, 2.0), (70.0, 3.0), (1000.0, 31.0)]:
        signal[3, 3] = -peak
        assert choose_step(signal, None) == step
        assert quantise(signal, step).min() >= -32767
    assert choose_step(signal, 5.0) == 31.0  # the source's step, were it kept, would overflow


def test_missing_is_its_own_count():
    signal = np.zeros((12, 4), np.float32)
    signal[1, 2] = np.nan
    counts = quantise(signal, choose_step(signal, None))
    assert counts[1, 2] == MISSING == -32768 and (counts == MISSING).sum() == 1
    np.testing.assert_array_equal(restore(counts, 0.001), signal)
    assert choose_step(np.full((12, 2), np.nan, np.float32), None) == 1.0


def test_restore_into_a_given_array_with_another_word_for_missing():
    counts = np.array([[0, MISSING, 5], [-7, 32767, -32767]], np.int16)
    out = np.full((2, 3), 9, np.float32)
    assert restore(counts, 0.005, out=out, missing=0.0) is out
    np.testing.assert_array_equal(out, np.array([[0, 0, 5], [-7, 32767, -32767]], np.float32) * np.float32(0.005))
    assert restore(np.zeros((12, 0), np.int16), 0.005).shape == (12, 0)
    every = np.arange(-32767, 32768, dtype=np.int16)
    for step in (0.005, 0.0048828125, 0.0010000001):
        np.testing.assert_array_equal(restore(every, step), every.astype(np.float32) * np.float32(step))
