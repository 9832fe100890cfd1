"""ECG paper to scale: measured on the figure's artists and on pixels."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from ecgtext_plugins.plotting.ecg_paper import LAYOUT, Strip, draw_ecg, draw_page, paper_size
from ecgtext_plugins.signals.leads import LEADS

INCH = 25.4


def steps(lead, height=1.0, rate=500, seconds=10):
    """Return an ECG that is flat but for one second of `height` mV in one lead, at 1 s."""
    signal = np.zeros((12, rate * seconds), dtype=np.float32)
    signal[LEADS.index(lead), rate : 2 * rate] = height
    return signal


def traces(figure):
    """Return the leads' lines in the order drawn: four a row, then the rhythm strip."""
    return [line for line in figure.axes[0].lines if len(line.get_xdata()) > 10]


def test_axes_are_millimetres_of_the_printed_figure():
    figure = draw_ecg(np.zeros((12, 5000)), 500)
    width, height = paper_size(10.0)
    assert figure.get_size_inches() * INCH == pytest.approx([width, height])
    axes = figure.axes[0]
    assert axes.get_position().bounds == pytest.approx((0, 0, 1, 1))
    assert axes.get_xlim() == (0, width) and axes.get_ylim() == (0, height)
    assert width >= 250 + 10


def test_one_millivolt_is_10_mm_and_one_second_25_mm():
    (line,) = [
        line for line in traces(draw_ecg(steps("II", 1.5), 500, rhythm_lead="V1")) if np.ptp(line.get_ydata()) > 0
    ]
    xs, ys = line.get_xdata(), line.get_ydata()
    assert np.ptp(ys) == pytest.approx(15.0)
    high = xs[ys > ys.min() + 1]
    assert high[-1] - high[0] == pytest.approx(25.0, abs=0.06)


def test_grid_is_every_1_and_5_mm():
    grids = [c for c in draw_ecg(np.zeros((12, 5000)), 500).axes[0].collections if isinstance(c, LineCollection)]
    assert len(grids) == 2
    for grid, step in zip(grids, (1.0, 5.0), strict=True):
        upright = sorted(path[0][0] for path in grid.get_segments() if path[0][0] == path[1][0])
        level = sorted(path[0][1] for path in grid.get_segments() if path[0][1] == path[1][1])
        assert np.diff(upright) == pytest.approx(step) and np.diff(level) == pytest.approx(step)


def test_calibration_pulse_is_1_mv_for_200_ms():
    pulses = [line for line in draw_ecg(np.zeros((12, 5000)), 500).axes[0].lines if len(line.get_xdata()) == 6]
    assert len(pulses) == 4
    for pulse in pulses:
        xs, ys = pulse.get_xdata(), pulse.get_ydata()
        assert max(ys) - min(ys) == pytest.approx(10.0) and xs[3] - xs[2] == pytest.approx(5.0)


def test_every_lead_is_in_its_place_and_part_of_time():
    signal = np.arange(12)[:, None] + np.linspace(0, 1, 5000)  # tells lead and time by value
    drawn = traces(draw_ecg(signal, 500, rhythm_lead="V1"))
    assert len(drawn) == 13
    order = [lead for row in LAYOUT for lead in row]
    for place, (line, lead) in enumerate(zip(drawn, [*order, "V1"], strict=True)):
        row, column = divmod(place, 4)
        start, stop = (1250 * column, 1250 * (column + 1)) if lead != "V1" or place < 12 else (0, 5000)
        expected = signal[LEADS.index(lead), start:stop] - np.median(signal[LEADS.index(lead)])
        assert np.diff(line.get_ydata()) / 10 == pytest.approx(np.diff(expected))
        assert len(line.get_xdata()) == stop - start
        assert line.get_xdata()[0] == pytest.approx(15 + start / 500 * 25)
        baseline = paper_size(10)[1] - 15 - (row + 0.55) * 25
        assert line.get_ydata()[0] == pytest.approx(baseline + 10 * expected[0])


def test_names_of_the_leads_and_title_are_written():
    texts = [text.get_text() for text in draw_ecg(np.zeros((12, 5000)), 500, "record 7").axes[0].texts]
    assert set(LEADS) | {"record 7"} <= set(texts) and texts.count("II") == 2


def test_missing_and_short_signals():
    signal = np.random.default_rng(0).normal(size=(12, 1500))
    signal[LEADS.index("aVR")] = np.nan
    signal[LEADS.index("I"), 100:200] = np.nan
    figure = draw_ecg(signal, 500)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("no signal") == 1  # V1..V6 would begin after the end
    assert np.isnan(traces(figure)[0].get_ydata()).sum() == 100


def test_page_of_several():
    strips = [Strip(steps("II", height), 500, f"number {height}") for height in (1, 2, 3)]
    figure = draw_page(strips, columns=2)
    assert len(figure.axes) == 3
    assert figure.get_size_inches() * INCH == pytest.approx([2 * paper_size(10)[0], 2 * paper_size(10)[1]])
    for axes, height in zip(figure.axes, (1, 2, 3), strict=True):
        assert f"number {height}" in [text.get_text() for text in axes.texts]
        assert max(np.ptp(line.get_ydata()) for line in axes.lines) == pytest.approx(10 * max(height, 1))
        assert axes.get_position().width * figure.get_size_inches()[0] * INCH == pytest.approx(paper_size(10)[0])


def test_rendered_pixels_show_the_step():
    figure = draw_ecg(steps("I", 1.0), 500)
    figure.set_dpi(254)  # 10 pixels a millimetre
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    dark = (pixels.max(axis=2) < 90)[:, 420:620]  # columns between 42 and 62 mm: lead I is high from 40 to 65 mm
    rows = np.flatnonzero(dark[: round((15 + 0.8 * 25) * 10)].mean(axis=1) > 0.9)
    expected = (15 + 0.55 * 25 - 10) * 10  # mm from the top, one millivolt above the baseline
    assert len(rows) and abs(rows.mean() - expected) < 4


@pytest.mark.parametrize(
    ("signal", "rate", "options"),
    [
        (np.zeros((5000, 12)), 500, {}),
        (np.zeros(5000), 500, {}),
        (np.zeros((12, 100)), 0, {}),
        (np.zeros((12, 100)), 100, {"rhythm_lead": "V7"}),
    ],
)
def test_bad_input_is_refused(signal, rate, options):
    with pytest.raises(ValueError, match="expected"):
        draw_ecg(signal, rate, **options)


def test_empty_page_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        draw_page([])
