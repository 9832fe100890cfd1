"""View of a torch dataset that fairseq can batch."""

import numpy as np
from fairseq.data import FairseqDataset

from ecgtext_plugins.data.randomness import generator


class BatchedDataset(FairseqDataset):
    """Wraps a dataset that has `collater` and `set_epoch`.

    fairseq seeds numpy differently before and after a resume, so the order comes from (seed, epoch) here: new batches
    every epoch, the same ones after a resume.

    Parameters
    ----------
    dataset : EcgTextDataset or alike
    sizes : ndarray of int64
        Samples of each record.
    seed : int
    training : bool
        Shuffle and draw anew each epoch; without it, order and draws are fixed.
    rebuild : bool
        New batches each epoch, or the same ones in another order.
    """

    def __init__(self, dataset, sizes: np.ndarray, seed: int, training: bool, rebuild: bool = True):
        self.dataset, self.sizes, self.seed = dataset, np.asarray(sizes, np.int64), seed
        self.training, self.rebuild = training, rebuild

    def __getitem__(self, index: int) -> dict:
        return self.dataset[index]

    def __len__(self) -> int:
        return len(self.dataset)

    def collater(self, samples: list[dict]) -> dict:
        """Merge samples into a batch."""
        return self.dataset.collater(samples)

    def set_epoch(self, epoch: int) -> None:
        """Receive the epoch (ignored outside training)."""
        if self.training:
            self.dataset.set_epoch(epoch)

    def ordered_indices(self) -> np.ndarray:
        """All indices in the order of this epoch."""
        if not self.training:
            return np.arange(len(self), dtype=np.int64)
        epoch = self.dataset.epoch if self.rebuild else 0  # built once, whatever epoch a resume begins in
        return generator("batch_order", self.seed, epoch).permutation(len(self)).astype(np.int64)

    def batch_by_size(
        self,
        indices: np.ndarray,
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        required_batch_size_multiple: int = 1,
    ) -> list[np.ndarray]:
        """Cut `indices` into batches of at most `max_sentences` records and `max_tokens` ECG samples.

        fairseq's own function, as it is compiled today, drops what is left over at the end; here every record is in a
        batch, so that the last one may be smaller and no multiple of `required_batch_size_multiple`.
        """
        batches, start, longest = [], 0, 0
        for place, size in enumerate(self.sizes[indices]):
            longest = max(longest, int(size))
            count = place - start + 1
            full = max_sentences is not None and count > max_sentences
            if place > start and (full or (max_tokens is not None and count * longest > max_tokens)):
                batches.append(indices[start:place])
                start, longest = place, int(size)
        return [*batches, indices[start:]] if len(indices) else batches

    def num_tokens(self, index: int) -> int:
        """ECG samples of a record, for `dataset.max_tokens`."""
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        """ECG samples of records."""
        return self.sizes[indices]

    def size(self, index: int) -> int:
        """ECG samples of a record."""
        return int(self.sizes[index])
