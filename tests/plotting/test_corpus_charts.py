import numpy as np
import pytest

from ecgtext_plugins.plotting.corpus_charts import corpus_charts

FOUND = {
    "recipe": "demo",
    "sample_rate": 100.0,
    "counts": {"kept": 30},
    "splits": {"train": 20, "valid": 10, "test": 0},
    "labels": {"NORM": {"train": 10, "valid": 10, "test": 0}, "MI": {"train": 5, "valid": 0, "test": 0}},
    "failures": {"checksum": {"records": 3}, "truncated": {"records": 1}},
}
COUNTS, SECONDS = np.array([20, 5, 1, 1]), np.full(30, 10.0)
AGES = {"F": np.array([30.0, 64.0, np.nan]), "M": np.array([50.0])}


def test_bars_are_shares_of_each_split():
    figure = corpus_charts(FOUND, COUNTS, SECONDS, AGES)
    labels, ranks, lengths, ages, failures = figure.axes
    widths = [bar.get_width() for bar in labels.patches]
    assert widths == [50.0, 25.0, 100.0, 0.0]  # train: NORM, MI; valid: NORM, MI; test is empty
    assert [text.get_text() for text in labels.get_yticklabels()] == ["NORM", "MI"]
    assert [text.get_text() for text in labels.get_legend().get_texts()] == ["train (20)", "valid (10)"]
    np.testing.assert_array_equal(ranks.lines[0].get_ydata(), COUNTS)
    assert sum(bar.get_height() for bar in lengths.patches) == 30
    assert [text.get_text() for text in ages.get_legend().get_texts()] == ["F (2)", "M (1)"]
    assert [bar.get_width() for bar in failures.patches] == [3, 1]


def test_what_is_not_there_is_said():
    empty = {**FOUND, "labels": {}, "failures": {}}
    figure = corpus_charts(empty, COUNTS[:0], SECONDS[:0], {"": np.array([np.nan])})
    words = [panel.texts[0].get_text() for panel in figure.axes]
    assert words == ["no labels", "no reports", "no records", "no ages", "no record was rejected"]


@pytest.mark.parametrize("number", [3, 71, 174])
def test_many_labels_do_not_overlap(number):
    labels = {f"all/LABEL{place}": FOUND["labels"]["NORM"] for place in range(number)}
    figure = corpus_charts({**FOUND, "labels": labels}, COUNTS, SECONDS, AGES)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].get_yticklabels()]
    assert all(above.y0 >= below.y1 - 1 for above, below in zip(boxes, boxes[1:], strict=False))
    assert figure.get_size_inches()[1] < 40
