"""The four losses against loops that follow the equations, values and gradients."""

import math

import pytest
import torch

from ecgtext_plugins.modules.etm_loss import etm_counts, etm_loss
from ecgtext_plugins.modules.ets_loss import ets_labels, ets_logits, ets_loss, mean_cosine, retrieval_counts
from ecgtext_plugins.modules.mem_loss import mem_loss
from ecgtext_plugins.modules.mlm_loss import mlm_counts, mlm_loss
from ecgtext_plugins.modules.patch_masking import mask_patches, patch_targets


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(3)


def test_ets_equals_a_loop_over_pairs(rng):
    ecg = torch.randn(5, 7, generator=rng, requires_grad=True)
    text = torch.randn(5, 7, generator=rng, requires_grad=True)
    aligned = torch.tensor([1, 0, 1, 1, 0])
    own, shown = torch.tensor([4, 4, 2, 4, 9]), torch.tensor([4, 8, 2, 4, 2])
    for duplicates in ("ignore", "negative", "positive"):
        labels = ets_labels(aligned, own, shown, duplicates)
        total, counted = 0.0, 0
        for i in range(5):
            for j in range(5):
                if i == j:
                    sign = 1 if aligned[i] else -1
                elif own[i] == shown[j]:
                    sign = {"ignore": 0, "negative": -1, "positive": 1}[duplicates]
                else:
                    sign = -1
                assert labels[i, j] == sign
                if sign:
                    logit = 3.0 * (ecg[i] / ecg[i].norm()) @ (text[j] / text[j].norm()) - 1.5
                    total = total + torch.log1p(torch.exp(-sign * logit))
                    counted += 1
        logits = ets_logits(ecg, text, 3.0, -1.5, normalize=True)
        for reduction, expected in (("sum_per_row", total / 5), ("mean", total / counted)):
            loss = ets_loss(logits, labels, reduction)
            assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
            ours = torch.autograd.grad(loss, (ecg, text), retain_graph=True)
            theirs = torch.autograd.grad(expected, (ecg, text), retain_graph=True)
            for a, b in zip(ours, theirs, strict=True):
                assert torch.allclose(a, b, atol=1e-6)


def test_retrieval_counts_identical_reports_as_hits():
    logits = torch.tensor([[0.0, 5, 1], [9, 0, 1], [0, 0, 1]])
    own, shown, aligned = torch.tensor([7, 7, 3]), torch.tensor([7, 7, 4]), torch.tensor([1, 1, 0])
    assert [int(count) for count in retrieval_counts(logits, own, shown, aligned)] == [2, 2, 2]
    logits[2, 1] = 7  # now text 1 finds the ECG of another report
    assert [int(count) for count in retrieval_counts(logits, own, shown, aligned)] == [2, 1, 2]


def test_mean_cosine(rng):
    features = torch.randn(6, 5, generator=rng)
    pairs = [torch.cosine_similarity(features[i], features[j], dim=0) for i in range(6) for j in range(6) if i != j]
    assert mean_cosine(features).item() == pytest.approx((sum(pairs) / 30).item(), abs=1e-6)
    assert mean_cosine(features[:1]).item() == pytest.approx(0.0, abs=1e-6)


def test_mem_equals_a_loop(rng):
    predicted = torch.randn(2, 3, 12, 4, generator=rng)
    target = torch.randn(2, 3, 48, generator=rng)
    removed = torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    places = [(0, 0), (0, 2), (1, 2)]
    errors = [((predicted[b, n].reshape(-1) - target[b, n]) ** 2) for b, n in places]
    assert mem_loss(predicted, target, removed).item() == pytest.approx(
        sum(e.mean().item() for e in errors) / 3, rel=1e-5
    )
    assert mem_loss(predicted, target, removed, "sum_per_ecg").item() == pytest.approx(
        sum(e.sum().item() for e in errors) / 2, rel=1e-5
    )


def test_patch_targets_layout_and_norm(rng):
    ecg = torch.randn(2, 12, 19, generator=rng) * 3 + 1
    raw = patch_targets(ecg, 4, "none")
    assert raw.shape == (2, 4, 48)
    assert torch.equal(raw[1, 2].view(12, 4), ecg[1, :, 8:12])
    normalised = patch_targets(ecg, 4).view(2, 4, 12, 4).transpose(1, 2).flatten(2)
    assert torch.allclose(normalised.mean(-1), torch.zeros(2, 12), atol=1e-5)
    assert torch.allclose(normalised.var(-1), torch.ones(2, 12), atol=1e-4)
    by_patch = patch_targets(ecg, 4, "patch").view(2, 4, 12, 4)
    by_hand = (ecg[1, 5, 8:12] - ecg[1, 5, 8:12].mean()) / (ecg[1, 5, 8:12].var() + 1e-6).sqrt()
    assert torch.allclose(by_patch[1, 2, 5], by_hand, atol=1e-6)
    ecg[0, 3] = 0.0
    assert patch_targets(ecg, 4).view(2, 4, 12, 4)[0, :, 3].abs().max() == 0


def test_mask_patches_keeps_the_smallest_noise(rng):
    frames = torch.arange(2 * 10 * 1.0).view(2, 10, 1)
    noise = torch.rand(2, 10, generator=rng)
    masked = mask_patches(frames, 0.75, noise)
    assert masked.kept.shape == (2, 2, 1)
    for row in range(2):
        smallest = noise[row].argsort()[:2]
        assert torch.equal(masked.kept[row, :, 0], frames[row, smallest, 0])
        assert set((masked.removed[row] == 0).nonzero().flatten().tolist()) == set(smallest.tolist())
    with pytest.raises(ValueError, match="keeps none of 3"):
        mask_patches(frames[:, :3], 0.75)


def test_padded_rows_are_masked_as_if_alone(rng):
    frames, noise = torch.randn(3, 20, 2, generator=rng), torch.rand(3, 20, generator=rng)
    lengths = (20, 9, 12)
    padding = torch.stack([torch.arange(20) >= n for n in lengths])
    together = mask_patches(frames, 0.5, noise, padding)
    for row, n in enumerate(lengths):
        alone = mask_patches(frames[row : row + 1, :n], 0.5, noise[row : row + 1, :n])
        assert torch.equal(together.kept[row][~together.kept_padding[row]], alone.kept[0])
        assert torch.equal(together.removed[row, :n], alone.removed[0]) and not together.removed[row, n:].any()
        assert torch.equal(together.order[row, :n], alone.order[0])


def test_padded_targets_equal_those_of_the_ecg_alone(rng):
    ecg, padding = torch.randn(2, 12, 40, generator=rng), torch.zeros(2, 40, dtype=torch.bool)
    padding[1, 22:] = True  # five whole patches and two samples
    together = patch_targets(ecg, 4, padding_mask=padding)
    assert torch.allclose(together[0], patch_targets(ecg[:1], 4)[0], atol=1e-6)
    assert torch.allclose(together[1, :5], patch_targets(ecg[1:, :, :22], 4)[0], atol=1e-5)


def test_mlm_reductions_and_nothing_scored(rng):
    logits = torch.randn(6, 11, generator=rng, requires_grad=True)
    labels = torch.tensor([0, 10, 3, 3, 7, 2])
    per_token = [-math.log(torch.softmax(logits[i], -1)[labels[i]].item()) for i in range(6)]
    assert mlm_loss(logits, labels, 4).item() == pytest.approx(sum(per_token) / 6, rel=1e-5)
    assert mlm_loss(logits, labels, 4, "sum_per_report").item() == pytest.approx(sum(per_token) / 4, rel=1e-5)
    empty = mlm_loss(logits[:0], labels[:0], 4)
    empty.backward()
    assert empty.item() == 0 and not logits.grad.any()
    assert mlm_counts(logits, logits.argmax(-1)) == (6, 6)


def test_etm():
    logits = torch.tensor([[2.0, -1], [0, 3], [1, 0]])
    aligned = torch.tensor([0, 1, 1])
    expected = sum(math.log(1 + math.exp(-d)) for d in (3, 3, -1)) / 3
    assert etm_loss(logits, aligned).item() == pytest.approx(expected, rel=1e-5)
    assert etm_counts(logits, aligned) == (2, 3)


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (lambda: mlm_loss(torch.zeros(1, 2), torch.zeros(1, dtype=torch.long), 1, "avg"), "mlm_reduction='avg'"),
        (lambda: mem_loss(torch.zeros(1, 1, 12, 1), torch.zeros(1, 1, 12), torch.ones(1, 1), "avg"), "mem_reduction"),
        (lambda: ets_loss(torch.zeros(1, 1), torch.ones(1, 1), "sum"), "ets_reduction='sum'"),
        (lambda: patch_targets(torch.zeros(1, 12, 8), 4, "mean"), "mem_normalize='mean'"),
        (lambda: ets_labels(torch.ones(1), torch.zeros(1), torch.zeros(1), "keep"), "ets_duplicates='keep'"),
    ],
)
def test_unknown_options_are_named(call, key):
    with pytest.raises(ValueError, match=key):
        call()
