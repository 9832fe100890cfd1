"""Calibration by hand and against scikit-learn's calibration curve."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from ecgtext_plugins.evaluation.calibration import calibration_by_class, reliability


def test_hand_computed():
    """Two bins: (0, 0.5] holds 0.1, 0.3, 0.5 with one positive, (0.5, 1] holds 0.9 with one."""
    found = reliability([0, 1, 0, 1], [0.1, 0.3, 0.5, 0.9], bins=2)
    assert found.count.tolist() == [3, 1]
    assert found.confidence == pytest.approx([0.3, 0.9]) and found.frequency == pytest.approx([1 / 3, 1])
    assert found.ece == pytest.approx(3 / 4 * (1 / 3 - 0.3) + 1 / 4 * 0.1)


def test_hand_computed_bins_of_equal_mass():
    """Of 6 records in three bins, the two of 0.2 stay with the first in its bin: 3, 1 and 2."""
    found = reliability([1, 0, 0, 1, 1, 1], [0.1, 0.2, 0.2, 0.4, 0.6, 0.8], bins=3, binning="mass")
    assert found.count.tolist() == [3, 1, 2]
    assert found.confidence == pytest.approx([0.5 / 3, 0.4, 0.7]) and found.frequency == pytest.approx([1 / 3, 1, 1])
    assert found.ece == pytest.approx((3 * (1 / 3 - 0.5 / 3) + 0.6 + 2 * 0.3) / 6)


@pytest.mark.parametrize("seed", range(10))
def test_bins_equal_scikit_learn(seed):
    random = np.random.default_rng(seed)
    probabilities = random.random(400) ** 2
    probabilities[:3] = 0, 1, 0.4  # ends and an edge
    labels = random.random(400) < probabilities
    found = reliability(labels, probabilities, bins=10)
    frequency, confidence = calibration_curve(labels, probabilities, n_bins=10)
    np.testing.assert_allclose(found.frequency, frequency, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.confidence, confidence, rtol=0, atol=1e-12)


def test_equal_mass_bins_hold_equally_many_in_any_order():
    random = np.random.default_rng(0)
    probabilities, labels = random.random(1000) ** 3, random.random(1000) < 0.2
    found = reliability(labels, probabilities, 7, "mass")
    assert found.count.sum() == 1000 and found.count.max() - found.count.min() <= 1
    order = random.permutation(1000)
    again = reliability(labels[order], probabilities[order], 7, "mass")
    assert np.array_equal(again.count, found.count) and again.ece == pytest.approx(found.ece, abs=1e-12)


def test_empty_bins_count_nothing():
    found = reliability([1, 1, 0, 0], [0.5, 0.5, 0.5, 0.5], bins=4)
    assert found.count.tolist() == [0, 4, 0, 0] and found.ece == 0
    assert np.isnan(found.confidence[[0, 2, 3]]).all() and np.isnan(found.frequency[[0, 2, 3]]).all()
    assert reliability([1, 1, 0, 0], [0.5] * 4, 4, "mass").count.tolist() == [4, 0, 0, 0]


def test_calibrated_probabilities_have_a_small_error_and_shifted_ones_that_of_the_shift():
    random = np.random.default_rng(1)
    probabilities = random.uniform(0, 0.7, 50_000)
    labels = random.random(50_000) < probabilities
    for binning in ("width", "mass"):
        assert reliability(labels, probabilities, binning=binning).ece < 0.01
        assert reliability(labels, probabilities + 0.3, binning=binning).ece == pytest.approx(0.3, abs=0.01)


def test_classes_are_averaged_also_without_positives():
    labels = np.array([[1, 0], [0, 0]])
    found = calibration_by_class(labels, np.array([[1.0, 0.2], [0.0, 0.2]]), ["good", "none"])
    assert found.per_class["good"].ece == 0 and found.per_class["none"].ece == pytest.approx(0.2)
    assert found.macro_ece == pytest.approx(0.1) and found.binning == "width"


@pytest.mark.parametrize(
    ("probabilities", "options", "message"),
    [
        ([0.1, np.nan], {}, "probability of row 1 for class 0 is nan"),
        ([0.1, 1.5], {}, "probability of row 1 for class 0 is 1.5: expected one between 0 and 1; apply the sigmoid"),
        ([-0.1, 0.5], {}, "row 0 for class 0 is -0.1"),
        ([0.1], {}, "must both be"),
        ([0.1, 0.2], {"bins": 0}, "bins=0"),
        ([0.1, 0.2], {"binning": "rank"}, "binning='rank': expected one of width, mass"),
    ],
)
def test_bad_input_is_refused_by_name(probabilities, options, message):
    with pytest.raises(ValueError, match=message):
        reliability([0, 1], probabilities, **options)


def test_records_are_named_and_several_classes_have_their_function():
    with pytest.raises(ValueError, match="probability of record JS1 for class AF is 2.0"):
        calibration_by_class([[0], [1]], [[0.5], [2.0]], ["AF"], records=["JS0", "JS1"])
    with pytest.raises(ValueError, match="use calibration_by_class"):
        reliability(np.zeros((2, 2)), np.zeros((2, 2)))
