"""The sigmoid loss of several processes against one process that holds the whole batch: values and gradients."""

import pytest
import torch
import torch.distributed as dist

from ecgtext_plugins.modules.ets_exchange import ets_loss_of_all, share_of_all
from ecgtext_plugins.modules.ets_loss import ets_labels, ets_logits, ets_loss
from tests.processes import in_processes

ROWS = {2: (3, 4), 3: (4, 2, 3)}  # rows of each process
OPTIONS = [
    {"reduction": reduction, "duplicates": duplicates, "exchange": exchange, "normalize": exchange == "gather"}
    for reduction in ("sum_per_row", "mean")
    for duplicates in ("ignore", "negative", "positive")
    for exchange in ("gather", "neighbour")
]


def whole_batch(rows):
    rng = torch.Generator().manual_seed(rows)
    own = torch.randint(0, 4, (rows,), generator=rng)
    aligned = (torch.rand(rows, generator=rng) < 0.6).long()
    shown = torch.where(aligned == 1, own, torch.randint(0, 4, (rows,), generator=rng) + 4)
    features = [torch.randn(rows, 5, generator=rng) for _ in range(2)]
    return features, {"is_aligned": aligned, "report_id": own, "text_report_id": shown}


def in_one_process(rows, reduction, duplicates, normalize, **_):
    (ecg, text), target = whole_batch(rows)
    leaves = [ecg.requires_grad_(), text.requires_grad_(), torch.tensor(1.7, requires_grad=True)]
    labels = ets_labels(target["is_aligned"], target["report_id"], target["text_report_id"], duplicates)
    loss = ets_loss(ets_logits(ecg, text, leaves[2], -0.3, normalize), labels, reduction)
    return loss.detach(), torch.autograd.grad(loss, leaves)


def process(rank, world, folder):
    first = sum(ROWS[world][:rank])
    mine = slice(first, first + ROWS[world][rank])
    results = []
    for options in OPTIONS:
        for chunk in (0, 2):
            (ecg, text), target = whole_batch(sum(ROWS[world]))
            leaves = [ecg[mine].requires_grad_(), text[mine].requires_grad_(), torch.tensor(1.7, requires_grad=True)]
            target = {key: value[mine] for key, value in target.items()}
            loss = ets_loss_of_all(*leaves[:2], target, leaves[2], -0.3, chunk=chunk, **options)
            gradients = torch.autograd.grad(loss, leaves)
            dist.all_reduce(gradients[2])
            results.append((share_of_all(loss.detach()), [g / world for g in gradients]))
    torch.save(results, f"{folder}/{rank}.pt")


@pytest.mark.parametrize("world", [2, 3])
def test_equals_one_process_on_the_whole_batch(world, tmp_path):
    in_processes(world, process, tmp_path)
    results = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(world)]
    for number, options in enumerate(options for options in OPTIONS for _ in (0, 2)):
        loss, (ecg, text, scale) = in_one_process(sum(ROWS[world]), **options)
        of_ranks = [result[number] for result in results]
        for rank_loss, gradients in of_ranks:
            assert torch.allclose(rank_loss, loss, rtol=1e-5), options
            assert torch.allclose(gradients[2], scale, rtol=1e-5, atol=1e-7), options
        for place, whole in enumerate((ecg, text)):
            together = torch.cat([gradients[place] for _, gradients in of_ranks])
            assert torch.allclose(together, whole, rtol=1e-5, atol=1e-7), options


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_chunks_change_neither_value_nor_gradient(chunk):
    (ecg, text), target = whole_batch(7)
    leaves = [ecg.requires_grad_(), text.requires_grad_()]
    results = []
    for size in (0, chunk):
        loss = ets_loss_of_all(*leaves, target, 2.0, -1.0, True, chunk=size)
        results.append((loss, *torch.autograd.grad(loss, leaves)))
    for whole, chunked in zip(*results, strict=True):
        assert torch.allclose(whole, chunked, atol=1e-6)


def test_options_are_named():
    (ecg, text), target = whole_batch(4)
    with pytest.raises(ValueError, match="ets_exchange='ring'"):
        ets_loss_of_all(ecg, text, target, exchange="ring")
