import numpy as np
import pytest

from ecgtext_plugins.plotting.class_bars import draw_class_bars


def test_classes_are_sorted_and_undefined_ones_stand_last():
    values = {"a": 0.6, "b": None, "c": 0.9, "d": 0.4, "e": float("nan")}
    intervals = {"a": (0.5, 0.7), "b": None, "c": (0.85, 0.95), "d": (0.3, 0.5)}
    axes = draw_class_bars(values, intervals, overall=0.633).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c", "a", "d", "b", "e"]
    bars = {bar.get_y() + bar.get_height() / 2: bar for bar in axes.patches}
    assert [bars[place].get_x() + bars[place].get_width() for place in range(3)] == pytest.approx([0.9, 0.6, 0.4])
    assert len(bars) == 3
    told = [text.get_text().strip() for text in axes.texts]
    assert told == ["0.900", "0.600", "0.400", "undefined", "undefined", "macro"]
    whiskers = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 1.2]
    np.testing.assert_allclose(whiskers, [(0.85, 0.95), (0.5, 0.7), (0.3, 0.5)])
    assert axes.get_xlim()[0] < 0.3
    assert axes.patches[0].get_facecolor() != axes.patches[2].get_facecolor()  # below chance


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="expected at least one"):
        draw_class_bars({})
