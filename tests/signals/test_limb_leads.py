from itertools import combinations

import numpy as np
import pytest

from ecgtext_plugins.signals.filtering import clean
from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.signals.limb_leads import derive_limb_leads, limb_errors
from tests.signals.simulated import recordings

THRESHOLD = 0.05  # mV
SWAPS = [((first, second),) for first, second in combinations(range(6), 2)] + [((1, 2), (3, 4))]


def mask(*leads):
    return sum(1 << LEADS.index(lead) for lead in leads)


def swapped(signal, pairs):
    order = np.arange(12)
    for first, second in pairs:
        order[[first, second]] = order[[second, first]]
    return signal[order]


@pytest.mark.parametrize("pairs", SWAPS, ids=lambda pairs: "+".join(f"{LEADS[a]}-{LEADS[b]}" for a, b in pairs))
def test_two_leads_in_each_others_place_are_found(pairs):
    found = [limb_errors(swapped(signal, pairs)) > THRESHOLD for signal in recordings(200)]
    assert np.mean(found) >= 0.95


def rounded(signal):
    """Compute the limb leads anew, each from I and II and each rounded to 5 microvolt on its own."""
    one, two = signal[:2] + np.float32(0.0017)
    leads = np.stack([one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2])
    return np.concatenate([np.rint(leads / 0.005) * 0.005, signal[6:]]).astype(np.float32)


@pytest.mark.parametrize(
    "recorded",
    [lambda signal: signal, rounded, lambda signal: rounded(clean(signal, 500.0))],
    ids=["as it is", "rounded", "filtered and rounded"],
)
def test_right_order_raises_no_alarm(recorded):
    errors = np.array([limb_errors(recorded(signal)) for signal in recordings(200)])
    assert errors.dtype == np.float32
    assert (errors < 0.01).all()


def test_each_identity_by_hand():
    signal = np.zeros((12, 300), np.float32)
    signal[0], signal[1] = 1.0, 1.5
    signal[2], signal[3], signal[4], signal[5] = 0.5, -1.25, 0.25, 1.0
    assert limb_errors(signal) == 0.0
    for lead, expected in (("III", 0.2), ("aVR", 0.2), ("aVL", 0.2), ("aVF", 0.2)):
        wrong = signal.copy()
        wrong[LEADS.index(lead)] += 0.2
        assert limb_errors(wrong) == pytest.approx(expected, abs=1e-6), lead
        others = set(LEADS[:6]) - {lead}
        assert limb_errors(wrong, mask(lead)) == 0.0
        assert limb_errors(wrong, mask(*others)).dtype == np.float32
        assert np.isnan(limb_errors(wrong, mask(*others)))


@pytest.mark.parametrize(
    ("present", "formed"),
    [
        (("I", "II", "III"), True),
        (("I", "II", "aVR"), True),
        (("I", "III", "aVL"), True),
        (("II", "III", "aVF"), True),
        (("I", "II", "aVL", "aVF", "V1"), False),
        (("aVR", "aVL", "aVF"), False),
        (("V1", "V2"), False),
    ],
)
def test_which_leads_allow_a_judgement(present, formed):
    signal = recordings(200)[0].copy()
    missing = 0xFFF & ~mask(*present)
    assert np.isnan(limb_errors(signal, missing)) == (not formed)
    signal[[place for place in range(12) if missing >> place & 1]] = np.nan
    assert np.isnan(limb_errors(signal)) == (not formed)


def test_short_artefacts_and_gaps_are_passed_over():
    signal = recordings(200)[5].copy()
    right = limb_errors(signal)
    signal[2, 1000:1080] = 4.0
    signal[0, 2000:3000] = signal[:, 3500:4000] = np.nan
    assert abs(limb_errors(signal) - right) < 0.005
    signal[2, 1000:1400] = 4.0
    assert limb_errors(signal) > 1.0


def test_no_samples_give_no_judgement():
    assert np.isnan(limb_errors(np.zeros((12, 0), np.float32)))
    assert np.isnan(limb_errors(np.full((12, 10), np.nan, np.float32)))


def test_derived_leads_are_the_recorded_ones():
    for signal in recordings(200)[:20]:
        damaged = signal.copy()
        damaged[2:6] = np.nan
        before = damaged.copy()
        completed, derived = derive_limb_leads(damaged, mask("III", "aVR", "aVL", "aVF"))
        np.testing.assert_allclose(completed, signal, atol=0.003)  # the recording's are rounded to 5 microvolt
        assert derived == mask("III", "aVR", "aVL", "aVF") and completed.dtype == np.float32
        assert limb_errors(completed) < 1e-5
        np.testing.assert_array_equal(damaged, before)


def test_only_what_follows_from_one_and_two_is_derived():
    signal = recordings(200)[0].copy()
    signal[[2, 4, 7]] = np.nan
    signal[1, 10:20] = np.nan
    completed, derived = derive_limb_leads(signal, mask("III", "aVL", "V2"))
    assert derived == mask("III", "aVL")
    assert np.isnan(completed[7]).all()
    np.testing.assert_array_equal(np.isnan(completed[2]), np.isnan(signal[1]))
    np.testing.assert_array_equal(completed[[0, 1, 3, 5]], signal[[0, 1, 3, 5]])
    for missing in (mask("I", "III"), mask("II", "aVF"), mask("V1"), 0):
        unchanged, derived = derive_limb_leads(signal, missing)
        assert unchanged is signal and derived == 0
