"""Saliency on ECG paper: colours, scale and places, measured on the figure's artists."""

import time

import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb

from ecgtext_plugins.errors import EcgTextError
from ecgtext_plugins.plotting.ecg_paper import PAPER
from ecgtext_plugins.plotting.figure_file import save_figure
from ecgtext_plugins.plotting.saliency import COLORS, LEVELS, color_map, draw_saliency
from ecgtext_plugins.signals.leads import LEADS

INCH = 25.4


def waves(seconds=10, rate=500, seed=0):
    """Return a smooth random signal (12, T)."""
    rng = np.random.default_rng(seed)
    t = np.arange(seconds * rate) / rate
    return np.stack([rng.uniform(0.3, 1.5) * np.sin(2 * np.pi * rng.uniform(0.8, 2) * t) for _ in LEADS])


def traces(figure):
    """Return the leads' collections in the order drawn; the two before them are the grid."""
    return [c for c in figure.axes[0].collections if isinstance(c, LineCollection)][2:]


def colour_of(collection, x):
    """Return the colour of the line that begins at, or runs on through, `x` mm."""
    colours = collection.cmap(collection.norm(collection.get_array()))
    for points, colour in zip(collection.get_segments(), colours, strict=True):
        if points[0, 0] - 1e-6 <= x < points[-1, 0] - 1e-6:
            return colour[:3]
    raise AssertionError(f"nothing is drawn at {x}")


def test_samples_have_the_colours_of_their_values():
    values = np.linspace(0, 1, 5000) ** 2
    figure = draw_saliency(waves(), 500, values)
    assert len(traces(figure)) == 12
    for place in (0, 1777, 4000, 4998):
        level = min(int(values[place] * LEVELS), LEVELS - 1)
        for collection in traces(figure):
            assert colour_of(collection, 25 + place * 0.05) == pytest.approx(color_map("blue-red")(level)[:3])
    blue, red = (colour_of(traces(figure)[3], 25 + place * 0.05) for place in (0, 4998))
    assert blue[2] > 0.8 > 0.2 > blue[0] and red[0] > 0.8 > 0.2 > red[2]


def test_each_lead_has_its_own_colours():
    values = np.repeat(np.arange(12)[:, None] / 11, 5000, axis=1)
    colours = [colour_of(collection, 100.0) for collection in traces(draw_saliency(waves(), 500, values))]
    assert all(after[0] > before[0] for before, after in zip(colours, colours[1:], strict=False))  # redder


def test_traces_are_whole_and_to_scale():
    signal, rng = waves(), np.random.default_rng(1)
    figure = draw_saliency(signal, 500, rng.random((12, 5000)))
    ends = []
    for lead, collection in zip(signal, traces(figure), strict=True):
        lines = collection.get_segments()
        points = np.concatenate([lines[0][:1], *(line[1:] for line in lines)])
        np.testing.assert_allclose(points[:, 0], 25 + np.arange(5000) * 0.05)
        np.testing.assert_allclose(np.diff(points[:, 1]), 10 * np.diff(lead), atol=1e-9)
        assert all((one[-1] == next_one[0]).all() for one, next_one in zip(lines, lines[1:], strict=False))
        ends.append(points[:, 1])
    assert all((above.min() > below.max()) for above, below in zip(ends, ends[1:], strict=False))  # no overlap
    axes, (width, height) = figure.axes[0], figure.get_size_inches() * INCH
    assert axes.get_xlim() == (0, pytest.approx(width)) and axes.get_ylim() == (0, pytest.approx(height))
    assert width % 5 == pytest.approx(0, abs=1e-9) and ends[0].max() < height - 15 and ends[-1].min() > 12


def test_tall_leads_get_room_and_all_stay_on_the_paper():
    signal = waves()
    signal[5] *= 4 / np.abs(signal[5]).max()  # 4 mV, and one of 40 mV
    signal[8, 1000:1010] = 40.0
    figure = draw_saliency(signal, 500, np.zeros(5000))
    names = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}
    gaps = -np.diff([names[lead] for lead in LEADS])
    assert (gaps >= 15).all() and (gaps <= 60).all() and np.allclose(gaps % 5, 0) and gaps[4] >= 40
    assert figure.get_size_inches()[1] * INCH < 4 * 60 + 8 * 35 + 100


def test_names_title_bar_and_borders():
    figure = draw_saliency(
        waves(), 500, np.zeros(5000), "record 7\nAF", "what it is", start=2, seconds=4, borders=[1, 5]
    )
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert set(LEADS) | {"record 7\nAF", "what it is"} <= set(texts)
    assert "25 mm/s   10 mm/mV   500 Hz   from 2 s" in texts
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == ["0.0", "0.5", "1.0"]
    dotted = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    assert [line.get_xdata()[0] for line in dotted] == [25 + 3 * 25]
    starts = [line.get_segments()[0][0, 0] for line in traces(figure)]
    assert starts == [25.0] * 12 and traces(figure)[0].get_segments()[-1][-1, 0] == pytest.approx(25 + 1999 * 0.05)


def test_no_text_overlaps_another_or_leaves_the_paper():
    title = f"{40 * 'x'}   gradient of the embedding's squared norm\n{45 * 'A'}   probability 0.900"
    meaning = "gradient: 0 is 0.000118, 1 is 0.00767, the record's lowest and highest"
    figure = draw_saliency(waves(4), 500, np.zeros(2000), title, meaning, seconds=4, start=0.25)
    renderer = RendererAgg(*figure.bbox.size, figure.dpi)
    texts = [text for axes in figure.axes for text in (*axes.texts, *axes.get_xticklabels())]
    boxes = [text.get_window_extent(renderer) for text in texts]
    for place, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, texts[place]
        for other in boxes[:place]:
            assert not box.overlaps(other), (texts[place], other)


def test_missing_leads_and_gaps_are_left_open():
    signal = waves()
    signal[3] = np.nan
    signal[0, 100:200] = np.nan
    figure = draw_saliency(signal, 500, np.full(5000, 0.5))
    assert [text.get_text() for text in figure.axes[0].texts].count("no signal") == 1
    assert len(traces(figure)) == 11
    lines = traces(figure)[0].get_segments()
    assert [len(line) for line in lines] == [100, 4800]


def test_colours_can_be_seen_on_paper_and_cividis_grows_darker():
    paper = np.array(to_rgb(PAPER)) @ [0.2126, 0.7152, 0.0722]
    for name in COLORS:
        lightness = color_map(name)(np.arange(LEVELS))[:, :3] @ [0.2126, 0.7152, 0.0722]
        assert (lightness < paper - 0.2).all()
    assert (np.diff(lightness) < 0.005).all() and lightness[0] - lightness[-1] > 0.4


def test_page_of_ten_seconds_is_fast_small_and_the_same_again(tmp_path):
    rng = np.random.default_rng(3)
    values = np.cumsum(rng.normal(size=(12, 5000)), axis=1)
    values = (values - values.min()) / np.ptp(values)
    began = time.perf_counter()
    for name in ("one.png", "two.png"):
        save_figure(draw_saliency(waves(), 500, values), tmp_path / name)
    assert (time.perf_counter() - began) / 2 < 3
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.png").stat().st_size < 2e6
    save_figure(draw_saliency(waves(), 500, values), tmp_path / "page.svg")
    assert (tmp_path / "page.svg").stat().st_size < 8e6


@pytest.mark.parametrize(
    ("signal", "values"),
    [
        (np.zeros((5000, 12)), np.zeros(12)),
        (np.zeros((12, 100)), np.zeros(99)),
        (np.zeros((12, 100)), np.full(100, 1.1)),
        (np.zeros((12, 100)), np.full(100, np.nan)),
        (np.zeros(100), np.zeros(100)),
    ],
)
def test_bad_input_is_refused(signal, values):
    with pytest.raises(ValueError, match="expected"):
        draw_saliency(signal, 500, values)


@pytest.mark.parametrize("options", [{"start": 10.0}, {"start": -1.0}, {"seconds": 0.0}, {"colors": "jet"}])
def test_what_cannot_be_drawn_is_told(options):
    with pytest.raises(EcgTextError, match="expected"):
        draw_saliency(waves(), 500, np.zeros(5000), **options)
