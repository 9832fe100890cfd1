"""Masks made of spans (wav2vec 2.0, Baevski et al. 2020, section 3.1), drawn for each row from its own seed."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ecgtext_plugins.modules.seeded_draws import uniforms

SELECTIONS = ("static", "uniform", "normal", "poisson")


@dataclass
class SpanMaskOptions:
    """Which frames are hidden behind a learned vector, which channels of all frames are zeroed."""

    apply_mask: bool = field(default=False, metadata={"help": "hide spans of frames and channels (see mask_prob)"})
    mask_length: int = field(default=10, metadata={"help": "frames of a hidden span"})
    mask_prob: float = field(
        default=0.0, metadata={"help": "frames in spans, overlaps counted twice, as a share of all; 0: no spans"}
    )
    mask_selection: str = field(
        default="static", metadata={"help": "length of a span: static|uniform|normal|poisson, around mask_length"}
    )
    mask_other: float = field(
        default=0.0, metadata={"help": "uniform: shortest span (longest: 2 * mask_length); normal: std of the length"}
    )
    no_mask_overlap: bool = field(default=False, metadata={"help": "spans of frames do not overlap"})
    mask_min_space: int = field(default=1, metadata={"help": "frames between spans that do not overlap"})
    mask_channel_length: int = field(default=10, metadata={"help": "channels of a zeroed span"})
    mask_channel_prob: float = field(default=0.0, metadata={"help": "as mask_prob, for channels"})
    mask_channel_selection: str = field(default="static", metadata={"help": "as mask_selection, for channels"})
    mask_channel_other: float = field(default=0.0, metadata={"help": "as mask_other, for channels"})
    no_mask_channel_overlap: bool = field(default=False, metadata={"help": "spans of channels do not overlap"})
    mask_channel_min_space: int = field(default=1, metadata={"help": "as mask_min_space, for channels"})


class Spans(NamedTuple):
    """How many spans, and of which lengths; see `SpanMaskOptions`."""

    prob: float
    length: int
    selection: str = "static"
    other: float = 0.0
    no_overlap: bool = False
    min_space: int = 1


def frame_spans(options: SpanMaskOptions) -> Spans:
    """Read the options for frames."""
    o = options
    return _checked(
        Spans(o.mask_prob, o.mask_length, o.mask_selection, o.mask_other, o.no_mask_overlap, o.mask_min_space), "mask"
    )


def channel_spans(options: SpanMaskOptions) -> Spans:
    """Read the options for channels."""
    o = options
    spans = Spans(
        *(o.mask_channel_prob, o.mask_channel_length, o.mask_channel_selection),
        *(o.mask_channel_other, o.no_mask_channel_overlap, o.mask_channel_min_space),
    )
    return _checked(spans, "mask_channel")


def _checked(spans: Spans, prefix: str) -> Spans:
    if spans.selection not in SELECTIONS:
        raise ValueError(f"{prefix}_selection={spans.selection!r}: expected one of {', '.join(SELECTIONS)}")
    if not 0 <= spans.prob:
        raise ValueError(f"{prefix}_prob={spans.prob}: expected 0 or more")
    if spans.length < 1:
        raise ValueError(f"{prefix}_length={spans.length}: expected 1 or more")
    if spans.min_space < 0:
        raise ValueError(f"{prefix}_min_space={spans.min_space}: expected 0 or more")
    if spans.selection == "uniform" and not 0 <= spans.other <= 2 * spans.length:
        raise ValueError(f"{prefix}_other={spans.other}: expected 0 to 2 * {prefix}_length = {2 * spans.length}")
    return spans


def span_mask(
    seeds: Tensor, n: int, spans: Spans, stream: str, padding: Tensor | None = None, min_spans: int = 0
) -> Tensor:
    """Draw a mask for each row.

    A row of n steps gets ``prob * n / length`` spans, rounded up or down at random, at places drawn without
    replacement; then masked steps are taken away at random until every row masks as many as the one that masks fewest.
    Spans that may not overlap are placed uniformly among all the ways to place as many of them as fit (the published
    code splits gaps one after the other, and fits fewer).

    Parameters
    ----------
    seeds : Tensor, shape (B,), int64
        A row's spans depend on nothing but its seed, n and its padding.
    n : int
        Steps.
    spans : Spans
    stream : str
        Name in `seeded_draws.STREAMS`.
    padding : Tensor, shape (B, n), bool, optional
        True behind a row's end: never masked.
    min_spans : int
        Draw so many spans at least.

    Returns
    -------
    Tensor, shape (B, n), bool
        True where masked; the same number in every row.
    """
    draws = uniforms(seeds, stream, 3 * n + 1)
    rounding, places, thinning, sizes = draws[:, 0], draws[:, 1 : n + 1], draws[:, n + 1 : 2 * n + 1], None
    sizes = torch.full_like(seeds, n) if padding is None else (~padding).sum(1)
    count = (spans.prob * sizes / spans.length + rounding).long().clamp(min=min_spans).minimum(sizes - 1)
    lengths = _lengths(draws[:, 2 * n + 1 :], count, sizes, spans)
    place = _apart if spans.no_overlap else _anywhere
    starts, lengths = place(places, lengths, count, sizes, spans.min_space)
    steps = torch.arange(n, device=seeds.device)
    edges = torch.zeros(len(seeds), n + 1, dtype=torch.long, device=seeds.device)
    edges.scatter_add_(1, starts.clamp(max=n), (lengths > 0).long())
    edges.scatter_add_(1, (starts + lengths).clamp(max=n), -(lengths > 0).long())
    mask = (edges.cumsum(1)[:, :n] > 0) & (steps < sizes[:, None])
    rank = thinning.masked_fill(~mask, 2.0).argsort(1).argsort(1)
    return mask & (rank < mask.sum(1).min())


def _lengths(noise: Tensor, count: Tensor, sizes: Tensor, spans: Spans) -> Tensor:
    """Lengths of each row's `count` spans, 0 behind them: (B, n) int64."""
    wanted = torch.arange(noise.shape[1], device=noise.device) < count[:, None]
    if spans.selection == "static":
        return wanted * spans.length
    if spans.selection == "uniform":
        lengths = (spans.other + noise * (2 * spans.length + 1 - spans.other)).long()
    elif spans.selection == "normal":
        lengths = (spans.length + spans.other * torch.special.ndtri(noise.clamp(min=1e-12))).round().long().clamp(min=1)
    else:
        events = torch.arange(spans.length + 10 * int(spans.length**0.5 + 2), device=noise.device).double()
        log_probabilities = events * torch.tensor(float(spans.length)).log() - spans.length - (events + 1).lgamma()
        lengths = torch.searchsorted(log_probabilities.exp().cumsum(0), noise.contiguous())
    lengths = lengths * wanted
    empty = (lengths.sum(1) == 0) & (count > 0)
    lengths[:, 0] = torch.where(empty, (sizes - 1).clamp(max=spans.length), lengths[:, 0])
    return lengths


def _anywhere(noise: Tensor, lengths: Tensor, count: Tensor, sizes: Tensor, min_space: int) -> tuple[Tensor, Tensor]:
    """Starts drawn without replacement, such that the shortest span fits whole."""
    steps = torch.arange(noise.shape[1], device=noise.device)
    shortest = lengths.masked_fill(steps >= count[:, None], noise.shape[1]).amin(1)
    choices = torch.maximum(sizes - shortest, count + 1)
    return noise.masked_fill(steps >= choices[:, None], 2.0).argsort(1), lengths


def _apart(noise: Tensor, lengths: Tensor, count: Tensor, sizes: Tensor, min_space: int) -> tuple[Tensor, Tensor]:
    """Starts of spans in a random arrangement: the free steps are dealt out among the gaps."""
    steps = torch.arange(noise.shape[1], device=noise.device)
    lengths = lengths.clamp(min=1)
    ends = lengths.cumsum(1) + min_space * steps  # where spans without free steps between them end
    fits = (ends <= sizes[:, None]) & (steps < count[:, None])
    fitting = fits.sum(1, keepdim=True)
    free = sizes[:, None] - (ends * fits).amax(1, keepdim=True)
    slots = noise.masked_fill(steps >= free + fitting, 2.0).argsort(1).argsort(1) < fitting
    chosen = (~slots).byte().argsort(dim=1, stable=True)  # the slots that hold a span, in order
    return chosen - steps + ends - lengths, lengths * fits
