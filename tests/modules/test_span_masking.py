"""Span masks: their sizes against fairseq's, and what each option promises."""

import numpy as np
import pytest
import torch

from ecgtext_plugins.modules.span_masking import SpanMaskOptions, Spans, channel_spans, frame_spans, span_mask

SEEDS = torch.arange(400) * 7919 + 11


def draw(n, spans, rows=400, **options):
    return span_mask(SEEDS[:rows], n, spans, "frame_mask", **options)


def runs(row):
    """Return (first, last + 1) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.int().numpy(), [0]])))
    return edges.reshape(-1, 2).tolist()


@pytest.mark.parametrize(("prob", "n"), [(0.65, 156), (0.3, 312), (0.5, 40)])
def test_as_many_as_fairseq_masks(prob, n):
    from fairseq.data.data_utils import compute_mask_indices

    np.random.seed(0)
    theirs = [compute_mask_indices((1, n), None, prob, 10, min_masks=2).sum() for _ in range(2000)]
    ours = [span_mask(SEEDS[i : i + 1], n, Spans(prob, 10), "frame_mask", min_spans=2).sum() for i in range(400)]
    assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.03)
    assert np.std(ours) == pytest.approx(np.std(theirs), rel=0.2)


def test_rows_mask_as_many_and_depend_on_their_seed_alone():
    mask = draw(156, Spans(0.65, 10), min_spans=2)
    counts = mask.sum(1)
    assert (counts == counts[0]).all() and counts[0] >= 20
    assert torch.equal(mask, draw(156, Spans(0.65, 10), min_spans=2))
    assert len(mask.unique(dim=0)) == len(mask)
    assert mask.float().mean(0)[10:-10].std() < 0.05  # no place is preferred
    for row in range(5):  # trimming only takes steps away
        alone = span_mask(SEEDS[row : row + 1], 156, Spans(0.65, 10), "frame_mask", min_spans=2)[0]
        assert (mask[row] <= alone).all()
        assert all(last - first >= 10 for first, last in runs(alone)[:-1])


@pytest.mark.parametrize("no_overlap", [False, True])
def test_padding_is_never_masked(no_overlap):
    lengths = torch.randint(30, 157, (400,), generator=torch.Generator().manual_seed(0))
    padding = torch.arange(156) >= lengths[:, None]
    mask = draw(156, Spans(0.65, 10, no_overlap=no_overlap), padding=padding, min_spans=2)
    assert not (mask & padding).any()
    assert (mask.sum(1) == mask.sum(1)[0]).all() and mask.any()


@pytest.mark.parametrize("selection", ["static", "uniform", "normal", "poisson"])
@pytest.mark.parametrize("space", [0, 1, 4])
def test_spans_apart(selection, space):
    spans = Spans(0.5, 6, selection, 2.0, no_overlap=True, min_space=space)
    for seed in range(60):
        mask = span_mask(torch.tensor([seed]), 120, spans, "frame_mask")[0]
        found = runs(mask)
        assert all(after[0] - before[1] >= max(space, 1) for before, after in zip(found[:-1], found[1:], strict=True))
        if selection == "static":
            assert mask.sum() in (54, 60)  # 120 * 0.5 / 6 = 10 spans; a step of free space is lost in no case
        if selection == "static" and space:
            assert {last - first for first, last in found} == {6}


def test_spans_that_do_not_fit_are_left_out():
    mask = draw(25, Spans(3.0, 10, no_overlap=True, min_space=3))
    assert (mask.sum(1) == 20).all()
    firsts = {tuple(first for first, _ in runs(row)) for row in mask}
    assert firsts == {(a, b) for a in range(3) for b in range(a + 13, 16)}  # all arrangements occur


@pytest.mark.parametrize(
    ("selection", "other", "mean", "deviation"),
    [("uniform", 2.0, 11.0, 5.48), ("normal", 2.0, 10.0, 2.02), ("poisson", 0.0, 10.0, 3.16)],
)
def test_lengths(selection, other, mean, deviation):
    # Two spans in a row of 4000 steps hardly ever touch.
    spans = Spans(2 * 10 / 4000, 10, selection, other)
    lengths = [
        last - first
        for seed in range(400)
        for first, last in runs(span_mask(torch.tensor([seed]), 4000, spans, "frame_mask")[0])
    ]
    assert np.mean(lengths) == pytest.approx(mean, rel=0.05)
    assert np.std(lengths) == pytest.approx(deviation, rel=0.1)


def test_options_are_checked():
    assert frame_spans(SpanMaskOptions(mask_prob=0.5, mask_length=3)) == Spans(0.5, 3)
    assert channel_spans(SpanMaskOptions(mask_channel_prob=0.5, mask_channel_other=3)) == Spans(0.5, 10, other=3)
    with pytest.raises(ValueError, match="mask_channel_selection='spans'"):
        channel_spans(SpanMaskOptions(mask_channel_selection="spans"))
    with pytest.raises(ValueError, match="mask_length=0"):
        frame_spans(SpanMaskOptions(mask_length=0))
