"""Areas and F1 by class against scikit-learn, the rank-sum definition and the Challenge's own figures."""

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from ecgtext_plugins.evaluation.metrics import areas_by_class, auroc_by_class, f1_by_class

SHARED = Path(os.environ.get("ECGTEXT_SHARED", "/nonexistent"))
CLOSE = {"rel": 0, "abs": 1e-12}


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
    with pytest.raises(ValueError, match="score of row 2 for class b is nan: expected a finite number"):
        auroc_by_class(np.zeros((3, 2)), scores, ["a", "b"])
    with pytest.raises(ValueError, match="score of record JS2 for class b is nan"):
        areas_by_class(np.zeros((3, 2)), scores, ["a", "b"], records=["JS0", "JS1", "JS2"])
    scores[2, 1] = np.inf
    with pytest.raises(ValueError, match="row 2 for class b is inf"):
        auroc_by_class(np.zeros((3, 2)), scores, ["a", "b"])


@pytest.mark.parametrize("shape", [(3, 3), (2, 2), (3,)])
def test_shapes_must_agree(shape):
    with pytest.raises(ValueError, match=r"must both be \(n, 2\)"):
        auroc_by_class(np.zeros((3, 2)), np.zeros(shape), ["a", "b"])


@pytest.mark.parametrize("seed", range(10))
def test_areas_equal_scikit_learn(seed):
    random = np.random.default_rng(seed)
    labels = random.random((60, 3)) < [0.1, 0.5, 0.8]
    labels[0], labels[1] = True, False
    scores = random.integers(0, 9, size=(60, 3)) / 7.0
    for metric, theirs in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        found = areas_by_class(labels, scores, ["a", "b", "c"], metric)
        assert list(found.per_class.values()) == pytest.approx(theirs(labels, scores, average=None), **CLOSE)
        assert found.macro == pytest.approx(theirs(labels, scores, average="macro"), **CLOSE)
        assert found.micro == pytest.approx(theirs(labels, scores, average="micro"), **CLOSE)
        assert found.undefined == []


def test_f1_equals_scikit_learn_and_leaves_out_what_is_undefined():
    random = np.random.default_rng(1)
    labels, decisions = random.random((2, 50, 4)) < 0.3
    labels[:, 2] = decisions[:, 2] = False
    found = f1_by_class(labels, decisions, list("abcd"))
    assert found.macro == pytest.approx(f1_score(labels, decisions, average="macro", zero_division=np.nan), **CLOSE)
    theirs = f1_score(labels, decisions, average="macro", zero_division=0)
    assert found.macro_undefined_as_zero == pytest.approx(theirs, **CLOSE)
    assert found.micro == pytest.approx(f1_score(labels, decisions, average="micro"), **CLOSE)
    assert found.undefined == ["c"] and np.isnan(found.per_class["c"])


def test_f1_of_classes_that_were_never_decided():
    labels, decisions = np.array([[1, 1], [0, 1]]), np.array([[1, 0], [1, 0]])
    found = f1_by_class(labels, decisions, ["a", "b"], left_out=["b"])
    assert found.per_class["a"] == found.macro == found.micro == found.macro_undefined_as_zero == pytest.approx(2 / 3)
    assert found.undefined == ["b"]
    assert f1_by_class(labels, decisions, ["a", "b"]).macro == pytest.approx(1 / 3)


@pytest.mark.parametrize("wrong", [2.0, 0.5, np.nan])
def test_labels_and_decisions_are_0_or_1(wrong):
    labels = np.zeros((2, 2))
    labels[1, 0] = wrong
    with pytest.raises(ValueError, match=f"labels of row 1 for class a are {wrong}: expected 0 or 1"):
        areas_by_class(labels, np.zeros((2, 2)), ["a", "b"])
    with pytest.raises(ValueError, match="decisions of row 1 for class a"):
        f1_by_class(np.zeros((2, 2)), labels, ["a", "b"])


def test_a_name_twice_and_no_records_are_refused():
    with pytest.raises(ValueError, match="class a is named twice"):
        areas_by_class(np.zeros((3, 2)), np.zeros((3, 2)), ["a", "a"])
    with pytest.raises(ValueError, match="n > 0"):
        areas_by_class(np.zeros((0, 2)), np.zeros((0, 2)), ["a", "b"])
    with pytest.raises(ValueError, match="expected the same records"):
        f1_by_class(np.zeros((3, 1)), np.zeros((2, 1)), ["a"])


@pytest.mark.skipif(not SHARED.is_dir(), reason="ECGTEXT_SHARED is not set")
def test_golden_challenge_evaluation():
    golden = np.load(SHARED / "golden/challenge2021_metric.npz")
    names = [str(name) for name in golden["classes"]]
    auroc, auprc = (
        areas_by_class(golden["labels"], golden["scalar_outputs"], names, metric) for metric in ("auroc", "auprc")
    )
    assert auroc.macro == pytest.approx(float(golden["macro_auroc"]), **CLOSE)
    assert auprc.macro == pytest.approx(float(golden["macro_auprc"]), **CLOSE)
    assert auroc.undefined == auprc.undefined == [names[5]]
    f1 = f1_by_class(golden["labels"], golden["binary_outputs"], names)
    assert f1.macro_undefined_as_zero == pytest.approx(float(golden["macro_f"]), **CLOSE)
