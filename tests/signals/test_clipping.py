import numpy as np
import pytest

from ecgtext_plugins.signals.clipping import clipped_leads
from ecgtext_plugins.signals.quality import lead_flags, lead_names
from tests.signals.simulated import recordings


def held_leads(signal, samples):
    """Return the leads that keep an extreme for `samples` and 0.5 mV from the median, sample by sample; (12,) bool."""
    held = []
    for lead in signal:
        longest = 0
        for mirrored in (lead, -lead):
            run = 0
            top = np.nanmax(mirrored)
            for value in mirrored if top - np.nanmedian(mirrored) >= 0.5 else ():
                run = run + 1 if value == top else 0
                longest = max(longest, run)
        held.append(longest >= samples)
    return np.array(held)


def cut_off(signal, share):
    """Limit every lead to `share` of its heights above and below its median."""
    median = np.median(signal, axis=1, keepdims=True)
    highest, lowest = signal.max(axis=1, keepdims=True), signal.min(axis=1, keepdims=True)
    return np.clip(signal, median + share * (lowest - median), median + share * (highest - median))


@pytest.mark.parametrize("noisy", [True, False])
def test_clean_recordings_are_not_clipped(noisy):
    assert [clipped_leads(signal, 500.0) for signal in recordings(200, noisy)] == [0] * 200


@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.parametrize("share", [0.7, 0.85])
def test_waves_cut_off_are_found_where_a_plateau_is(noisy, share):
    expected, found = [], []
    for signal in recordings(40, noisy):
        signal = cut_off(signal, share)
        expected.append(held_leads(signal, 5))
        found.append(lead_flags(clipped_leads(signal, 500.0)))
    expected, found = np.stack(expected), np.stack(found)
    assert expected.sum() > 100 and not (found & ~expected).any()
    assert found[expected].mean() > 0.97


def triangle(samples=1000, height=2.0):
    """Return twelve leads with one triangle of 100 samples on a baseline of 0."""
    lead = np.zeros(samples, np.float32)
    lead[200:300] = height * (1 - np.abs(np.arange(-50, 50)) / 50)
    return np.tile(lead, (12, 1))


@pytest.mark.parametrize(("rate", "shortest"), [(100, 3), (250, 3), (257, 3), (500, 5), (1000, 10)])
def test_plateau_of_ten_milliseconds(rate, shortest):
    rng = np.random.default_rng(0)
    signal = (rng.standard_normal((12, 2000)) * 0.01).astype(np.float32)
    signal[6, 500 : 500 + shortest] = 1.5
    signal[7, 500 : 500 + shortest - 1] = 1.5
    signal[8, 500 : 500 + shortest] = -1.5
    signal[9, 500 : 500 + shortest] = 0.45
    assert lead_names(clipped_leads(signal, rate)) == ["V1", "V3"]


def test_plateau_at_either_end_and_beside_a_gap():
    signal = triangle()
    signal[0, :20] = signal[1, -20:] = 3.0
    signal[2, 500:520], signal[2, 520:600], signal[2, 490:500] = -3.0, np.nan, np.nan
    assert lead_names(clipped_leads(signal, 500)) == ["I", "II", "III"]


def test_a_spike_as_high_as_a_round_wave_is_no_plateau():
    signal = triangle(height=0.0)
    wave = np.exp(-0.5 * (np.arange(-150, 150) / 40) ** 2)
    signal[:, 300:600] = np.rint(wave / 0.005) * np.float32(0.005)
    assert (signal[0] == signal[0].max()).sum() >= 5
    signal[:, [700, 720]] = signal[0].max()
    assert clipped_leads(signal, 500) == 0
    signal[1, 800:805] = signal[0].max()
    assert lead_names(clipped_leads(signal, 500)) == ["II"]


def test_plateau_is_not_put_together_from_two_leads():
    signal = triangle()
    signal[3, -3:] = signal[4, :3] = 3.0
    assert clipped_leads(signal, 500) == 0


def test_resting_at_the_baseline_is_no_clipping():
    assert clipped_leads(triangle(), 500) == 0
    assert clipped_leads(-triangle(), 500) == 0
    assert clipped_leads(np.zeros((12, 500), np.float32), 500) == 0


def test_nothing_to_look_at():
    assert clipped_leads(np.full((12, 100), np.nan, np.float32), 500) == 0
    assert clipped_leads(np.zeros((12, 2), np.float32), 500) == 0
    assert clipped_leads(np.zeros((12, 0), np.float32), 500) == 0


def test_infinite_samples_do_no_harm():
    signal = triangle()
    signal[5, 10:40] = np.inf
    signal[6, 10:40] = 9.0
    assert lead_names(clipped_leads(signal, 500)) == ["V1"]
