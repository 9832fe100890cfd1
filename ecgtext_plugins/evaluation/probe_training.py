"""Many linear heads trained at once: one batched product a step for all subsets and seeds, no autograd.

A head is a row of (H, K, D + 1): D weights and a bias, as ``nn.Linear(D, K)``, trained as ``BCEWithLogitsLoss`` and
``torch.optim.Adam`` would. What a head becomes doesn't depend on which others are trained with it.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from ecgtext_plugins.data.randomness import generator

BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's defaults


@dataclass(frozen=True)
class ProbeRecipe:
    """How the heads of a linear probe are trained; the defaults are those of D-BETA, table 10."""

    learning_rate: float = field(default=1e-3, metadata={"help": "of Adam, constant"})
    batch_size: int = field(default=128, metadata={"help": "embeddings; the last batch of an epoch may be smaller"})
    epochs: int = field(default=200, metadata={"help": "passes; the best of them by validation macro AUROC counts"})
    weight_decay: float = field(default=0.0, metadata={"help": "L2, added to the gradient of weights and bias"})
    standardize: bool = field(
        default=False,
        metadata={"help": "shift and scale by mean and deviation of all train embeddings, whatever the subset"},
    )


@dataclass(frozen=True)
class TrainedHeads:
    """Heads at their best epochs.

    Attributes
    ----------
    weights : Tensor (H, K, D + 1) float32
        The last column is the bias.
    best_epoch : ndarray (H,) int64
        From 1; of equal ones the earliest.
    curve : ndarray (H, epochs) float64
        Macro AUROC on validation after each epoch.
    """

    weights: Tensor
    best_epoch: np.ndarray
    curve: np.ndarray


def with_bias(embeddings: np.ndarray, device: str = "cpu") -> Tensor:
    """Append a column of ones: (n, D) -> (n, D + 1) float32."""
    return torch.from_numpy(np.pad(np.float32(embeddings), ((0, 0), (0, 1)), constant_values=1.0)).to(device)


def train_heads(
    train: Tensor,
    labels: Tensor,
    valid: Tensor,
    valid_labels: np.ndarray,
    rows: Sequence[np.ndarray],
    judged: np.ndarray,
    seeds: Sequence[int],
    recipe: ProbeRecipe,
) -> TrainedHeads:
    """Train a head for each of `rows` and keep its weights after the best epoch.

    Parameters
    ----------
    train, valid : Tensor (n, D + 1), (v, D + 1) float32
        From :func:`with_bias`.
    labels : Tensor (n, K) float32
    valid_labels : ndarray (v, K) bool
    rows : sequence of H ndarrays (m,) int64
        The train rows of each head.
    judged : ndarray (H, K) bool
        The classes whose AUROC on validation chooses the epoch; at least one a head, each with both kinds of record.
    seeds : sequence of H int
        Of the initial weights, drawn as ``nn.Linear``'s are, and of the batches: a head's order depends on its seed,
        the epoch and the number of its rows.
    """
    by_size = sorted(range(len(rows)), key=lambda head: -len(rows[head]))
    heads = _Heads(train, labels, [rows[head] for head in by_size], [seeds[head] for head in by_size], recipe)
    best, curve = heads.weights.clone(), np.empty((len(rows), recipe.epochs))
    judged = judged[by_size]
    with _one_thread():
        for epoch in range(recipe.epochs):
            heads.run_epoch(epoch)
            curve[:, epoch] = _macro(logits(heads.weights, valid), valid_labels, judged)
            better = curve[:, epoch] > curve[:, :epoch].max(axis=1, initial=-np.inf)
            better = torch.from_numpy(better).to(best.device)
            best[better] = heads.weights[better]
    back = np.argsort(by_size)
    return TrainedHeads(best[back], curve[back].argmax(axis=1) + 1, curve[back])


class _Heads:
    """Weights and Adam's state of heads in descending order of their rows, so that those still busy come first."""

    def __init__(self, train: Tensor, labels: Tensor, rows: list[np.ndarray], seeds: list[int], recipe: ProbeRecipe):
        self.train, self.labels, self.rows, self.seeds, self.recipe = train, labels, rows, seeds, recipe
        self.weights = torch.stack([_initial(labels.shape[1], train.shape[1], seed) for seed in seeds]).to(train.device)
        self.mean, self.square = torch.zeros_like(self.weights), torch.zeros_like(self.weights)
        sizes = np.array([len(own) for own in rows])
        self.steps = -(-sizes // recipe.batch_size)
        places = np.arange(self.steps.max() * recipe.batch_size)
        counts = np.diff(np.minimum(np.arange(self.steps.max() + 1) * recipe.batch_size, sizes[:, None]), axis=1)
        share = 1.0 / (np.maximum(counts, 1) * labels.shape[1])  # of an entry in the mean over a batch
        share = np.where(places < sizes[:, None], share.repeat(recipe.batch_size, axis=1), 0.0)
        self.share = torch.from_numpy(np.float32(share)).to(train.device)

    def run_epoch(self, epoch: int) -> None:
        """Run one epoch of every head."""
        order = np.zeros(self.share.shape, dtype=np.int64)  # beyond a head's rows: row 0 with a share of 0
        for head, (rows, seed) in enumerate(zip(self.rows, self.seeds, strict=True)):
            order[head, : len(rows)] = rows[generator("batch_order", seed, epoch, len(rows)).permutation(len(rows))]
        order, size = torch.from_numpy(order).to(self.train.device), self.recipe.batch_size
        for step in range(self.steps.max()):
            busy, batch = int((self.steps > step).sum()), slice(step * size, (step + 1) * size)
            rows = order[:busy, batch].reshape(-1)
            inputs = self.train.index_select(0, rows).view(busy, size, -1)
            target = self.labels.index_select(0, rows).view(busy, size, -1).transpose(1, 2)
            errors = torch.bmm(self.weights[:busy], inputs.transpose(1, 2)).sigmoid_().sub_(target)
            gradient = torch.bmm(errors.mul_(self.share[:busy, None, batch]), inputs)
            self._adam(gradient, epoch * self.steps[:busy] + step + 1)

    def _adam(self, gradient: Tensor, steps: np.ndarray) -> None:
        """Adam (Kingma and Ba 2015) as torch has it, each head with its own number of steps."""
        weights, mean, square = (state[: len(steps)] for state in (self.weights, self.mean, self.square))
        if self.recipe.weight_decay:
            gradient.add_(weights, alpha=self.recipe.weight_decay)
        mean.lerp_(gradient, 1 - BETAS[0])
        square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        size, root = self.recipe.learning_rate / (1 - BETAS[0] ** steps), np.sqrt(1 - BETAS[1] ** steps)
        size, root = (torch.from_numpy(np.float32(each)).to(mean.device)[:, None, None] for each in (size, root))
        weights.sub_(mean / square.sqrt().div_(root).add_(EPSILON) * size)


def logits(weights: Tensor, embeddings: Tensor) -> Tensor:
    """Apply heads (H, K, D + 1) to embeddings (n, D + 1) of :func:`with_bias`: (H, K, n)."""
    return torch.matmul(weights, embeddings.T)


def _initial(classes: int, inputs: int, seed: int) -> Tensor:
    """Draw (K, D + 1) as ``nn.Linear(D, K)`` draws weights and bias: uniform within 1 / sqrt(D)."""
    bound = (inputs - 1) ** -0.5
    return torch.empty(classes, inputs).uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))


def _macro(scores: Tensor, labels: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Return each head's mean AUROC over its judged classes, (H,), from scores (H, K, v)."""
    known = judged.any(axis=0)
    values = rank_areas(scores.cpu().numpy()[:, known], labels[:, known])
    return np.array([own[mask].mean() for own, mask in zip(values, judged[:, known], strict=True)])


def rank_areas(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Areas under the ROC curve of many scorers at once, by ranks (Mann and Whitney 1947); ties count half.

    Parameters
    ----------
    scores : ndarray (H, K, n)
    labels : ndarray (n, K) bool
        Each class has both kinds of record.

    Returns
    -------
    ndarray (H, K) float64
    """
    order = np.argsort(scores, axis=2)
    ordered, positive = np.take_along_axis(scores, order, axis=2), labels.sum(axis=0)
    found = np.take_along_axis(np.broadcast_to(labels.T, scores.shape), order, axis=2)
    ranks = np.where(found, np.arange(1.0, len(labels) + 1), 0.0).sum(axis=2)  # of the positives, summed
    for head, k in np.argwhere((ordered[..., 1:] == ordered[..., :-1]).any(axis=2)):
        ranks[head, k] = rankdata(scores[head, k])[labels[:, k]].sum()
    return (ranks - positive * (positive + 1) / 2) / (positive * (len(labels) - positive))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Products this small gain nothing from threads; with one, results don't depend on how many the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
