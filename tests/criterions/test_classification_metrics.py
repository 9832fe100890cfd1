"""Metrics against scikit-learn, the Challenge's published evaluation and hand-computed cases."""

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from ecgtext_plugins.criterions.classification_metrics import (
    areas,
    challenge_score,
    confusion_counts,
    exact_match,
    load_challenge_weights,
)
from ecgtext_plugins.errors import BadConfig

SHARED = Path(os.environ["ECGTEXT_SHARED"]) if "ECGTEXT_SHARED" in os.environ else None
NEEDS_SHARED = pytest.mark.skipif(SHARED is None, reason="ECGTEXT_SHARED is not set")
CLOSE = {"rel": 1e-12, "abs": 1e-12}


@pytest.fixture(scope="module")
def predictions():
    """Scores with ties, imbalanced classes."""
    rng = np.random.default_rng(0)
    labels = rng.random((300, 5)) < [0.05, 0.2, 0.5, 0.8, 0.95]
    scores = np.round(rng.normal(size=(300, 5)) + labels, 1)
    return labels, scores


def test_areas_equal_scikit_learn(predictions):
    labels, scores = predictions
    for kind, theirs in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        found = areas(labels, scores, kind)
        assert found.macro == pytest.approx(theirs(labels, scores, average="macro"), **CLOSE)
        assert found.micro == pytest.approx(theirs(labels, scores, average="micro"), **CLOSE)
        assert found.per_class == pytest.approx(theirs(labels, scores, average=None), **CLOSE)
        assert found.n_undefined == 0


def test_macro_is_not_micro():
    """A class with a higher level of scores everywhere: perfect within classes, not across them."""
    labels = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], dtype=bool)
    scores = np.array([[0, 10], [0, 20], [1, 20], [1, 10]])
    found = areas(labels, scores, "auroc")
    assert found.macro == 1.0
    assert found.micro == roc_auc_score(labels.ravel(), scores.ravel()) == 0.75


def test_masked_pairs_count_nothing(predictions):
    labels, scores = predictions
    mask = np.random.default_rng(1).random(labels.shape) < 0.7
    poisoned = np.where(mask, scores, np.nan)
    found = areas(labels, poisoned, "auprc", mask)
    expected = [average_precision_score(labels[m, k], scores[m, k]) for k, m in enumerate(mask.T)]
    assert found.per_class == pytest.approx(expected, **CLOSE)
    assert found.micro == pytest.approx(average_precision_score(labels[mask], scores[mask]), **CLOSE)
    counts, decisions = confusion_counts(labels, scores > 0.5, mask), scores > 0.5
    assert counts.accuracy() == pytest.approx(accuracy_score(labels[mask], decisions[mask]), **CLOSE)
    only = np.zeros_like(mask)
    only[3, 1] = only[4, 2] = True
    decisions = labels.copy()
    decisions[4, 2] ^= True
    decisions[3, 0] ^= True
    assert exact_match(labels, decisions, only) == 0.5


def test_classes_without_both_kinds_of_records_are_left_out_and_counted():
    labels = np.array([[0, 1, 1], [0, 1, 0], [0, 1, 1]], dtype=bool)
    scores = np.array([[0.1, 0.2, 0.3], [0.2, 0.3, 0.6], [0.3, 0.4, 0.9]])
    auroc, auprc = (areas(labels, scores, kind) for kind in ("auroc", "auprc"))
    assert np.isnan(auroc.per_class[:2]).all() and auroc.macro == 0.5 and auroc.n_undefined == 2
    assert np.isnan(auprc.per_class[0]) and auprc.n_undefined == 1
    assert auprc.macro == pytest.approx((1.0 + (0.5 * 1 + 0.5 * 2 / 3)) / 2, **CLOSE)
    nothing = areas(np.zeros((3, 1)), np.ones((3, 1)))
    assert np.isnan(nothing.macro) and np.isnan(nothing.micro) and nothing.n_undefined == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refusals(bad):
    scores = np.zeros((3, 2))
    scores[2, 1] = bad
    with pytest.raises(ValueError, match=f"row 2 for class 1 is {bad}"):
        areas(np.zeros((3, 2)), scores)
    with pytest.raises(ValueError, match=r"must all be \(n, K\)"):
        areas(np.zeros((3, 2)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="expected one of auroc, auprc"):
        areas(np.zeros((3, 2)), np.zeros((3, 2)), "f1")
    with pytest.raises(ValueError, match="expected one of zero, leave_out"):
        confusion_counts(np.zeros((3, 2)), np.zeros((3, 2))).macro_f1("one")


def test_decisions_equal_scikit_learn(predictions):
    labels, scores = predictions
    decisions = scores > 0.5
    counts = confusion_counts(labels, decisions)
    assert counts.micro_f1() == pytest.approx(f1_score(labels, decisions, average="micro"), **CLOSE)
    assert counts.macro_f1() == pytest.approx(f1_score(labels, decisions, average="macro"), **CLOSE)
    assert counts.precision() == pytest.approx(precision_score(labels, decisions, average="micro"), **CLOSE)
    assert counts.recall() == pytest.approx(recall_score(labels, decisions, average="micro"), **CLOSE)
    assert counts.accuracy() == pytest.approx((labels == decisions).mean(), **CLOSE)
    assert exact_match(labels, decisions) == pytest.approx(accuracy_score(labels, decisions), **CLOSE)


def test_macro_f1_of_classes_that_nothing_is_known_of():
    labels = np.array([[1, 0, 0], [1, 0, 0]], dtype=bool)
    decisions = np.array([[1, 0, 1], [0, 0, 0]], dtype=bool)
    counts = confusion_counts(labels, decisions)
    for undefined, division in (("zero", 0.0), ("leave_out", np.nan)):
        theirs = f1_score(labels, decisions, average="macro", zero_division=division)
        assert counts.macro_f1(undefined) == pytest.approx(theirs, **CLOSE)
    assert counts.macro_f1("zero") == pytest.approx(2 / 3 / 3) and counts.macro_f1() == pytest.approx(2 / 3 / 2)
    empty = confusion_counts(labels[:, 1:2], decisions[:, 1:2])
    assert np.isnan(empty.macro_f1()) and np.isnan(empty.micro_f1()) and np.isnan(empty.precision())


def test_challenge_score_by_hand():
    """Two records, two classes, sinus rhythm first."""
    weights = np.array([[1.0, 0.0], [0.5, 1.0]])
    labels = np.array([[1, 0], [0, 1]], dtype=bool)
    called = np.array([[1, 0], [1, 0]], dtype=bool)
    assert challenge_score(labels, labels, weights, 0) == 1.0
    assert challenge_score(labels, called, weights, 0) == 0.0
    both = np.array([[1, 0], [1, 1]], dtype=bool)  # the second earns (0.5 + 1) / 2; "normal" would earn 0.5 / 2
    assert challenge_score(labels, both, weights, 0) == pytest.approx((1.75 - 1.25) / (2 - 1.25))
    normal = np.array([[1, 0]], dtype=bool)
    assert challenge_score(normal, normal, weights, 0) == 0.0


@NEEDS_SHARED
def test_golden_challenge_evaluation():
    golden = np.load(SHARED / "golden/challenge2021_metric.npz")
    labels, decisions = golden["labels"], golden["binary_outputs"]
    auroc, auprc = (areas(labels, golden["scalar_outputs"], kind) for kind in ("auroc", "auprc"))
    assert auroc.macro == pytest.approx(float(golden["macro_auroc"]), **CLOSE)
    assert auprc.macro == pytest.approx(float(golden["macro_auprc"]), **CLOSE)
    assert auroc.n_undefined == auprc.n_undefined == 1
    for undefined in ("zero", "leave_out"):
        found = confusion_counts(labels, decisions).macro_f1(undefined)
        assert found == pytest.approx(float(golden["macro_f"]), **CLOSE)
    assert exact_match(labels, decisions) == float(golden["accuracy"])
    assert challenge_score(labels, decisions, golden["weights"], list(golden["classes"]).index("426783006")) == (
        pytest.approx(float(golden["challenge_metric"]), **CLOSE)
    )


@NEEDS_SHARED
@pytest.mark.parametrize("spelling", ["codes", "abbreviations"])
def test_golden_challenge_score_from_the_weights_file(spelling):
    """The labels in another order, one of them unscored, merged classes by either spelling."""
    from ecgtext_plugins.corpora.snomed import scored_labels

    golden = np.load(SHARED / "golden/challenge2021_metric.npz")
    names = [str(name) for name in golden["classes"]] if spelling == "codes" else list(scored_labels())
    order = np.random.default_rng(2).permutation(len(names))
    names = ["unscored", *(names[place] for place in order)]
    weights = load_challenge_weights(SHARED / "data/challenge2021/weights.csv", names)
    assert np.array_equal(weights.matrix, golden["weights"])
    extra = np.ones((200, 1), dtype=bool)
    labels, decisions = (np.hstack([extra, golden[name][:, order]]) for name in ("labels", "binary_outputs"))
    assert weights.score(labels, decisions) == pytest.approx(float(golden["challenge_metric"]), **CLOSE)


WEIGHTS = ",426783006,733534002|164909002\n426783006,1,0.5\n733534002|164909002,0.25,1\n"


def test_weights_of_merged_classes_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "weights.csv"
    path.write_text(WEIGHTS)
    for merged in ("164909002|733534002", "733534002", "LBBB", "CLBBB|LBBB"):
        weights = load_challenge_weights(path, ["AF", merged, "NSR"])
        assert weights.columns.tolist() == [2, 1] and weights.normal == 0
        assert weights.matrix.tolist() == [[1.0, 0.5], [0.25, 1.0]]


@pytest.mark.parametrize(
    ("text", "labels", "message"),
    [
        (WEIGHTS, ["NSR", "AF"], "733534002|164909002 is there 0 times"),
        (WEIGHTS, ["NSR", "CLBBB", "LBBB"], "is there 2 times"),
        (",164889003\n164889003,1\n", ["AF"], "expected sinus rhythm"),
        (",NSR\nNSR,one\n", ["NSR"], "cannot be read"),
        ("", ["NSR"], "cannot be read"),
        (",NSR,AF\nNSR,1,1\n", ["NSR", "AF"], "2 columns and 1 rows"),
        (",NSR\nNSR,nan\n", ["NSR"], "expected a finite number"),
    ],
)
def test_weights_files_that_cannot_be_used(tmp_path, text, labels, message):
    path = tmp_path / "weights.csv"
    path.write_text(text)
    with pytest.raises(BadConfig) as error:
        load_challenge_weights(path, labels)
    assert message in str(error.value) and str(path) in str(error.value)


def test_weights_file_that_is_not_there(tmp_path):
    with pytest.raises(BadConfig, match="cannot be read"):
        load_challenge_weights(tmp_path / "none.csv", ["NSR"])
