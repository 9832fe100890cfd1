"""Softmax over similarities with the rows of all processes: what CMSC and SimCLR share."""

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from ecgtext_plugins.modules.ets_exchange import NOBODY, Gather, share_of_all, world_size


class Rows(NamedTuple):
    """Rows of all processes (S, D), their labels, each (S,), NOBODY in rows that fill up, and the first own one."""

    features: Tensor
    labels: tuple[Tensor, ...]
    first: int


def gather_rows(features: Tensor, *labels: Tensor, gather: bool = True) -> Rows:
    """Collect the rows of all processes, in the order of processes; gradients travel back to those that own them.

    Parameters
    ----------
    features : Tensor, shape (B, D)
        B may differ between processes.
    labels : Tensor, shape (B,), int64
    gather : bool
        False, or a single process: the rows as they are.
    """
    if not gather or world_size() == 1:
        return Rows(features, labels, 0)
    longest = torch.tensor([len(features)], device=features.device)
    dist.all_reduce(longest, op=dist.ReduceOp.MAX)
    most = int(longest)
    missing = most - len(features)
    features = torch.cat([features, features.new_zeros(missing, features.shape[1])])
    labels = [torch.cat([x, x.new_full((missing,), NOBODY)]) for x in labels]
    everyone = Gather.apply(torch.stack(labels))
    return Rows(
        Gather.apply(features).flatten(0, 1), everyone.transpose(0, 1).flatten(1).unbind(), dist.get_rank() * most
    )


def positives_mean(similarity: Tensor, positive: Tensor, counted: Tensor, gather: bool) -> Tensor:
    """Mean over positive pairs of -log softmax, the softmax of a row taken over its counted pairs.

    With `gather`, the mean is over the positive pairs of all processes, such that gradients averaged over processes are
    those of one process that has all rows.

    Parameters
    ----------
    similarity : Tensor, shape (B, S)
    positive, counted : Tensor, shape (B, S), bool
        Positive pairs are among the counted ones.
    gather : bool

    Returns
    -------
    Tensor, scalar
        0 without any positive pair.
    """
    similarity = similarity.masked_fill(~counted, torch.finfo(similarity.dtype).min)
    total = -(similarity.log_softmax(1) * positive).sum()
    count = positive.sum().to(total)
    return total / (share_of_all(count) if gather else count).clamp(min=1e-9)
