"""CMSC and SimCLR against loops over rows, and of several processes against one that holds the whole batch."""

import math

import pytest
import torch

from ecgtext_plugins.modules.cmsc_loss import cmsc_loss
from ecgtext_plugins.modules.ets_exchange import share_of_all
from ecgtext_plugins.modules.pooling import nonzero_mean
from ecgtext_plugins.modules.simclr_loss import simclr_loss
from tests.processes import in_processes

ROWS = {2: (6, 4), 3: (4, 2, 8)}  # rows of each process: pairs of segments


def whole_batch(rows):
    generator = torch.Generator().manual_seed(rows)
    features = torch.randn(rows, 5, generator=generator)
    record = torch.arange(rows // 2).repeat_interleave(2)
    return features, record // 2, torch.arange(rows) % 2, record  # two records of each patient


def loop_cmsc(features, patient, segment, record, same_record_only=False):
    terms = []
    unit = features / features.norm(dim=1, keepdim=True).detach()
    for i in range(len(unit)):
        others = [j for j in range(len(unit)) if segment[j] != segment[i]]
        positive = [j for j in others if patient[j] == patient[i]]
        if same_record_only:
            left_out = [j for j in positive if record[j] != record[i]]
            others, positive = ([j for j in group if j not in left_out] for group in (others, positive))
        scores = {j: unit[i] @ unit[j] / 0.1 for j in others}
        terms += [torch.logsumexp(torch.stack(list(scores.values())), 0) - scores[j] for j in positive]
    return torch.stack(terms).mean()


def loop_simclr(features, source):
    terms = []
    for i in range(len(features)):
        scores = {j: torch.cosine_similarity(features[i], features[j], 0) / 0.1 for j in range(len(features)) if j != i}
        total = torch.logsumexp(torch.stack(list(scores.values())), 0)
        terms += [total - score for j, score in scores.items() if source[j] == source[i]]
    return torch.stack(terms).mean()


@pytest.mark.parametrize("same_record_only", [False, True])
def test_cmsc_equals_a_loop(same_record_only):
    features, patient, segment, record = whole_batch(12)
    features.requires_grad_()
    results = []
    for loss in (
        cmsc_loss(features, patient, segment, record, same_record_only=same_record_only),
        loop_cmsc(features, patient, segment, record, same_record_only),
    ):
        results.append((loss, *torch.autograd.grad(loss, features)))
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_cmsc_by_hand():
    features = torch.tensor([[2.0, 0.0], [3.0, 0.0], [0.0, 5.0], [0.0, 0.1]])
    loss = cmsc_loss(features, torch.tensor([4, 4, 9, 9]), torch.tensor([0, 1, 0, 1]), temperature=1.0)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_no_gradient_flows_through_lengths_of_cmsc():
    features, patient, segment, _ = whole_batch(8)
    features.requires_grad_()
    gradient = torch.autograd.grad(cmsc_loss(features, patient, segment), features)[0]
    lengths = features.detach().norm(dim=1, keepdim=True)
    assert torch.allclose((cmsc_loss(features * 3, patient, segment)), cmsc_loss(features, patient, segment))
    free = torch.autograd.grad(loop_cmsc(features / lengths, patient, segment, None), features)[0]
    assert torch.allclose(gradient, free, atol=1e-6)


def test_simclr_equals_a_loop():
    features, patient, _, record = whole_batch(12)
    features.requires_grad_()
    for source in (record, patient):
        results = []
        for loss in (simclr_loss(features, source), loop_simclr(features, source)):
            results.append((loss, *torch.autograd.grad(loss, features)))
        for ours, theirs in zip(*results, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)


def test_rows_of_nobody_count_nothing():
    features, patient, segment, record = whole_batch(8)
    labels = torch.cat([record, torch.tensor([-1, -1])])
    more = torch.cat([features, torch.randn(2, 5)]).requires_grad_()
    segments = torch.cat([segment, torch.tensor([0, 1])])
    for loss, expected in (
        (cmsc_loss(more, labels, segments), cmsc_loss(features, record, segment)),
        (simclr_loss(more, labels), simclr_loss(features, record)),
    ):
        assert torch.allclose(loss, expected)
        gradient = torch.autograd.grad(loss, more)[0]
        assert gradient.isfinite().all() and not gradient[8:].any()
    lost = torch.full((10,), -1)
    assert cmsc_loss(more, lost, segments).item() == 0.0
    assert simclr_loss(more, lost).item() == 0.0


def losses(features, patient, segment, record, **options):
    return (
        cmsc_loss(features, patient, segment, **options),
        cmsc_loss(features, patient, segment, record, same_record_only=True, **options),
        simclr_loss(features, record, **options),
        simclr_loss(features, patient, **options),
    )


def process(rank, world, folder):
    first = sum(ROWS[world][:rank])
    mine = slice(first, first + ROWS[world][rank])
    features, *labels = (x[mine] for x in whole_batch(sum(ROWS[world])))
    features.requires_grad_()
    results = []
    for loss in losses(features, *labels, gather=True):
        gradient = torch.autograd.grad(loss, features)[0]
        results.append((share_of_all(loss.detach()), gradient / world))
    torch.save(results, f"{folder}/{rank}.pt")


@pytest.mark.parametrize("world", [2, 3])
def test_equals_one_process_on_the_whole_batch(world, tmp_path):
    in_processes(world, process, tmp_path)
    results = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(world)]
    features, *labels = whole_batch(sum(ROWS[world]))
    features.requires_grad_()
    for number, loss in enumerate(losses(features, *labels)):
        gradient = torch.autograd.grad(loss, features)[0]
        assert all(torch.allclose(result[number][0], loss, rtol=1e-5) for result in results)
        assert torch.allclose(torch.cat([result[number][1] for result in results]), gradient, atol=1e-6)


def test_same_record_only_needs_records():
    features, patient, segment, _ = whole_batch(4)
    with pytest.raises(ValueError, match="same_record_only"):
        cmsc_loss(features, patient, segment, same_record_only=True)


def test_pooling():
    frames = torch.tensor([[[1.0, 0.0], [3.0, 0.0], [0.0, 0.0], [8.0, 2.0]]])
    assert torch.equal(nonzero_mean(frames), torch.tensor([[4.0, 2.0]]))
    padding = torch.tensor([[False, False, False, True]])
    assert torch.equal(nonzero_mean(frames, padding), torch.tensor([[2.0, 0.0]]))
    assert nonzero_mean(frames.bfloat16()).dtype == torch.bfloat16
