"""Logistic regression on embeddings: equal to scikit-learn's own, C chosen on validation, warnings told."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.evaluation.logistic_probe import LogisticRecipe, logistic_probe
from tests.evaluation.test_probe import CLASSES, splits, subsets


def test_equal_to_scikit_learns_own_with_the_best_c_on_validation():
    (train, labels, valid, valid_labels, test), test_labels = splits(400)
    strengths, rows = (0.001, 0.1, 10.0), subsets(400)
    given = (train, labels, valid, valid_labels, test)
    result = logistic_probe(*given, subsets=rows, seeds=(0, 1), recipe=LogisticRecipe(strengths))
    scaler = StandardScaler().fit(np.float64(train))
    for s, name in enumerate(rows):
        curve, scores = [], []
        for strength in strengths:
            models = [LogisticRegression(C=strength, max_iter=1000) for _ in range(CLASSES)]
            inputs = scaler.transform(np.float64(train[rows[name]]))
            fitted = [model.fit(inputs, labels[rows[name], k]) for k, model in enumerate(models)]
            parts = [scaler.transform(np.float64(part)) for part in (valid, test)]
            judged, own = (np.stack([model.decision_function(part) for model in fitted], axis=1) for part in parts)
            curve.append(np.mean([roc_auc_score(valid_labels[:, k], judged[:, k]) for k in range(CLASSES)]))
            scores.append(own)
        best = int(np.argmax(curve))
        assert result.chosen[s, 0] == strengths[best] and np.allclose(result.curve[s, 0], curve, atol=1e-9)
        assert np.allclose(result.scores[s, 0], scores[best], atol=1e-9)
    assert np.array_equal(result.scores[:, 0], result.scores[:, 1])
    assert result.figures(test_labels).sd.tolist() == [0, 0, 0]


def test_draws_of_each_seed_and_a_class_that_is_not_taught():
    (train, labels, valid, valid_labels, test), test_labels = splits(300)
    draws = [np.flatnonzero(~labels[:, 1])[:60], np.arange(80)]
    given = (train, labels, valid, valid_labels, test)
    result = logistic_probe(*given, subsets={"some": draws}, seeds=(0, 1), recipe=LogisticRecipe((0.1,)))
    assert not result.scores[0, 0][:, 1].any() and result.scores[0, 1][:, 1].any()
    figures = result.figures(test_labels)
    assert figures.not_taught == {"some": {"1": [0, int(labels[:80, 1].sum())]}}
    assert np.isnan(figures.per_class[0, 0, 1]) and not np.isnan(figures.per_class[0, 1]).any()


def test_fits_that_did_not_converge_and_a_c_at_the_end_are_told(caplog):
    given, _ = splits(200)
    recipe = LogisticRecipe((1e-6, 10.0), max_iter=1, standardize=False)
    result = logistic_probe(*given, subsets={"all": np.arange(200)}, seeds=(0,), recipe=recipe)
    assert any("class 0, C=10" in line and "converge" in line for line in result.warnings)
    assert any("the best C is" in line for line in result.warnings)
    assert [record.getMessage() for record in caplog.records] == result.warnings
    assert result.description()["warnings"] == result.warnings


def test_bad_strengths_are_refused():
    given, _ = splits(50)
    with pytest.raises(BadConfig, match="values of C"):
        logistic_probe(*given, subsets={"all": np.arange(50)}, recipe=LogisticRecipe((0.0,)))
