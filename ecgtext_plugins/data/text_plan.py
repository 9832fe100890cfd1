"""What a model need not compute of a batch's reports: padding of shorter groups, copies, tokens that no head reads."""

from typing import Any

import numpy as np
import torch

from ecgtext_plugins.data.token_masking import IGNORED


def length_groups(lengths: np.ndarray, groups: int) -> list[tuple[int, int, int]]:
    """Cut rows that ascend in length into at most `groups` runs of least padding in total.

    Rows of one length stay together.

    Parameters
    ----------
    lengths : ndarray, shape (B,), ascending
    groups : int

    Returns
    -------
    list of (start, stop, longest)
    """
    ends = np.flatnonzero(np.diff(lengths, append=lengths[-1] + 1)) + 1
    starts = np.concatenate([[0], ends[:-1]])
    cost = np.where(ends[None, :] > starts[:, None], (ends[None, :] - starts[:, None]) * lengths[ends - 1], np.inf)
    # Of the first 1, 2, ... runs of equal lengths: the least cost, and the run before the last group (-1: no cut).
    best, cuts = cost[0], []
    for _ in range(min(groups, len(ends)) - 1):
        total = best[:-1, None] + cost[1:]
        cut = total.argmin(axis=0)
        least = total[cut, np.arange(len(ends))]
        cuts.append(np.where(least < best, cut, -1))
        best = np.minimum(best, least)
    runs, last = [], len(ends) - 1
    for cut in reversed(cuts):
        if cut[last] >= 0:
            runs.append((int(starts[cut[last] + 1]), int(ends[last]), int(lengths[ends[last] - 1])))
            last = int(cut[last])
    return [(0, int(ends[last]), int(lengths[ends[last] - 1])), *reversed(runs)]


def text_plan(lengths: np.ndarray, copies: np.ndarray, labels: np.ndarray, groups: int) -> dict[str, Any]:
    """Plan a batch whose rows ascend in length.

    Parameters
    ----------
    lengths : ndarray, shape (B,), ascending
        Tokens of each row.
    copies : ndarray, shape (B,)
        Rows of equal number hold the same token ids; such rows are neighbours.
    labels : ndarray, shape (B, L)
        MLM's labels.
    groups : int
        At most so many groups of rows, each encoded without the padding that only longer groups need.

    Returns
    -------
    dict
        ``groups``: list of (start, stop, longest, first, last), rows and places among the distinct rows; ``rows`` (U,)
        the distinct rows; ``place`` (B,) where a row is among them; ``query`` (B, Q) the tokens that heads read: token
        0, then the scored ones, then 0 again; ``places`` (M,) the scored ones in the flattened ``query``, in the order
        of ``labels[labels != -100]``.
    """
    new = np.concatenate([[True], copies[1:] != copies[:-1]])
    place = np.cumsum(new) - 1
    scored = labels != IGNORED
    counts = scored.sum(axis=1)
    row, column = np.nonzero(scored)
    at = 1 + np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    query = np.zeros((len(labels), 1 + counts.max(initial=0)), dtype=np.int64)
    query[row, at] = column
    return {
        "groups": [
            (start, stop, longest, int(place[start]), int(place[stop - 1]) + 1)
            for start, stop, longest in length_groups(lengths, groups)
        ],
        "rows": torch.from_numpy(np.flatnonzero(new)),
        "place": torch.from_numpy(place),
        "query": torch.from_numpy(query),
        "places": torch.from_numpy(row * query.shape[1] + at),
    }
