import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from ecgtext_plugins.evaluation.thresholds import OperatingPoint
from ecgtext_plugins.plotting.roc_curves import curve, draw_curves


def drawn_scores(n_classes, n=300, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.random((n, n_classes)) < 0.3
    scores = np.round(labels + rng.normal(size=labels.shape), 1)  # rounded: many ties
    return labels, scores, [f"class {place}" for place in range(n_classes)]


@pytest.mark.parametrize("seed", range(5))
def test_curves_are_those_of_scikit_learn(seed):
    labels, scores, _ = drawn_scores(1, seed=seed)
    truth, score = labels[:, 0], scores[:, 0]
    across, up = curve(truth, score, "roc")
    false, true, _ = roc_curve(truth, score, drop_intermediate=False)
    np.testing.assert_allclose(np.interp(false, across, up, right=1.0)[-1], 1.0)
    assert np.trapezoid(up, across) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    assert {*zip(across.round(12), up.round(12), strict=True)} <= {*zip(false.round(12), true.round(12), strict=True)}
    recall, precision = curve(truth, score, "pr")
    assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(average_precision_score(truth, score), abs=1e-12)
    expected_precision, expected_recall, _ = precision_recall_curve(truth, score)
    expected = {*zip(expected_recall.round(12), expected_precision.round(12), strict=True)}
    assert {*zip(recall[1:].round(12), precision[1:].round(12), strict=True)} <= expected


def test_curves_by_hand():
    truth, score = np.array([1, 0, 1, 0], bool), np.array([0.9, 0.8, 0.7, 0.1])
    across, up = curve(truth, score)
    assert (across.tolist(), up.tolist()) == ([0, 0, 0.5, 0.5, 1], [0, 0.5, 0.5, 1, 1])
    recall, precision = curve(truth, score, "pr")
    assert recall.tolist() == [0, 0.5, 1] and precision == pytest.approx([1, 1, 2 / 3])


@pytest.mark.parametrize(("truth", "kind"), [([0, 0], "roc"), ([1, 1], "roc"), ([0, 0], "pr")])
def test_undefined_curves_are_empty(truth, kind):
    across, up = curve(np.array(truth, bool), np.array([0.1, 0.2]), kind)
    assert not len(across) and not len(up)


@pytest.mark.parametrize("kind", ["roc", "pr"])
def test_few_classes_share_a_panel_in_a_colour_each(kind):
    labels, scores, names = drawn_scores(3)
    figure = draw_curves(labels, scores, names, kind)
    assert len(figure.axes) == 1
    area = {"roc": roc_auc_score, "pr": average_precision_score}[kind]
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == [
        f"class {k}: {area(labels[:, k], scores[:, k]):.3f} ({labels[:, k].sum()} of 300)" for k in range(3)
    ]
    solid = [line.get_color() for line in figure.axes[0].lines if line.get_linewidth() == 1.6]
    assert len(set(solid)) == 3


def test_many_classes_have_a_panel_each_and_undefined_ones_say_so():
    labels, scores, names = drawn_scores(9)
    labels[:, 4] = False
    panels = draw_curves(labels, scores, names).axes
    assert [panel.get_title() for panel in panels] == names
    told = [panel.texts[0].get_text() for panel in panels]
    assert told[4] == "undefined\n0 of 300"
    assert told[3].startswith(f"{roc_auc_score(labels[:, 3], scores[:, 3]):.3f}\n")


@pytest.mark.parametrize("n_classes", [2, 8])
def test_readers_stand_where_they_decide(n_classes):
    labels, scores, names = drawn_scores(n_classes)
    decided = scores[:, 1] >= 0.5
    hits, alarms = decided[labels[:, 1]].mean(), decided[~labels[:, 1]].mean()
    point = OperatingPoint(hits, 1 - alarms, (0, 1), (0, 1), int(labels[:, 1].sum()), int((~labels[:, 1]).sum()))
    precision = labels[decided, 1].mean()
    for kind, place in (("roc", (alarms, hits)), ("pr", (hits, precision))):
        figure = draw_curves(labels, scores, names, kind, {"a reader": {"class 1": point}})
        marked = [line for panel in figure.axes for line in panel.lines if line.get_marker() == "o"]
        assert len(marked) == 1
        assert marked[0].get_xydata()[0] == pytest.approx(place)
        assert "a reader" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    ("labels", "scores", "names", "kind", "message"),
    [
        (np.ones((2, 1)), np.ones((2, 2)), ["a"], "roc", "expected"),
        (np.ones((2, 1)), np.ones((2, 1)), ["a", "b"], "roc", "expected"),
        (np.ones((2, 1)), np.full((2, 1), np.nan), ["a"], "pr", "2 scores are not finite"),
        (np.ones((0, 1)), np.ones((0, 1)), ["a"], "roc", "expected"),
        (np.ones((2, 1)), np.ones((2, 1)), ["a"], "det", "kind='det'"),
    ],
)
def test_bad_scores_are_refused(labels, scores, names, kind, message):
    with pytest.raises(ValueError, match=message):
        draw_curves(labels, scores, names, kind)
