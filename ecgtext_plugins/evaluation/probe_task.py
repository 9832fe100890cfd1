"""The probe of a run: on the model's embeddings, and beside it on a random encoder's and on handcrafted features."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit

from ecgtext_plugins.errors import BadConfig, BadEnvironment, BadManifest
from ecgtext_plugins.evaluation.baselines import fill_medians, handcrafted_features
from ecgtext_plugins.evaluation.calibration import calibration_by_class
from ecgtext_plugins.evaluation.evaluation_tasks import VALID, Encoder, Sampling, measure
from ecgtext_plugins.evaluation.logistic_probe import logistic_probe
from ecgtext_plugins.evaluation.prepared_benchmark import Prepared
from ecgtext_plugins.evaluation.probe import ProbeRecipe, linear_probe, probe_data
from ecgtext_plugins.evaluation.probe_result import ProbeResult
from ecgtext_plugins.evaluation.probe_subsets import NESTED, STORED, WHOLE, Rows, probe_subsets
from ecgtext_plugins.evaluation.results import Scores, or_none
from ecgtext_plugins.store.manifest import Manifest
from ecgtext_plugins.store.subsets import subset_name

TRAIN = "train"
MODEL, RANDOM, HANDCRAFTED = "model", "random_encoder", "handcrafted"
BASELINES = (RANDOM, HANDCRAFTED)
LINEAR, LOGISTIC = PROBES = ("linear", "logistic")
RECORDS_A_WORKER = 256  # handcrafted features: fewer are not worth a process


@dataclass(frozen=True)
class ProbeOptions:
    """How much is probed.

    Attributes
    ----------
    seeds : int
        0, 1, ... of initial weights, batches and drawn subsets.
    baselines : tuple of str
        Some of BASELINES.
    ratios : tuple of float
        Percentages of the train split; 100 is always among them.
    probes : tuple of str
        Some of PROBES; the scores that are kept are those of the first.
    """

    seeds: int = 5
    baselines: tuple[str, ...] = BASELINES
    ratios: tuple[float, ...] = (1.0, 10.0, 100.0)
    probes: tuple[str, ...] = (LINEAR,)

    def __post_init__(self):
        for what, given, known in (("baselines", self.baselines, BASELINES), ("probes", self.probes, PROBES)):
            if set(given) - set(known) or len(set(given)) < len(given):
                raise BadConfig(f"{what} {','.join(given)}: expected different ones of {', '.join(known)}; use these")
        if not self.probes or self.seeds < 1 or not all(0 < ratio <= WHOLE for ratio in self.ratios):
            raise BadConfig(
                f"probe with {self.seeds} seeds on {self.ratios} per cent: expected a kind of probe, a seed and "
                "percentages above 0 up to 100; correct them"
            )


@dataclass(frozen=True)
class Splits:
    """Train, validation and test entries with the labels of each (n, K) bool, and the subsets of train."""

    train: Manifest
    valid: Manifest
    test: Manifest
    labels: tuple[np.ndarray, np.ndarray, np.ndarray]
    subsets: dict[str, Rows]
    names: list[str]

    @property
    def manifests(self) -> tuple[Manifest, Manifest, Manifest]:
        """Train, validation and test."""
        return self.train, self.valid, self.test


def run_probe_task(
    encoder: Encoder,
    prepared: Prepared,
    sampling: Sampling,
    options: ProbeOptions,
    load_untrained: Callable[[int], Any] | None,
) -> tuple[dict[str, Any], Scores]:
    """Train probes on subsets of the train split, choose on validation, and measure on the test split.

    Parameters
    ----------
    load_untrained : callable or None
        From a seed to the model's architecture with random weights; needed for ``random_encoder``.

    Returns
    -------
    dict
        For results.json: ``figures`` and ``calibration`` of the first seed on all train records, ``rows`` {kind of
        embedding: {percentage: mean, sd, ...}}, ``probes`` (all that is needed to repeat them) and ``notes``.
    Scores
        Probabilities of the model's first probe, first seed, all train records.
    """
    splits, notes = _splits(prepared, options)
    rows, told, first = {}, {}, None
    for kind in _kinds(encoder, options, load_untrained):
        try:
            result = _probe(kind, splits, options.seeds, encoder.device)
        except BadEnvironment as error:  # neurokit2 is an extra
            notes.append(f"no row {kind.name}: {error}")
            continue
        rows[kind.name], told[kind.name] = _row(result, splits.labels[2], kind.probe), result.description()
        notes += result.warnings
        first = result if first is None else first
    whole = first.subsets.index(subset_name(WHOLE))
    test, valid = expit(np.float64(first.scores[whole, 0])), expit(np.float64(first.valid_scores[whole, 0]))
    scores = Scores.of(splits.test, prepared.labels, splits.names, test, "probe")
    return {
        "figures": measure(scores, (splits.labels[1], valid), sampling),
        "calibration": _calibration(scores),
        "rows": rows,
        "probes": told,
        "notes": notes,
    }, scores


def _splits(prepared: Prepared, options: ProbeOptions) -> tuple[Splits, list[str]]:
    """Return the splits and those subsets that can teach something; say which cannot."""
    train, valid = prepared.part(TRAIN), prepared.part(VALID)
    ratios = sorted({*options.ratios, WHOLE})
    stored = all(train.path.with_name(f"{subset_name(ratio)}.tsv").is_file() for ratio in ratios if ratio < WHOLE)
    method, seeds = STORED if stored else NESTED, range(options.seeds)
    found = probe_subsets(train, valid, prepared.test, ratios, seeds, method)
    labels = prepared.labels_of(train), prepared.labels_of(valid), prepared.labels
    names, notes, kept = list(prepared.benchmark.classes), [], {}
    shown = "as the store lists them" if stored else "drawn by seed, a smaller one inside a larger one"
    notes.append(f"subsets of train are {shown}")
    for subset, rows in found.rows.items():
        try:
            nothing = [np.zeros((len(part), 1)) for part in labels]
            probe_data(nothing[0], labels[0], nothing[1], labels[1], nothing[2], {subset: rows}, seeds, names).judged()
            kept[subset] = rows
        except BadManifest as error:
            if subset == subset_name(WHOLE):
                raise
            notes.append(str(error))
    return Splits(train, valid, prepared.test, labels, kept, names), notes


@dataclass(frozen=True)
class _Kind:
    """A row of the table: what is embedded how, and by which probe it is judged."""

    name: str
    probe: str
    standardize: bool
    embed: Callable[[Splits], Sequence[np.ndarray]]


def _kinds(encoder: Encoder, options: ProbeOptions, load_untrained: Callable[[int], Any] | None) -> Iterator[_Kind]:
    """Yield the rows, the model's first. Handcrafted features, in units of their own, are standardised."""
    for place, probe in enumerate(options.probes):
        yield _Kind(MODEL if place == 0 else f"{MODEL}_{probe}", probe, probe == LOGISTIC, _embedded(encoder))
    probe = options.probes[0]
    if RANDOM in options.baselines and load_untrained is not None:
        seed = 0 if encoder.origin["untrained_seed"] != 0 else 1
        origin = encoder.origin | {"untrained_seed": seed, "ecg_only": True}
        untrained = replace(encoder, model=load_untrained(seed), origin=origin)
        yield _Kind(RANDOM, probe, probe == LOGISTIC, _embedded(untrained))
    if HANDCRAFTED in options.baselines:
        yield _Kind(HANDCRAFTED, probe, True, lambda splits: _measured(encoder, splits))


def _embedded(encoder: Encoder) -> Callable[[Splits], Sequence[np.ndarray]]:
    return lambda splits: [encoder.ecgs(manifest) for manifest in splits.manifests]


def _measured(encoder: Encoder, splits: Splits) -> Sequence[np.ndarray]:
    """Return handcrafted features of each split, gaps filled by train's medians."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = [
        handcrafted_features(manifest, encoder.cache, min(cpus, 1 + len(manifest) // RECORDS_A_WORKER)).values
        for manifest in splits.manifests
    ]
    return fill_medians(*found)[0]


def _probe(kind: _Kind, splits: Splits, seeds: int, device: str) -> ProbeResult:
    train, valid, test = kind.embed(splits)
    given = (train, splits.labels[0], valid, splits.labels[1], test)
    shared: dict[str, Any] = {"subsets": splits.subsets, "seeds": range(seeds), "names": splits.names}
    if kind.probe == LOGISTIC:
        return logistic_probe(*given, **shared)
    return linear_probe(*given, **shared, recipe=ProbeRecipe(standardize=kind.standardize), device=device)


def _row(result: ProbeResult, labels: np.ndarray, kind: str) -> dict[str, Any]:
    """Tell macro AUROC of each percentage: mean, deviation, every seed, and the classes that were not taught."""
    row: dict[str, Any] = {}
    for place, (subset, told) in enumerate(result.figures(labels).as_dict().items()):
        percentage = subset.removeprefix("train_").removesuffix("pct")
        row[percentage] = {
            "probe": kind,
            "n_train": int(result.n_train[place].max()),
            "mean": told["mean"],
            "sd": told["sd"],
            "seeds": list(told["by_seed"].values()),
            "per_class": told["per_class"],
            "classes_in_macro": told["classes_in_macro"],
            "not_taught": told["not_taught"],
        }
    return row


def _calibration(scores: Scores) -> dict[str, Any]:
    found = calibration_by_class(scores.labels, scores.scores, scores.label_names, records=scores.record_ids)
    return {
        "macro_ece": found.macro_ece,
        "binning": found.binning,
        "per_class": {
            name: {
                "ece": each.ece,
                "confidence": [or_none(value) for value in each.confidence],
                "frequency": [or_none(value) for value in each.frequency],
                "count": each.count.tolist(),
            }
            for name, each in found.per_class.items()
        },
    }
