"""Thresholds against every possible one, and operating points of readers by hand and by a loop."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from ecgtext_plugins.evaluation.intervals import resamples
from ecgtext_plugins.evaluation.thresholds import (
    f1_at_thresholds,
    f1_intervals,
    max_f1_thresholds,
    operating_points,
)


@pytest.mark.parametrize("seed", range(20))
def test_threshold_is_the_best_of_all(seed):
    random = np.random.default_rng(seed)
    labels = random.random((40, 2)) < [0.1, 0.6]
    labels[0] = True
    scores = (np.round(3 * (labels + random.normal(size=labels.shape))) / 3).astype(np.float32)
    found = max_f1_thresholds(labels, scores, ["a", "b"])
    for k, name in enumerate(["a", "b"]):
        every = {t: f1_score(labels[:, k], scores[:, k] >= t) for t in np.unique(scores[:, k])}
        best = max(every.values())
        assert found.validation_f1[name] == pytest.approx(best, abs=1e-12)
        assert found.per_class[name] == max(t for t, f1 in every.items() if f1 >= best - 1e-12)
    reached = f1_at_thresholds(labels, scores, ["a", "b"], found)
    assert reached.per_class == pytest.approx(found.validation_f1, abs=1e-12)


def test_hand_computed_and_applied_to_other_records():
    valid = max_f1_thresholds([[1], [0], [1], [0]], [[0.9], [0.6], [0.5], [0.1]], ["AF"])
    assert valid.per_class == {"AF": 0.5} and valid.validation_f1 == {"AF": pytest.approx(0.8)}
    scores = np.array([[0.5], [0.49], [0.7]])
    assert valid.decide(scores).tolist() == [[True], [False], [True]]
    found = f1_at_thresholds([[1], [1], [0]], scores, ["AF"], valid)
    assert found.per_class == {"AF": 0.5} and found.undefined == []


def test_class_without_validation_positives_has_no_threshold_and_is_left_out():
    valid = max_f1_thresholds([[1, 0], [0, 0]], [[0.9, 0.8], [0.1, 0.2]], ["AF", "VT"])
    assert valid.undefined == ["VT"] and np.isnan(valid.per_class["VT"])
    labels, scores = np.array([[1, 1], [0, 0], [1, 1]]), np.array([[0.95, 9], [0.2, 0], [0.91, 0]])
    assert valid.decide(scores)[:, 1].tolist() == [False] * 3
    found = f1_at_thresholds(labels, scores, ["AF", "VT"], valid)
    assert found.undefined == ["VT"] and found.macro == found.micro == 1.0
    bounds = f1_intervals(labels, scores, ["AF", "VT"], valid, np.arange(3), 50)
    assert np.isnan(bounds.per_class["VT"]).all() and bounds.n_undefined["VT"] == 50
    assert bounds.per_class["AF"] == (1.0, 1.0)


def test_f1_intervals_equal_a_loop():
    random = np.random.default_rng(0)
    labels = random.random((70, 2)) < 0.4
    scores, groups = labels + random.normal(size=labels.shape), random.integers(0, 30, 70)
    thresholds = max_f1_thresholds(labels[:35], scores[:35], ["a", "b"])
    found = f1_intervals(labels, scores, ["a", "b"], thresholds, groups, 40, 3)
    codes, groups = np.unique(groups, return_inverse=True)
    weights = next(resamples(len(codes), 40, 3))[groups]
    decisions = thresholds.decide(scores)
    theirs = [f1_score(labels, decisions, average=None, sample_weight=w, zero_division=np.nan) for w in weights.T]
    np.testing.assert_allclose(found.samples[:, :2], theirs, rtol=0, atol=1e-12)


def test_thresholds_of_other_classes_are_refused():
    thresholds = max_f1_thresholds([[1, 1], [0, 0]], [[1, 1], [0, 0]], ["a", "b"])
    with pytest.raises(ValueError, match="thresholds are of the classes a, b: expected .*, b, a"):
        f1_at_thresholds([[1, 1], [0, 0]], [[1, 1], [0, 0]], ["b", "a"], thresholds)
    with pytest.raises(ValueError, match="score of row 1 for class b is nan"):
        max_f1_thresholds([[1, 1], [0, 0]], [[1, 1], [0, np.nan]], ["a", "b"])


def test_operating_point_by_hand():
    """Of 4 positives 3 are found; of 6 negatives 1 is called."""
    labels = np.array([[1]] * 4 + [[0]] * 6)
    decisions = np.array([[1], [1], [1], [0], [1], [0], [0], [0], [0], [0]])
    point = operating_points(labels, decisions, ["AF"], np.arange(10))["AF"]
    assert (point.sensitivity, point.specificity) == (0.75, pytest.approx(5 / 6))
    assert (point.n_positive, point.n_negative) == (4, 6)
    low, high = point.sensitivity_interval
    assert 0 <= low < 0.75 < high <= 1
    assert not any("au" in name for name in vars(point))


def test_intervals_of_operating_points_equal_a_loop():
    random = np.random.default_rng(1)
    labels = random.random((120, 2)) < [0.3, 0.7]
    decisions = labels ^ (random.random((120, 2)) < 0.15)
    groups = random.integers(0, 60, 120)
    found = operating_points(labels, decisions, ["a", "b"], groups, 80, 2)
    codes, groups = np.unique(groups, return_inverse=True)
    weights = next(resamples(len(codes), 80, 2))[groups]
    for k, name in enumerate(["a", "b"]):
        for positive, bounds in ((1, found[name].sensitivity_interval), (0, found[name].specificity_interval)):
            values = [
                recall_score(labels[:, k], decisions[:, k], pos_label=positive, sample_weight=w) for w in weights.T
            ]
            assert bounds == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])), abs=1e-12)


def test_operating_point_of_a_class_without_positives():
    point = operating_points(np.zeros((4, 1)), np.array([[1], [0], [0], [0]]), ["VT"], np.arange(4), 20)["VT"]
    assert np.isnan(point.sensitivity) and np.isnan(point.sensitivity_interval).all()
    assert point.specificity == 0.75 and (point.n_positive, point.n_negative) == (0, 4)


def test_scores_are_no_decisions():
    with pytest.raises(ValueError, match="decisions of row 0 for class AF are 0.7: expected 0 or 1"):
        operating_points([[1], [0]], [[0.7], [0.2]], ["AF"], np.arange(2))
