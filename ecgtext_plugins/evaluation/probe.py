"""Linear probe on embeddings: a linear layer on a frozen encoder, for subsets of the train split and several seeds.

Source: D-BETA, table 10 (Adam, learning rate 1e-3, batches of 128, 200 epochs, binary cross-entropy). The epoch is
chosen on validation; the labels of the test split are no argument.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ecgtext_plugins.errors import BadConfig, BadManifest
from ecgtext_plugins.evaluation.probe_result import ProbeResult
from ecgtext_plugins.evaluation.probe_subsets import Rows, rows_of_seed, rows_sha256
from ecgtext_plugins.evaluation.probe_training import ProbeRecipe, logits, train_heads, with_bias


@dataclasses.dataclass(frozen=True)
class ProbeData:
    """What a probe learns from and is tested on, checked.

    Attributes
    ----------
    train, valid, test : ndarray (n, D), (v, D), (m, D), finite
    train_labels, valid_labels : ndarray (n, K), (v, K) bool
    names : list of str, length K
    subsets : dict of str to (ndarray or sequence of ndarrays)
        Rows of `train`, (m,): one array for all seeds, or one a seed.
    seeds : list of int
    """

    train: np.ndarray
    train_labels: np.ndarray
    valid: np.ndarray
    valid_labels: np.ndarray
    test: np.ndarray
    names: list[str]
    subsets: dict[str, Rows]
    seeds: list[int]

    def __post_init__(self):
        for name in ("train", "valid", "test"):
            _check_embeddings(name, getattr(self, name), self.train.shape[1:])
        for name in ("train", "valid"):
            labels, n = getattr(self, f"{name}_labels"), len(getattr(self, name))
            if labels.shape != (n, len(self.names)):
                raise ValueError(f"{name} labels are {labels.shape}: expected {(n, len(self.names))}")
        if not self.subsets or not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise BadConfig(
                f"a probe of subsets {list(self.subsets)} with seeds {self.seeds}: expected one subset and different "
                "seeds from 0 on, at least one"
            )
        for name in self.subsets:
            for seed in range(len(self.seeds)):
                _check_rows(name, self.rows(name, seed), len(self.train))

    def rows(self, subset: str, place: int) -> np.ndarray:
        """Return the train rows of a subset for the seed at `place`."""
        return rows_of_seed(self.subsets[subset], place, len(self.seeds))

    def n_positive(self) -> np.ndarray:
        """Positives of each class in each subset, (S, R, K) int64."""
        return np.array(
            [
                [self.train_labels[self.rows(name, r)].sum(axis=0) for r in range(len(self.seeds))]
                for name in self.subsets
            ]
        )

    def n_train(self) -> np.ndarray:
        """Rows of each subset, (S, R) int64."""
        return np.array([[len(self.rows(name, r)) for r in range(len(self.seeds))] for name in self.subsets])

    def judged(self) -> np.ndarray:
        """Classes whose AUROC on validation is defined and which the subset teaches, (S, R, K) bool.

        Raises
        ------
        BadManifest
            When a subset has none.
        """
        n_positive = self.n_positive()
        taught = (n_positive > 0) & (n_positive < self.n_train()[..., None])
        judged = taught & self._defined_on_valid()
        for name, own in zip(self.subsets, judged, strict=True):
            if not own.any(axis=1).all():
                raise BadManifest(
                    f"probe on {name}: no class has both positive and negative records in it and in the validation "
                    "split, so nothing can be chosen; leave the subset out or take a larger one"
                )
        return judged

    def valid_undefined(self) -> list[str]:
        """Classes of which the validation split has one kind of record only."""
        return [name for name, defined in zip(self.names, self._defined_on_valid(), strict=True) if not defined]

    def _defined_on_valid(self) -> np.ndarray:
        return self.valid_labels.any(axis=0) & ~self.valid_labels.all(axis=0)

    def digests(self) -> dict[str, list[str]]:
        """SHA-256 of each subset's rows, one a seed."""
        return {name: [rows_sha256(self.rows(name, r)) for r in range(len(self.seeds))] for name in self.subsets}


def probe_data(train, train_labels, valid, valid_labels, test, subsets, seeds, names=None) -> ProbeData:
    """Convert and check the arguments of a probe; without names, classes are numbered from 0."""
    train_labels, valid_labels = (np.asarray(labels, dtype=bool) for labels in (train_labels, valid_labels))
    names = [str(k) for k in range(train_labels.shape[1])] if names is None else list(names)
    train, valid, test = (np.asarray(values) for values in (train, valid, test))
    return ProbeData(
        train, train_labels, valid, valid_labels, test, names, dict(subsets), [int(seed) for seed in seeds]
    )


def linear_probe(
    train: np.ndarray,
    train_labels: np.ndarray,
    valid: np.ndarray,
    valid_labels: np.ndarray,
    test: np.ndarray,
    *,
    subsets: Mapping[str, Rows],
    recipe: ProbeRecipe | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    names: Sequence[str] | None = None,
    device: str = "cpu",
) -> ProbeResult:
    """Train linear heads for all subsets and seeds at once and score the test split.

    Parameters
    ----------
    train, valid, test : ndarray (n, D), (v, D), (m, D)
        Embeddings.
    train_labels, valid_labels : ndarray (n, K), (v, K) bool
    subsets : mapping of str to (ndarray or sequence of ndarrays)
        Rows of `train`, (m,): one array for all seeds, or one a seed; see `probe_subsets`.
    recipe : ProbeRecipe, optional
        The paper's when None.
    seeds : sequence of int
        Of initial weights and batches.
    names : sequence of str, optional
        Of the classes; numbers when None.

    Raises
    ------
    BadConfig
        When the recipe, a subset or the seeds make no sense.
    BadManifest
        When a subset teaches no class that validation can judge.
    ValueError
        When shapes do not fit or an embedding is not finite.
    """
    recipe = ProbeRecipe() if recipe is None else recipe
    _check_recipe(recipe)
    data = probe_data(train, train_labels, valid, valid_labels, test, subsets, seeds, names)
    parts = (data.train, data.valid, data.test)
    learn, choose, judge = (with_bias(part, device) for part in (standardized(*parts) if recipe.standardize else parts))
    shape = (len(data.subsets), len(data.seeds))
    heads = train_heads(
        learn,
        torch.from_numpy(np.float32(data.train_labels)).to(device),
        choose,
        data.valid_labels,
        [data.rows(name, place) for name in data.subsets for place in range(shape[1])],
        data.judged().reshape(-1, len(data.names)),
        data.seeds * shape[0],
        recipe,
    )
    return ProbeResult(
        kind="linear_probe",
        names=data.names,
        subsets=list(data.subsets),
        seeds=data.seeds,
        scores=_scores(judge, heads.weights, shape),
        valid_scores=_scores(choose, heads.weights, shape),
        valid_macro=heads.curve.max(axis=1).reshape(shape),
        curve=heads.curve.reshape(*shape, -1),
        chosen=heads.best_epoch.reshape(shape),
        n_positive=data.n_positive(),
        n_train=data.n_train(),
        recipe=dataclasses.asdict(recipe),
        rows_sha256=data.digests(),
        valid_undefined=data.valid_undefined(),
    )


def standardized(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Shift and scale by train's mean and deviation of each dimension, float64; a constant one is only shifted."""
    train = np.float64(train)
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation[deviation == 0] = 1.0
    return [(np.float64(values) - mean) / deviation for values in (train, *others)]


def _scores(embeddings: torch.Tensor, weights: torch.Tensor, shape: tuple[int, int]) -> np.ndarray:
    scores = logits(weights, embeddings).cpu().numpy().transpose(0, 2, 1)
    return np.ascontiguousarray(scores).reshape(*shape, *scores.shape[1:])


def _check_embeddings(name: str, values: np.ndarray, width: tuple[int, ...]) -> None:
    if values.ndim != 2 or values.shape[1:] != width or not len(values):
        raise ValueError(f"{name} embeddings are {values.shape}: expected (n, {', '.join(map(str, width))}) and n > 0")
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise ValueError(f"row {int(np.argmin(finite))} of the {name} embeddings is not finite: expected numbers")


def _check_rows(name: str, rows: np.ndarray, n: int) -> None:
    if rows.ndim != 1 or not len(rows) or rows.min() < 0 or rows.max() >= n or len(np.unique(rows)) < len(rows):
        raise BadConfig(f"subset {name}: expected different row numbers below {n}, at least one, found {rows!r:.80}")


def _check_recipe(recipe: ProbeRecipe) -> None:
    if recipe.learning_rate <= 0 or recipe.batch_size < 1 or recipe.epochs < 1 or recipe.weight_decay < 0:
        raise BadConfig(f"{recipe}: expected a learning rate, batch size and epochs above 0 and no negative decay")
