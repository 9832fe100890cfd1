"""AUROC against the rank-sum definition."""

import numpy as np
import pytest

from ecgtext_plugins.evaluation.metrics import auroc_by_class


def pair_counting(labels, scores):
    """Share of (positive, negative) pairs in the right order, ties counting half."""
    differences = scores[labels][:, None] - scores[~labels][None, :]
    return ((differences > 0) + 0.5 * (differences == 0)).mean()


def test_equals_pair_counting_with_ties():
    rng = np.random.default_rng(0)
    labels = rng.random((80, 3)) < [0.1, 0.5, 0.9]
    scores = rng.integers(0, 12, size=(80, 3)) / 7.0
    result = auroc_by_class(labels, scores, ["a", "b", "c"])
    expected = [pair_counting(labels[:, i], scores[:, i]) for i in range(3)]
    assert list(result.per_class.values()) == pytest.approx(expected)
    assert result.macro == pytest.approx(np.mean(expected))
    assert result.undefined == [] and result.n_positive == dict(zip("abc", labels.sum(0).tolist(), strict=True))


def test_hand_computed_and_undefined_classes():
    labels = np.array([[1, 0, 1], [1, 0, 1], [0, 0, 1], [0, 0, 1]], dtype=bool)
    scores = np.array([[0.9, 1, 1], [0.2, 2, 2], [0.5, 3, 3], [0.1, 4, 4]])
    result = auroc_by_class(labels, scores, ["some", "none", "every"])
    assert result.per_class["some"] == 0.75 and result.macro == 0.75
    assert np.isnan(result.per_class["none"]) and np.isnan(result.per_class["every"])
    assert result.undefined == ["none", "every"]
    assert result.n_positive == {"some": 2, "none": 0, "every": 4}


def test_macro_of_nothing_is_undefined():
    result = auroc_by_class(np.zeros((3, 1)), np.ones((3, 1)), ["none"])
    assert np.isnan(result.macro) and result.undefined == ["none"]


def test_not_a_number_is_refused_by_name():
    scores = np.zeros((3, 2))
    scores[2, 1] = np.nan
    with pytest.raises(ValueError, match="row 2 for class b is not a number"):
        auroc_by_class(np.zeros((3, 2)), scores, ["a", "b"])


@pytest.mark.parametrize("shape", [(3, 3), (2, 2), (3,)])
def test_shapes_must_agree(shape):
    with pytest.raises(ValueError, match=r"must both be \(n, 2\)"):
        auroc_by_class(np.zeros((3, 2)), np.zeros(shape), ["a", "b"])
