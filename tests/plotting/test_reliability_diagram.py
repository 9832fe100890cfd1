import numpy as np
import pytest

from ecgtext_plugins.evaluation.calibration import reliability
from ecgtext_plugins.plotting.reliability_diagram import draw_reliability


def test_dots_are_the_bins_that_have_predictions():
    rng = np.random.default_rng(0)
    probabilities = rng.random(4000) * 0.5  # the upper bins stay empty
    found = reliability(rng.random(4000) < probabilities, probabilities, bins=10)
    panel, bars = draw_reliability(found.confidence, found.frequency, found.count, found.ece).axes
    (dots,) = panel.collections
    used = found.count > 0
    assert used.sum() == 5
    np.testing.assert_allclose(dots.get_offsets(), np.c_[found.confidence, found.frequency][used])
    assert [bar.get_height() for bar in bars.patches] == found.count.tolist()
    assert panel.texts[0].get_text() == f"ECE {found.ece:.3f}" and found.ece < 0.03


@pytest.mark.parametrize("count", [np.zeros(3), np.ones(2)])
def test_nothing_to_draw_is_refused(count):
    with pytest.raises(ValueError, match="expected"):
        draw_reliability(np.ones(3), np.ones(3), count)
