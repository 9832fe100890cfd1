"""Perturbations against what their parameters say, computed by hand."""

import numpy as np
import pytest

from ecgtext_plugins.data.perturbations import PERTURBATIONS, PerturbationOptions, perturb
from ecgtext_plugins.errors import BadConfig

RATE, LENGTH = 500.0, 2500


def ecg(seed=0):
    signal = np.random.default_rng(seed).standard_normal((12, LENGTH)).astype(np.float32)
    signal[2:6] = (
        signal[1] - signal[0],
        -(signal[0] + signal[1]) / 2,
        signal[0] - signal[1] / 2,
        signal[1] - signal[0] / 2,
    )
    return signal


def applied(mode, seed=0, **options):
    signal = ecg()
    chosen = PerturbationOptions(modes=(mode,), **options)
    out = perturb(signal, RATE, chosen, [np.random.default_rng(seed)])
    assert out.dtype == np.float32 and out.shape == signal.shape and np.array_equal(signal, ecg())
    return out - signal if "3kg" not in mode and "mask" not in mode else out


def test_random_leads_masking_keeps_half_of_the_leads():
    shown = np.array([(applied("random_leads_masking", seed) != 0).any(axis=1) for seed in range(600)])
    assert abs(shown.mean() - 0.5) < 0.02 and np.abs(shown.mean(axis=0) - 0.5).max() < 0.08
    out = applied("random_leads_masking", 3)
    kept = (out != 0).any(axis=1)
    np.testing.assert_array_equal(out[kept], ecg()[kept])
    assert (applied("random_leads_masking", 1, mask_leads_prob=1.0) == 0).all()
    one = applied("random_leads_masking", 1, mask_leads_prob=1.0, keep_one_lead=True)
    assert (one != 0).any(axis=1).sum() == 1


def test_conditional_masking_hides_so_many_of_each_half():
    options = {"mask_leads_selection": "conditional", "mask_leads_condition": (4, 5)}
    for seed in range(20):
        hidden = (applied("random_leads_masking", seed, **options) == 0).all(axis=1)
        assert hidden[:6].sum() == 4 and hidden[6:].sum() == 5


def test_powerline_noise_is_one_cosine_at_50_or_60_hz():
    frequencies = set()
    for seed in range(20):
        noise = applied("powerline_noise", seed, min_amplitude=0.05, dependency=False)
        assert np.abs(noise - noise[0]).max() < 1e-5
        spectrum = np.abs(np.fft.rfft(noise[0])) * 2 / LENGTH
        peak = int(spectrum.argmax())
        frequencies.add(peak * RATE / LENGTH)
        assert 0.05 <= spectrum[peak] + 1e-6 and spectrum[peak] <= 0.1 + 1e-6
        assert np.delete(spectrum, peak).max() < 1e-5
    assert frequencies == {50.0, 60.0}


def test_emg_noise_is_white_with_an_amplitude_a_lead():
    noise = np.stack([applied("emg_noise", seed, min_amplitude=0.02, dependency=False) for seed in range(40)])
    deviations = noise.std(axis=2)
    assert deviations.min() > 0.018 and deviations.max() < 0.107 and abs(deviations.mean() - 0.06) < 0.004
    assert np.abs(np.corrcoef(noise[0]) - np.eye(12)).max() < 0.1 and abs(noise.mean()) < 1e-3


def test_baseline_shift_is_sign_times_amplitude():
    lengths, signs = [], []
    for seed in range(200):
        noise = applied("baseline_shift", seed, min_amplitude=0.04, dependency=False)
        shifted = np.abs(noise[0]) > 1e-3
        height = np.abs(noise[:, shifted])
        assert height.max() <= 0.1 + 1e-5 and height.min() >= 0.04 - 1e-5 and np.ptp(height) < 1e-5
        assert np.abs(noise[:, ~shifted]).max() == 0 and (np.diff(np.flatnonzero(shifted)) == 1).all()
        lengths.append(shifted.sum())
        signs += np.sign(noise[:, shifted][:, 0]).tolist()
    assert abs(np.mean(lengths) / LENGTH - 0.2) < 0.01 and abs(np.std(lengths) / LENGTH - 0.04) < 0.008
    assert abs(np.mean(signs)) < 0.08


def test_baseline_wander_is_slow_and_the_same_but_for_a_gain():
    gains = []
    for seed in range(100):
        noise = applied("baseline_wander", seed, min_amplitude=0.05, dependency=False).astype(np.float64)
        values = np.linalg.svd(noise, compute_uv=False)
        assert values[1] < 1e-4 * values[0] + 1e-4
        steepest = 3 * 0.1 * 2 * np.pi * 0.2 / RATE  # three cosines of amplitude 0.1 at 0.2 Hz, by sample
        assert np.abs(np.diff(noise, axis=1)).max() < steepest * 4
        gains += (noise @ noise[0] / (noise[0] @ noise[0])).tolist()[1:]
    assert np.isfinite(gains).all()


@pytest.mark.parametrize("mode", ["powerline_noise", "emg_noise", "baseline_shift", "baseline_wander"])
def test_dependency_keeps_einthoven_and_goldberger(mode):
    out = perturb(ecg(), RATE, PerturbationOptions(modes=(mode,)), [np.random.default_rng(4)])
    one, two = out[:2]
    expected = [two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    np.testing.assert_allclose(out[2:6], expected, atol=1e-5)
    assert np.abs(out - ecg())[[0, 1, 6, 7, 8, 9, 10, 11]].max(axis=1).min() > 0


def test_3kg_masks_half_of_each_lead_in_one_circular_span():
    out = applied("3kg", 2)
    zero = out == 0
    assert (zero.sum(axis=1) == LENGTH // 2).all()
    assert all((np.diff(np.append(row, row[0]).astype(int)) == 1).sum() == 1 for row in zero)
    assert len({tuple(row) for row in zero}) > 6


def test_order_and_probability():
    options = PerturbationOptions(modes=("emg_noise", "random_leads_masking"), probabilities=(1.0, 0.0))
    twice = [np.random.default_rng(1), np.random.default_rng(2)]
    alone = perturb(ecg(), RATE, PerturbationOptions(modes=("emg_noise",)), [np.random.default_rng(1)])
    np.testing.assert_array_equal(perturb(ecg(), RATE, options, twice), alone)
    options = PerturbationOptions(modes=("emg_noise", "random_leads_masking"), mask_leads_prob=1.0)
    assert (perturb(ecg(), RATE, options, twice) == 0).all()
    rare = PerturbationOptions(modes=("emg_noise",), probabilities=(0.25,))
    source = ecg()
    share = np.mean([perturb(source, RATE, rare, [np.random.default_rng(seed)]) is not source for seed in range(800)])
    assert abs(share - 0.25) < 0.04


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"modes": ("emg",)}, "perturbation_mode holds emg: expected random_leads_masking"),
        ({"modes": ("emg_noise",) * 3, "probabilities": (1.0, 0.5)}, "a probability for each of the 3"),
        ({"modes": ("emg_noise",), "probabilities": (1.5,)}, "task.p="),
        ({"mask_leads_condition": (7, 1)}, "mask_leads_condition"),
        ({"mask_leads_selection": "some"}, "mask_leads_selection=some"),
        ({"min_amplitude": 0.2}, "min_amplitude=0.2, task.max_amplitude=0.1"),
        ({"mask_leads_prob": 2.0}, "mask_leads_prob=2.0"),
        ({"scale": 0.5}, "scale=0.5"),
    ],
)
def test_values_out_of_range(options, said):
    with pytest.raises(BadConfig, match=said):
        PerturbationOptions(**options)


def test_all_are_there():
    assert set(PERTURBATIONS) == {
        *("random_leads_masking", "powerline_noise", "emg_noise", "baseline_shift", "baseline_wander", "3kg"),
    }
