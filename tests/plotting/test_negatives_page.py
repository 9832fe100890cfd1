import numpy as np
import pytest

from ecgtext_plugins.plotting.negatives_page import negatives_page


def test_panels_show_shares_of_pairs_and_of_draws():
    rng = np.random.default_rng(0)
    similarities = {"farthest": rng.normal(-0.4, 0.1, 300), "band": rng.normal(0.3, 0.1, 300), "random": rng.random(80)}
    counts = {"farthest": np.array([50, 30, 20]), "band": np.full(40, 5)}
    figure = negatives_page(similarities, counts, 60, "a title")
    left, right = figure.axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        *("own negatives, farthest", "own negatives, band", "random pairs")
    ]
    for patch in left.patches:  # outlines of histograms: the area under each is 100 % of its pairs
        x, y = patch.get_xy().T
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        bins = np.diff(np.unique(x))
        assert area / bins.max() == pytest.approx(100, rel=1e-6)
    farthest, band, equal = right.lines
    np.testing.assert_allclose(farthest.get_ydata(), [50, 80, 100])
    np.testing.assert_allclose(band.get_ydata()[[0, 19, 39]], [2.5, 50, 100])
    assert equal.get_ydata()[-1] == 100
    assert "farthest: 3 of 60 serve" in [text.get_text() for text in right.get_legend().get_texts()]


def test_equal_similarities_and_two_candidates_can_be_drawn(tmp_path):
    figure = negatives_page({"farthest": np.ones(4), "random": np.ones(4)}, {"farthest": np.array([2, 2])}, 2)
    figure.savefig(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 1000
