"""The two rows beside every probe: the same encoder untrained, and features measured by hand."""

import functools
import importlib.metadata
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ecgtext_plugins.checkpoints.ecg_model import EcgModel
from ecgtext_plugins.checkpoints.load import EcgTextModel, load_model
from ecgtext_plugins.data.ecg_dataset import is_standardised
from ecgtext_plugins.data.windows import taken
from ecgtext_plugins.errors import BadRecord, BadStore
from ecgtext_plugins.evaluation.embedding_cache import EmbeddingCache
from ecgtext_plugins.evaluation.handcrafted import NAMES, VERSION, load_neurokit, record_features
from ecgtext_plugins.store.manifest import Manifest
from ecgtext_plugins.store.workers import spread

log = logging.getLogger(__name__)

REASONS = ("", "no_beats", "no_delineation")  # by the code that _measure gives
RECORDS_A_TASK = 32


@dataclass(frozen=True)
class HandcraftedFeatures:
    """Measurements of a manifest's entries, in its order.

    Attributes
    ----------
    names : tuple of str, length F
    values : ndarray (n, F) float32
        NaN where something is not found, everywhere in an entry that could not be delineated.
    failures : list of (int, str)
        Places of those entries and why: ``no_beats`` or ``no_delineation``.
    """

    names: tuple[str, ...]
    values: np.ndarray
    failures: list[tuple[int, str]]


def random_encoder(path: str | Path, seed: int = 0) -> EcgTextModel | EcgModel:
    """Load a checkpoint's architecture with fresh weights drawn with `seed`: its ECG path alone.

    Its `checkpoint_sha256` is the file's, so embeddings that are kept by it need the seed in their key as well.
    """
    return load_model(path, untrained_seed=seed, ecg_only=True)


def handcrafted_features(
    manifest: Manifest, cache: EmbeddingCache | None = None, workers: int = 1
) -> HandcraftedFeatures:
    """Measure every entry of a manifest; see `handcrafted.record_features`.

    Parameters
    ----------
    cache : EmbeddingCache, optional
        Where finished parts are kept: a stopped run goes on from there.
    workers : int
        Processes.

    Raises
    ------
    BadEnvironment
        When neurokit2 is not installed.
    BadStore
        When the store's signals are not in millivolt, or a worker process dies.
    """
    load_neurokit()
    if is_standardised(manifest):
        raise BadStore(
            f"store {manifest.store.folder} holds standardised signals: expected millivolt, in which amplitudes are "
            "measured; build it from the raw data"
        )
    origin = {"features": list(NAMES), "version": VERSION, "neurokit2": importlib.metadata.version("neurokit2")}
    measure = functools.partial(_measure, workers=workers)
    found = cache.of_entries(manifest, origin, measure) if cache else measure(manifest)
    values, missing, codes = np.split(found, [len(NAMES), 2 * len(NAMES)], axis=1)
    values, codes = np.where(missing > 0, np.float32(np.nan), values), codes[:, 0].astype(np.int64)
    failures = [(int(place), REASONS[codes[place]]) for place in np.flatnonzero(codes)]
    if failures:
        place, reason = failures[0]
        log.warning(
            "%s: %d of %d ECGs could not be measured and get the medians of the train split; the first is %s (%s)",
            *(manifest.path, len(failures), len(values), manifest.record_id(place), reason),
        )
    return HandcraftedFeatures(NAMES, values, failures)


def fill_medians(train: np.ndarray, *others: np.ndarray) -> tuple[list[np.ndarray], list[int]]:
    """Replace NaN by train's median of the column, (n, F) float32 each.

    Returns
    -------
    filled : list of ndarray
        `train` and `others`.
    lacking : list of int
        Columns without any value in `train`, filled with 0.
    """
    lacking = np.isnan(train).all(axis=0)
    medians = np.zeros(train.shape[1])
    medians[~lacking] = np.nanmedian(train[:, ~lacking], axis=0)
    filled = [np.where(lacking | np.isnan(values), medians, values).astype(np.float32) for values in (train, *others)]
    return filled, np.flatnonzero(lacking).tolist()


def _measure(manifest: Manifest, workers: int) -> np.ndarray:
    """Measure each entry, (n, 2 F + 1) float32, all finite, since a cache keeps nothing else.

    F features, 0 where missing; F times whether it is missing; the code of a failure.
    """
    found = np.empty((len(manifest), 2 * len(NAMES) + 1), dtype=np.float32)
    starts = range(0, len(manifest), RECORDS_A_TASK)
    tasks = ((start, taken(manifest, np.arange(start, min(start + RECORDS_A_TASK, len(manifest))))) for start in starts)
    with tqdm(total=len(manifest), desc="measure ECGs", unit="record", disable=None) as bar:
        for start, part in spread(_measure_task, tasks, workers):
            found[start : start + len(part)] = part
            bar.update(len(part))
    return found


def _measure_task(task: tuple[int, Manifest]) -> tuple[int, np.ndarray]:
    start, manifest = task
    rate = float(manifest.store.sample_rate)
    return start, np.array([_measure_one(manifest.signal_mv(place), rate) for place in range(len(manifest))])


def _measure_one(signal: np.ndarray, rate: float) -> np.ndarray:
    try:
        features, code = record_features(signal, rate), 0
    except BadRecord as error:
        features, code = np.full(len(NAMES), np.nan), REASONS.index(error.reason)
    return np.concatenate([np.nan_to_num(features, nan=0.0), np.isnan(features), [code]])
