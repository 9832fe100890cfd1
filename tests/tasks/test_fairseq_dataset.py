"""Batches of fairseq's view: every record once, within the limits, in an order by (seed, epoch)."""

import numpy as np
import pytest

from ecgtext_plugins.tasks._fairseq_dataset import BatchedDataset


class Records:
    def __init__(self, n):
        self.n, self.epoch = n, 0

    def __len__(self):
        return self.n

    def set_epoch(self, epoch):
        self.epoch = epoch


def batched(n=19, training=True, seed=1):
    sizes = np.where(np.arange(n) % 3 == 0, 5000, 2500)
    return BatchedDataset(Records(n), sizes, seed, training)


@pytest.mark.parametrize("n", [1, 3, 8, 19, 64, 65])
def test_no_record_is_lost(n):
    data = batched(n)
    batches = data.batch_by_size(data.ordered_indices(), max_sentences=8, required_batch_size_multiple=8)
    assert sorted(np.concatenate(batches)) == list(range(n))
    assert [len(batch) for batch in batches] == [8] * (n // 8) + [n % 8] * (n % 8 > 0)


def test_token_limit():
    data = batched()
    batches = data.batch_by_size(np.arange(19), max_tokens=15000)
    assert sorted(np.concatenate(batches)) == list(range(19))
    assert all(len(batch) * data.sizes[batch].max() <= 15000 for batch in batches)
    assert [len(batch) for batch in data.batch_by_size(np.arange(3), max_tokens=10)] == [1, 1, 1]
    assert data.batch_by_size(np.arange(0), max_sentences=4) == []


def test_order():
    one, two, other = batched(), batched(), batched(seed=2)
    for data in (one, two, other):
        data.set_epoch(3)
    np.random.seed(0)
    first = one.ordered_indices()
    np.random.seed(1)
    assert np.array_equal(first, two.ordered_indices())
    assert not np.array_equal(first, other.ordered_indices())
    one.set_epoch(4)
    assert not np.array_equal(first, one.ordered_indices())
    kept = BatchedDataset(Records(19), one.sizes, 1, True, rebuild=False)
    orders = []
    for epoch in (1, 3):
        kept.set_epoch(epoch)
        orders.append(kept.ordered_indices())
    assert np.array_equal(*orders)  # a resume in epoch 3 finds the batches of epoch 1
    fixed = batched(training=False)
    fixed.set_epoch(5)
    assert fixed.dataset.epoch == 0 and np.array_equal(fixed.ordered_indices(), np.arange(19))
