import numpy as np
import pytest
from scipy.signal import butter, freqz, iirnotch, sosfreqz

from ecgtext_plugins.signals.filtering import check_filters, clean, padding
from tests.signals.simulated import recordings

RATE = 500.0
TIME = np.arange(5000) / RATE
INNER = slice(500, -500)  # what the ends do not reach


def leads(wave):
    return np.tile(wave, (12, 1)).astype(np.float32)


@pytest.mark.parametrize("phase", [0.0, 0.7, 1.57, 3.0])
def test_drift_is_removed(phase):
    drift = leads(np.sin(2 * np.pi * 0.1 * TIME + phase))
    cleaned = clean(drift, RATE)
    assert np.abs(cleaned[:, INNER]).max() < 0.05
    assert np.abs(cleaned).max() < 0.2


@pytest.mark.parametrize("mains", [50, 60])
def test_hum_is_removed_by_the_notch_only(mains):
    hum = leads(np.sin(2 * np.pi * mains * TIME + 0.7))
    assert np.abs(clean(hum, RATE, notch=mains)[:, INNER]).max() < 0.01
    assert np.abs(clean(hum, RATE)[:, INNER]).max() > 0.8


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_a_ten_hertz_sine_is_kept(order, offset):
    sine = leads(np.sin(2 * np.pi * 10 * TIME + 0.4))
    cleaned = clean(sine + np.float32(offset), RATE, notch=50, order=order)
    assert cleaned.dtype == np.float32 and cleaned.shape == sine.shape
    assert np.abs(cleaned - sine)[:, INNER].max() < 0.02
    assert np.abs(cleaned - sine).max() < 0.1


@pytest.mark.parametrize(
    "keys",
    [
        {"high_pass": 0.5, "low_pass": None},
        {"high_pass": None, "low_pass": 40.0},
        {"high_pass": None, "low_pass": None, "notch": 60.0},
        {"high_pass": 1.0, "low_pass": 45.0, "notch": 50.0, "order": 3},
    ],
    ids=str,
)
def test_an_impulse_has_the_squared_response_of_the_filters(keys):
    impulse = np.zeros((12, 16384), np.float32)
    impulse[:, 8192] = 1.0
    spectrum = np.fft.rfft(np.roll(clean(impulse, RATE, **keys), -8192, axis=1).astype(np.float64), axis=1)
    frequencies = np.fft.rfftfreq(16384, 1 / RATE)
    order = keys.get("order", 2)
    expected = np.ones(len(frequencies))
    for kind, cut_off in (("highpass", keys["high_pass"]), ("lowpass", keys["low_pass"])):
        if cut_off is not None:
            sections = butter(order, cut_off, kind, fs=RATE, output="sos")
            expected *= np.abs(sosfreqz(sections, frequencies, fs=RATE)[1]) ** 2
    if keys.get("notch"):
        expected *= np.abs(freqz(*iirnotch(keys["notch"], 30.0, fs=RATE), worN=frequencies, fs=RATE)[1]) ** 2
    np.testing.assert_allclose(spectrum.real, np.tile(expected, (12, 1)), atol=1e-4)
    np.testing.assert_allclose(spectrum.imag, 0.0, atol=1e-4)  # no phase: nothing is delayed


def test_half_of_the_amplitude_is_left_at_a_cut_off():
    sine = leads(np.sin(2 * np.pi * 40 * TIME))
    cleaned = clean(sine, RATE, high_pass=None, low_pass=40.0)
    np.testing.assert_allclose(np.abs(cleaned[:, INNER]).max(), 0.5, atol=0.01)


def test_ends_are_like_those_of_a_longer_recording():
    rng = np.random.default_rng(0)
    apart = []
    for signal in recordings(200)[:20]:
        longer = np.roll(np.tile(signal, 3), rng.integers(5000), axis=1) + np.float32(rng.normal())
        difference = clean(longer[:, 5000:10000], RATE) - clean(longer, RATE)[:, 5000:10000]
        assert np.abs(difference[:, INNER]).max() < 0.05
        apart.append(np.abs(difference[:, [0, -1]]))
    assert np.mean(apart) < 0.06


def test_gaps_stay_gaps_and_nothing_else_becomes_one():
    signal = recordings(200)[2].copy()
    whole = clean(signal, RATE, notch=60)
    signal[3, 2000:2020] = signal[4, :100] = signal[5] = np.nan
    before = signal.copy()
    cleaned = clean(signal, RATE, notch=60)
    np.testing.assert_array_equal(np.isnan(cleaned), np.isnan(signal))
    np.testing.assert_array_equal(signal, before)
    np.testing.assert_array_equal(cleaned[[0, 1, 2, 6]], whole[[0, 1, 2, 6]])
    np.testing.assert_allclose(cleaned[3, 3000:], whole[3, 3000:], atol=0.02)


def test_no_filter_changes_nothing():
    signal = recordings(200)[0]
    np.testing.assert_array_equal(clean(signal, RATE, high_pass=None, low_pass=None), signal)
    assert padding(RATE, None, None, None) == 0


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"low_pass": 50.0}, "low_pass is 50 Hz for signals of 100 samples a second: .*less than 50 Hz"),
        ({"low_pass": 40.0, "notch": 60.0}, "notch is 60 Hz .*less than 50 Hz"),
        ({"low_pass": 40.0, "high_pass": -0.5}, "high_pass is -0.5 Hz .*more than 0"),
        ({"low_pass": 40.0, "high_pass": float("nan")}, "high_pass is nan Hz"),
        ({"low_pass": 10.0, "high_pass": 10.0}, "high_pass is 10 Hz and low_pass 10 Hz: expected high_pass below"),
        ({"low_pass": 40.0, "order": 0}, "order is 0: expected a whole number from 1 to 10"),
        ({"low_pass": 40.0, "order": 2.5}, "order is 2.5"),
    ],
)
def test_filters_that_cannot_be_are_refused(keys, sentence):
    with pytest.raises(ValueError, match=sentence):
        clean(np.zeros((12, 1000), np.float32), 100.0, **keys)
    with pytest.raises(ValueError, match=sentence):
        check_filters(100.0, **{"high_pass": 0.5, "notch": None, **keys})


def test_too_short_a_recording_is_refused():
    assert padding(RATE, 0.5, 100.0, None) == 1000
    assert padding(RATE, None, 100.0, 50.0) == 300
    with pytest.raises(ValueError, match=r"1000 samples: expected more than 1000 \(2 s at 500 Hz\).*high_pass: 0.5"):
        clean(np.zeros((12, 1000), np.float32), RATE)
    assert clean(np.zeros((12, 1001), np.float32), RATE).shape == (12, 1001)
