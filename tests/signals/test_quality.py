import numpy as np

from ecgtext_plugins.signals.quality import empty_leads, flat_leads, lead_flags, lead_mask, lead_names, nan_share


def test_flat_and_empty_leads():
    signal = np.random.default_rng(0).standard_normal((12, 30)).astype(np.float32)
    assert flat_leads(signal) == 0 and empty_leads(signal) == 0 and nan_share(signal) == 0
    signal[4] = 0.25
    assert lead_names(flat_leads(signal)) == ["aVL"]
    signal[0, :15] = np.nan
    signal[11] = np.nan
    assert lead_names(flat_leads(signal)) == ["aVL"]
    assert lead_names(empty_leads(signal)) == ["V6"]
    assert nan_share(signal) == (15 + 30) / 360
    assert nan_share(signal, missing_leads=1 << 11) == 15 / 330


def test_nothing_measured_on_an_empty_signal():
    assert flat_leads(np.zeros((12, 0), np.float32)) == 0
    assert nan_share(np.zeros((12, 0), np.float32)) == 0


def test_masks_and_flags_are_one_thing():
    rng = np.random.default_rng(0)
    for mask in (0, 0xFFF, *rng.integers(0, 1 << 12, 20).tolist()):
        flags = lead_flags(mask)
        assert flags.shape == (12,) and lead_mask(flags) == mask
        np.testing.assert_array_equal(lead_flags(mask, 6), flags[:6])
