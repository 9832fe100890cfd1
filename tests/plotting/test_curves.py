import matplotlib
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from ecgtext_plugins.errors import EcgTextError
from ecgtext_plugins.plotting.curves import read_metrics, roc_curves, roc_points, training_curves
from ecgtext_plugins.plotting.figure_file import save_figure

METRICS = """split,epoch,num_updates,lr,loss,etm_loss,etm_accuracy
train,1,20,0.001,3.5,0.7,
train,2,60,0.001,2.5,0.6,
train,1,40,0.001,3.0,0.65,
valid,1,40,,3.1,0.66,0.55
valid,2,60,,2.7,0.61,0.6
"""


@pytest.fixture
def metrics(tmp_path):
    (tmp_path / "metrics.csv").write_text(METRICS)
    return read_metrics(tmp_path / "metrics.csv")


def test_metrics_are_read_by_split_in_order(metrics):
    assert list(metrics) == ["train", "valid"]
    assert metrics["train"]["num_updates"].tolist() == [20, 40, 60]
    assert metrics["train"]["loss"].tolist() == [3.5, 3.0, 2.5]
    assert np.isnan(metrics["valid"]["lr"]).all() and metrics["valid"]["etm_accuracy"].tolist() == [0.55, 0.6]


def test_training_curves_draw_what_was_read(metrics):
    figure = training_curves(metrics)
    panels = {axes.get_ylabel(): axes for axes in figure.axes}
    assert set(panels) == {"lr", "loss", "etm loss", "etm accuracy"}
    train, valid = panels["loss"].lines
    assert train.get_ydata().tolist() == [3.5, 3.0, 2.5] and valid.get_xdata().tolist() == [40, 60]
    assert panels["etm accuracy"].lines[0].get_xdata().size == 0  # training logs none
    assert len(training_curves(metrics, ["loss"]).axes) == 1


def test_nothing_to_draw_is_refused(metrics):
    with pytest.raises(ValueError, match="no metric"):
        training_curves(metrics, ["mlm_loss"])


@pytest.mark.parametrize("content", ["", "split,epoch\n", "a,b\n1,2\n", "split,epoch,num_updates,loss\ntrain,1,20,x\n"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "metrics.csv").write_text(content)
    with pytest.raises(EcgTextError, match=r"metrics\.csv"):
        read_metrics(tmp_path / "metrics.csv")


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(EcgTextError, match="cannot read"):
        read_metrics(tmp_path / "none.csv")


@pytest.mark.parametrize("levels", [3, 1000])  # ties, and hardly any
def test_roc_is_scikit_learns(levels):
    rng = np.random.default_rng(levels)
    truth = rng.random(200) < 0.3
    score = np.round(rng.normal(size=200) + truth, 0 if levels == 3 else 6)
    alarms, hits = roc_points(truth, score)
    expected = roc_curve(truth, score, drop_intermediate=False)
    assert alarms == pytest.approx(expected[0]) and hits == pytest.approx(expected[1])


def test_roc_curves_tell_the_area(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.random((300, 3)) < [0.5, 0.1, 0.0]
    scores = rng.normal(size=(300, 3)) + labels
    figure = roc_curves(labels, scores, ["sinus_rhythm", "st_elevation", "never"])
    told = [axes.texts[0].get_text() for axes in figure.axes]
    for column in range(2):
        assert f"AUROC {roc_auc_score(labels[:, column], scores[:, column]):.3f}" in told[column]
    assert "undefined" in told[2] and "0 of 300" in told[2]
    assert [axes.get_title() for axes in figure.axes] == ["sinus rhythm", "st elevation", "never"]
    save_figure(figure, tmp_path / "new" / "roc.svg")
    assert (tmp_path / "new" / "roc.svg").read_text().startswith("<?xml")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["roc.svg"]


@pytest.mark.parametrize(
    ("labels", "scores", "names"),
    [
        (np.zeros((3, 2)), np.zeros((3, 3)), ["a", "b"]),
        (np.zeros((3, 2)), np.zeros((3, 2)), ["a"]),
        (np.zeros((3, 2)), np.full((3, 2), np.nan), ["a", "b"]),
    ],
)
def test_bad_scores_are_refused(labels, scores, names):
    with pytest.raises(ValueError, match="expected"):
        roc_curves(labels, scores, names)


def test_unknown_ending_is_refused(tmp_path):
    with pytest.raises(EcgTextError, match=r"\.png"):
        save_figure(matplotlib.figure.Figure(), tmp_path / "curves.gif")
    assert list(tmp_path.iterdir()) == []
