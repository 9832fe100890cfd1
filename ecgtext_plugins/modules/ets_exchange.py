"""The ECG-text sigmoid loss over several processes, and in chunks: that of one process which holds the whole batch."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ecgtext_plugins.modules.ets_loss import REDUCTIONS, ets_labels, ets_logits, ets_total

EXCHANGES = ("gather", "neighbour")
NOBODY = -1  # report id of rows that count nothing


def world_size() -> int:
    """Processes that train together; 1 when torch.distributed is not set up."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def share_of_all(counts: Tensor) -> Tensor:
    """Sum `counts` over the processes and divide by their number.

    A process that divides its sum by it, in gradients that are averaged over processes, does what one process would
    that divides the sum of all by the count of all.
    """
    if world_size() == 1:
        return counts
    counts = counts.detach().clone()
    dist.all_reduce(counts)
    return counts / world_size()


class _Shift(torch.autograd.Function):
    """Send a tensor to the next process, receive that of the previous one; gradients travel back."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        """Return what each process has, (processes, ...)."""
        return _pass_on(x, 1)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _pass_on(gradient, -1)


def _pass_on(x: Tensor, step: int) -> Tensor:
    rank, world = dist.get_rank(), world_size()
    received, x = torch.empty_like(x), x.contiguous()
    operations = [
        dist.P2POp(dist.isend, x, (rank + step) % world),
        dist.P2POp(dist.irecv, received, (rank - step) % world),
    ]
    for request in dist.batch_isend_irecv(operations):
        request.wait()
    return received


class Gather(torch.autograd.Function):
    """Stack the tensors of all processes; each gets the sum of the gradients that its own received."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        """Return the tensors of all processes, (processes, ...)."""
        parts = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        """Sum the gradients of all processes, and keep that of the own part."""
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient[dist.get_rank()]


def _others(text: Tensor, shown: Tensor, exchange: str):
    """Yield features and report ids of the other processes' texts, theirs filled up to the longest share."""
    longest = torch.tensor([len(text)], device=text.device)
    dist.all_reduce(longest, op=dist.ReduceOp.MAX)
    missing = int(longest) - len(text)
    text = torch.cat([text, text.new_zeros(missing, text.shape[1])])
    shown = torch.cat([shown, shown.new_full((missing,), NOBODY)])
    if exchange == "gather":
        texts, reports = Gather.apply(text), Gather.apply(shown)
        for step in range(1, world_size()):
            place = (dist.get_rank() - step) % world_size()
            yield texts[place], reports[place]
        return
    for _ in range(world_size() - 1):
        text, shown = _Shift.apply(text), _pass_on(shown, 1)
        yield text, shown


def ets_loss_of_all(
    ecg: Tensor,
    text: Tensor,
    target: dict[str, Tensor],
    scale: Tensor | float = 1.0,
    bias: Tensor | float = 0.0,
    normalize: bool = False,
    duplicates: str = "ignore",
    reduction: str = "sum_per_row",
    exchange: str = "gather",
    chunk: int = 0,
    alone: bool = False,
) -> Tensor:
    """Sigmoid loss of this process's ECGs with the texts of all processes (SigLIP, Zhai et al. 2023, section 3.3).

    Its gradients, averaged over the processes, are those of one process on the whole batch. Blocks of other processes'
    texts hold no pairs of their own: they are negatives, but for copies of an ECG's own report, as `duplicates` says.

    Parameters
    ----------
    ecg, text : Tensor, shape (B, D)
        B may differ between processes.
    target : dict
        ``is_aligned``, ``report_id``, ``text_report_id``, each (B,), see `ets_labels`; rows of the report -1 count
        nothing, here and for the other processes.
    scale, bias, normalize
        See `ets_logits`.
    duplicates, reduction : str
        See `ets_labels` and `ets_loss`.
    exchange : str
        ``gather`` all texts at once, or pass them round to the ``neighbour``, which holds one other share at a time.
    chunk : int
        Compute the pairs of so many ECGs at a time, and again in the backward pass, so that memory grows with
        chunk * B and not with B * B; 0: all at once.
    alone : bool
        Leave the other processes out, as in validation.

    Returns
    -------
    Tensor, scalar float32
    """
    for key, value, allowed in (("ets_reduction", reduction, REDUCTIONS), ("ets_exchange", exchange, EXCHANGES)):
        if value not in allowed:
            raise ValueError(f"{key}={value!r}: expected one of {', '.join(allowed)}")
    own, shown = target["report_id"], target["text_report_id"]
    labels = ets_labels(target["is_aligned"], own, shown, duplicates) * (own != NOBODY)[:, None]
    total = _block(ecg, text, labels, scale, bias, normalize, chunk)
    pairs = (labels != 0).sum()
    if not alone and world_size() > 1:
        for other_text, other_shown in _others(text, shown, exchange):
            labels = ets_labels(None, own, other_shown, duplicates) * (own != NOBODY)[:, None] * (other_shown != NOBODY)
            total = total + _block(ecg, other_text, labels, scale, bias, normalize, chunk)
            pairs = pairs + (labels != 0).sum()
    count = (pairs if reduction == "mean" else (own != NOBODY).sum()).to(total)
    return total / (count if alone else share_of_all(count)).clamp(min=1e-9)


def _block(ecg: Tensor, text: Tensor, labels: Tensor, scale, bias, normalize: bool, chunk: int) -> Tensor:
    def total(rows: Tensor, row_labels: Tensor) -> Tensor:
        return ets_total(ets_logits(rows, text, scale, bias, normalize), row_labels)

    if chunk <= 0 or chunk >= len(ecg):
        return total(ecg, labels)
    parts = zip(ecg.split(chunk), labels.split(chunk), strict=True)
    return sum(checkpoint(total, *part, use_reentrant=False) for part in parts)
