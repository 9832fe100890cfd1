"""Bootstrap over patients against a plain loop with scikit-learn, known areas and invariants."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from ecgtext_plugins.evaluation import intervals
from ecgtext_plugins.evaluation.intervals import bootstrap, bootstrap_ratios, paired_bootstrap, resamples

CLOSE = {"rel": 0, "abs": 1e-12}
METRICS = {"auroc": roc_auc_score, "auprc": average_precision_score}


def case(seed, n=90, shares=(0.1, 0.5, 0.85), levels=8):
    """Labels, scores with many ties that tell something, and patients with one to several records."""
    random = np.random.default_rng(seed)
    labels = random.random((n, len(shares))) < shares
    scores = np.round((labels + random.normal(size=labels.shape)) * levels / 4) / levels
    return labels, scores, random.integers(0, n // 2, n)


def looped(labels, scores, groups, n_resamples, seed, metric):
    """The same by a loop over resamples and classes; records repeated, not weighted."""
    codes = np.unique(groups, return_inverse=True)[1]
    weights = np.concatenate(list(resamples(codes.max() + 1, n_resamples, seed)), axis=1)
    samples = np.full((n_resamples, labels.shape[1] + 1), np.nan)
    for r in range(n_resamples):
        rows = np.repeat(np.arange(len(codes)), weights[codes, r])
        for k in range(labels.shape[1]):
            found = labels[rows, k]
            if found.any() and (metric == "auprc" or not found.all()):
                samples[r, k] = METRICS[metric](found, scores[rows, k])
        defined = samples[r, :-1][~np.isnan(samples[r, :-1])]
        samples[r, -1] = defined.mean() if len(defined) else np.nan
    return samples


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(40))
def test_samples_equal_scikit_learn_with_multiplicities_as_weights(seed, metric):
    labels, scores, groups = case(seed, n=30 + seed, levels=1 + seed % 8)
    samples = bootstrap(labels, scores, groups, 10, seed, metric).samples
    codes, groups = np.unique(groups, return_inverse=True)
    weights = next(resamples(len(codes), 10, seed))[groups]
    for r in range(10):
        for k in range(3):
            taken = labels[:, k][weights[:, r] > 0]
            if taken.any() and not taken.all():
                theirs = METRICS[metric](labels[:, k], scores[:, k], sample_weight=weights[:, r])
                assert samples[r, k] == pytest.approx(theirs, **CLOSE)


@pytest.mark.parametrize("metric", METRICS)
def test_equals_a_plain_loop_over_resamples(metric):
    labels, scores, groups = case(0)
    labels[:, 0] = False
    labels[groups == groups[0], 0] = True  # one patient's: undefined where that one was not drawn
    found = bootstrap(labels, scores, groups, 200, 3, metric, names=["rare", "half", "most"])
    samples = looped(labels, scores, groups, 200, 3, metric)
    np.testing.assert_allclose(found.samples, samples, rtol=0, atol=1e-12)
    assert found.n_undefined == {"rare": int(np.isnan(samples[:, 0]).sum()), "half": 0, "most": 0}
    assert 40 < found.n_undefined["rare"] < 110  # (1 - 1/P)^P is 0.36
    expected = np.nanpercentile(samples, [2.5, 97.5], axis=0).T
    np.testing.assert_allclose([*found.per_class.values(), found.macro], expected, rtol=0, atol=1e-12)


def test_classes_that_are_never_defined():
    labels, scores, groups = case(1)
    labels[:, 0], labels[:, 2] = False, True
    found = bootstrap(labels, scores, groups, 50, names=["none", "half", "every"])
    assert np.isnan(found.per_class["none"]).all() and np.isnan(found.per_class["every"]).all()
    assert found.macro == found.per_class["half"]
    assert found.n_undefined == {"none": 50, "half": 0, "every": 50}
    positives = bootstrap(labels, scores, groups, 50, metric="auprc", names=["none", "half", "every"])
    assert positives.per_class["every"] == (1.0, 1.0) and positives.n_undefined["every"] == 0
    nothing = bootstrap(labels[:, :1], scores[:, :1], groups, 50)
    assert np.isnan(nothing.macro).all()


def test_no_result_depends_on_blocks_or_the_order_of_records(monkeypatch):
    labels, scores, groups = case(2)
    expected = bootstrap(labels, scores, groups, 150, 5).samples
    order = np.random.default_rng(0).permutation(len(labels))
    names = np.array([f"patient-{group:04d}" for group in groups])
    again = bootstrap(labels[order], scores[order], names[order], 150, 5).samples
    assert np.array_equal(again, expected, equal_nan=True)
    monkeypatch.setattr(intervals, "BLOCK_VALUES", 700)
    assert np.array_equal(bootstrap(labels, scores, groups, 150, 5).samples, expected, equal_nan=True)
    assert not np.array_equal(bootstrap(labels, scores, groups, 150, 6).samples, expected, equal_nan=True)


def test_only_the_order_of_scores_matters():
    labels, scores, groups = case(3)
    expected, found = (bootstrap(labels, values, groups, 40).samples for values in (scores, np.exp(scores)))
    assert np.array_equal(found, expected, equal_nan=True)


def test_micro_average_is_that_of_one_class():
    labels, scores, groups = case(4)
    found = bootstrap(labels.reshape(-1, 1), scores.reshape(-1, 1), np.repeat(groups, 3), 20, 1).samples[:, 0]
    codes, groups = np.unique(groups, return_inverse=True)
    weights = next(resamples(len(codes), 20, 1))[groups]
    theirs = [roc_auc_score(labels, scores, average="micro", sample_weight=w) for w in weights.T]
    assert found == pytest.approx(theirs, **CLOSE)


def test_intervals_cover_the_known_area():
    """Scores N(1, 1) against N(0, 1): the area is Phi(1 / sqrt(2))."""
    random, truth, n_studies = np.random.default_rng(0), 0.7602499389065233, 120
    labels = random.random((150, n_studies)) < 0.3
    scores = labels + random.normal(size=labels.shape)
    found = bootstrap(labels, scores, np.arange(150), 400)
    bounds = np.array(list(found.per_class.values()))
    covered = ((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean()
    assert 0.88 <= covered <= 0.99
    # and the width is that of Hanley and McNeil's standard error (1982)
    q1, q2, m, n = truth / (2 - truth), 2 * truth**2 / (1 + truth), 45, 105
    error = np.sqrt((truth * (1 - truth) + (m - 1) * (q1 - truth**2) + (n - 1) * (q2 - truth**2)) / (m * n))
    assert np.median(bounds[:, 1] - bounds[:, 0]) == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_records_of_one_patient_widen_the_interval():
    """Nine copies of each record tell nothing new; as patients of their own they would seem to."""
    random = np.random.default_rng(1)
    labels = random.random((200, 1)) < 0.4
    scores = labels + random.normal(size=labels.shape)
    copies = np.repeat(labels, 9, axis=0), np.repeat(scores, 9, axis=0)
    single = bootstrap(labels, scores, np.arange(200), 300)
    by_patient = bootstrap(*copies, np.repeat(np.arange(200), 9), 300)
    by_record = bootstrap(*copies, np.arange(1800), 300)
    np.testing.assert_allclose(by_patient.samples, single.samples, rtol=0, atol=1e-12)
    width, naive = (found.macro[1] - found.macro[0] for found in (by_patient, by_record))
    assert width / naive == pytest.approx(3, rel=0.2)


def test_difference_of_a_model_with_itself_is_nothing():
    labels, scores, groups = case(5)
    found = paired_bootstrap(labels, scores, scores * 2 - 1, groups, 100, names=["a", "b", "c"])
    for each in (found, *found.per_class.values()):
        assert (each.difference, each.low, each.high, each.p_value) == (0, 0, 0, 1)


def test_paired_difference_equals_that_of_the_samples_and_is_narrower():
    random = np.random.default_rng(6)
    labels = random.random((300, 2)) < 0.4
    groups, common = np.arange(300) // 2, random.normal(size=labels.shape)
    a, b = (0.9 * labels + common + 0.3 * random.normal(size=labels.shape) for _ in range(2))
    b += 0.7 * labels
    found = paired_bootstrap(labels, a, b, groups, 400, 2, "auroc", ["x", "y"])
    one, two = (bootstrap(labels, scores, groups, 400, 2) for scores in (a, b))
    assert found.difference == pytest.approx(roc_auc_score(labels, a) - roc_auc_score(labels, b), **CLOSE)
    expected = np.percentile((one.samples - two.samples)[:, -1], [2.5, 97.5])
    assert (found.low, found.high) == pytest.approx(tuple(expected), **CLOSE)
    assert found.high - found.low < 0.8 * np.hypot(*(each.macro[1] - each.macro[0] for each in (one, two)))
    assert found.p_value == pytest.approx(2 / 401) and found.high < 0
    turned = paired_bootstrap(labels, b, a, groups, 400, 2)
    assert (turned.difference, turned.low) == pytest.approx((-found.difference, -found.high), **CLOSE)
    assert turned.p_value == found.p_value
    assert list(found.per_class) == ["x", "y"] and found.per_class["x"].per_class == {}


def test_p_values_of_equal_models_are_spread_evenly():
    random = np.random.default_rng(7)
    labels = random.random((120, 150)) < 0.4
    a, b = (labels + random.normal(size=labels.shape) for _ in range(2))
    found = paired_bootstrap(labels, a, b, np.arange(120), 200)
    values = np.array([each.p_value for each in found.per_class.values()])
    assert 0.005 < (values < 0.05).mean() < 0.12 and 0.4 < values.mean() < 0.6


def test_paired_difference_of_what_is_undefined():
    labels, scores, groups = case(8)
    labels[:, 0] = False
    found = paired_bootstrap(labels, scores, -scores, groups, 50, names=["a", "b", "c"])
    lacking = found.per_class["a"]
    assert np.isnan([lacking.difference, lacking.low, lacking.high, lacking.p_value]).all()
    assert np.isfinite([found.difference, found.low, found.p_value]).all()


def test_ratios_equal_a_loop():
    random = np.random.default_rng(9)
    labels, decisions = random.random((2, 80, 3)) < [0.05, 0.3, 0.6]
    groups = random.integers(0, 40, 80)
    found = bootstrap_ratios(2.0 * (labels & decisions), labels.astype(int) + decisions, groups, 60, 4)
    codes, groups = np.unique(groups, return_inverse=True)
    weights = np.concatenate(list(resamples(len(codes), 60, 4)), axis=1)[groups]
    theirs = [f1_score(labels, decisions, average=None, sample_weight=w, zero_division=np.nan) for w in weights.T]
    np.testing.assert_allclose(found.samples[:, :-1], theirs, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.samples[:, -1], np.nanmean(theirs, axis=1), rtol=0, atol=1e-12)


def test_resamples_are_whole_patients_with_replacement():
    weights = np.concatenate(list(resamples(50, 2000, 0)), axis=1)
    assert weights.shape == (50, 2000) and (weights.sum(axis=0) == 50).all()
    assert (weights == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.01)
    assert weights.mean(axis=1) == pytest.approx(np.ones(50), abs=0.12)
    assert np.array_equal(np.concatenate(list(resamples(50, 200, 0)), axis=1), weights[:, :200])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "f1"}, "metric='f1'"),
        ({"groups": np.zeros(90)}, "all 90 records are of one patient"),
        ({"groups": np.arange(3)}, r"groups have shape \(3,\): expected \(90,\)"),
        ({"groups": np.full(90, np.nan)}, "group of row 0 is not a number"),
        ({"n_resamples": 0}, "n_resamples=0"),
        ({"names": ["a", "b"]}, r"must both be \(n, 2\)"),
        ({"scores": np.full((90, 3), np.nan)}, "score of row 0 for class a is nan"),
    ],
)
def test_bad_input_is_refused_by_name(change, message):
    labels, scores, groups = case(0)
    arguments = {"labels": labels, "scores": scores, "groups": groups, "names": ["a", "b", "c"]} | change
    with pytest.raises(ValueError, match=message):
        bootstrap(**arguments)


def test_the_model_whose_scores_are_bad_is_named():
    labels, scores, groups = case(0)
    with pytest.raises(ValueError, match="model b's score of row 0 for class 0 is nan"):
        paired_bootstrap(labels, scores, np.full_like(scores, np.nan), groups)
    with pytest.raises(ValueError, match="model b's scores"):
        paired_bootstrap(labels, scores, scores[:-1], groups)
    with pytest.raises(ValueError, match="parts .* and wholes"):
        bootstrap_ratios(labels, labels[:, :2], groups)
