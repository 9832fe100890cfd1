"""The probe of a run: on the model's embeddings, and beside it on a random encoder's and on handcrafted features."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit

from ecgtext_plugins.errors import BadConfig, BadEnvironment, BadManifest
from ecgtext_plugins.evaluation.baselines import fill_medians, handcrafted_features
from ecgtext_plugins.evaluation.evaluation_tasks import VALID, Encoder, Sampling, collapse_notes, measure
from ecgtext_plugins.evaluation.intervals import bootstrap, paired_bootstrap
from ecgtext_plugins.evaluation.logistic_probe import logistic_probe
from ecgtext_plugins.evaluation.prepared_benchmark import Prepared
from ecgtext_plugins.evaluation.probe import ProbeRecipe, linear_probe, probe_data
from ecgtext_plugins.evaluation.probe_result import ProbeResult
from ecgtext_plugins.evaluation.probe_subsets import NESTED, STORED, WHOLE, Rows, probe_subsets
from ecgtext_plugins.evaluation.results import Scores, calibration_figures, or_none, pair, patient_codes
from ecgtext_plugins.evaluation.transfer import Groups, any_of
from ecgtext_plugins.evaluation.transfer_probe import by_category, partly_taught
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
    """Train, validation and test entries, and what is learnt from them.

    Attributes
    ----------
    train, valid, test : Manifest
    labels : tuple of ndarray (n, K), (v, K) bool
        Of train and validation, of the K classes that are learnt.
    test_labels : ndarray (m, C) bool
        Of the C classes that are tested.
    subsets : dict of str to rows
        Of train.
    names : list of str, length K
    categories : dict of str to tuple of str, or None
        Of a transfer: what is tested, by the classes that are learnt; both are the same when None.
    """

    train: Manifest
    valid: Manifest
    test: Manifest
    labels: tuple[np.ndarray, np.ndarray]
    test_labels: np.ndarray
    subsets: dict[str, Rows]
    names: list[str]
    categories: Groups | None = None

    @property
    def manifests(self) -> tuple[Manifest, Manifest, Manifest]:
        """Train, validation and test."""
        return self.train, self.valid, self.test

    @property
    def tested(self) -> list[str]:
        """The classes that are tested."""
        return self.names if self.categories is None else list(self.categories)

    @property
    def valid_labels(self) -> np.ndarray:
        """Validation labels of the classes that are tested, (v, C) bool."""
        return self.labels[1] if self.categories is None else any_of(self.labels[1], self.names, self.categories)

    def of_tested(self, result: ProbeResult) -> ProbeResult:
        """Turn the scores of what is learnt into those of what is tested."""
        return result if self.categories is None else by_category(result, self.categories, self.labels[0], self.subsets)


def run_probe_task(
    encoder: Encoder,
    prepared: Prepared,
    sampling: Sampling,
    options: ProbeOptions,
    load_untrained: Callable[[int], Any] | None,
) -> tuple[dict[str, Any], Scores]:
    """Train probes on subsets of the train split, choose on validation, and measure on the test split.

    The first two are those of the source where the benchmark is a transfer, see `transfer_probe`.

    Parameters
    ----------
    load_untrained : callable or None
        From a seed to the model's architecture with random weights; needed for ``random_encoder``.

    Returns
    -------
    dict
        For results.json: ``figures`` and ``calibration`` of the first seed on all train records, ``rows`` {kind of
        embedding: {percentage: mean, sd, ...}}, ``minus`` {other kind: difference of the model's first probe to it, on
        all train records, first seed, with paired interval}, ``probes`` (all that is needed to repeat them), ``source``
        (of a transfer the benchmark and the store that it learns on) and ``notes``.
    Scores
        Probabilities of the model's first probe, first seed, all train records.
    """
    splits, notes = _splits(prepared, options)
    rows, told, minus, scores = {}, {}, {}, None
    for kind in _kinds(encoder, options, load_untrained):
        try:
            result = _probe(kind, splits, options.seeds, encoder.device)
        except BadEnvironment as error:  # neurokit2 is an extra
            notes.append(f"no row {kind.name}: {error}")
            continue
        judged = splits.of_tested(result)
        rows[kind.name], told[kind.name] = _row(judged, splits, kind.probe, sampling), result.description()
        notes += result.warnings
        whole = judged.subsets.index(subset_name(WHOLE))
        test, valid = (expit(np.float64(each[whole, 0])) for each in (judged.scores, judged.valid_scores))
        if scores is None:
            scores = Scores.of(splits.test, splits.test_labels, splits.tested, test, "probe")
            figures = measure(scores, (splits.valid_labels, valid), sampling, prepared.challenge)
            notes += collapse_notes(encoder.ecgs(prepared.test))
            notes += [] if splits.categories is None else partly_taught(result, splits.categories)
        else:
            minus[kind.name] = _difference(scores, test, sampling)
    return {
        "figures": figures,
        "calibration": calibration_figures(scores),
        "rows": rows,
        "minus": minus,
        "probes": told,
        "source": _source(prepared.learns_on),
        "notes": notes,
    }, scores


def _splits(prepared: Prepared, options: ProbeOptions) -> tuple[Splits, list[str]]:
    """Return the splits and those subsets that can teach something; say which cannot."""
    source, transfer = prepared.learns_on or prepared, prepared.benchmark.transfer
    train, valid = source.part(TRAIN), source.part(VALID)
    ratios = sorted({*options.ratios, WHOLE})
    stored = all(train.path.with_name(f"{subset_name(ratio)}.tsv").is_file() for ratio in ratios if ratio < WHOLE)
    method, seeds = STORED if stored else NESTED, range(options.seeds)
    found = probe_subsets(train, valid, prepared.test, ratios, seeds, method)
    labels = source.labels_of(train), source.labels_of(valid)
    names, notes, kept = list(source.benchmark.classes), [], {}
    if transfer is not None:
        notes += [f"learnt on {TRAIN} and chosen on {VALID} of {source.benchmark.name}", *source.notes]
    shown = "as the store lists them" if stored else "drawn by seed, a smaller one inside a larger one"
    notes.append(f"subsets of train are {shown}")
    for subset, rows in found.rows.items():
        try:
            nothing = [np.zeros((len(part), 1)) for part in (train, valid, prepared.test)]
            probe_data(nothing[0], labels[0], nothing[1], labels[1], nothing[2], {subset: rows}, seeds, names).judged()
            kept[subset] = rows
        except BadManifest as error:
            if subset == subset_name(WHOLE):
                raise
            notes.append(str(error))
    categories = None if transfer is None else transfer.classes
    return Splits(train, valid, prepared.test, labels, prepared.labels, kept, names, categories), notes


def _source(source: Prepared | None) -> dict[str, Any] | None:
    """Tell what a transfer's probe learns on, ready for JSON."""
    if source is None:
        return None
    told = source.describe()
    keys = ("name", "version", "recipe", "label_set", "window", "store", "store_fingerprint", "classes")
    return {key: told[key] for key in keys}


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


def _difference(scores: Scores, other: np.ndarray, sampling: Sampling) -> dict[str, Any]:
    """Tell the macro AUROC of scores minus that of other scores (m, C) of the same records, on the same resamples."""
    if len(np.unique(scores.patients)) < 2:
        return {"difference": None, "interval": [None, None], "p_value": None}
    settings = (scores.patients, sampling.resamples, sampling.seed)
    found = paired_bootstrap(scores.labels, scores.scores, other, *settings)
    return {
        "difference": or_none(found.difference),
        "interval": pair((found.low, found.high)),
        "p_value": or_none(found.p_value),
    }


def _row(result: ProbeResult, splits: Splits, kind: str, sampling: Sampling) -> dict[str, Any]:
    """Tell macro AUROC of each percentage: mean, deviation, every seed, and the classes that were not taught.

    The interval is that of the first seed, over patients and the classes of the macro.
    """
    row: dict[str, Any] = {}
    labels, patients = splits.test_labels, patient_codes(splits.test)
    found = result.figures(labels)
    for place, (subset, told) in enumerate(found.as_dict().items()):
        kept, interval = ~np.isnan(found.per_class[place]).any(axis=0), (np.nan, np.nan)
        if kept.any() and len(np.unique(patients)) > 1:
            given = labels[:, kept], result.scores[place, 0][:, kept]
            interval = bootstrap(*given, patients, sampling.resamples, sampling.seed).macro
        percentage = subset.removeprefix("train_").removesuffix("pct")
        row[percentage] = {
            "probe": kind,
            "n_train": int(result.n_train[place].max()),
            "mean": told["mean"],
            "sd": told["sd"],
            "interval": pair(interval),
            "seeds": list(told["by_seed"].values()),
            "per_class": told["per_class"],
            "classes_in_macro": told["classes_in_macro"],
            "not_taught": told["not_taught"],
        }
    return row
