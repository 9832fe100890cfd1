"""Probabilities of a classifier's labels for recordings, by record or by window, and their table."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ecgtext_plugins.atomic_files import replacing
from ecgtext_plugins.checkpoints.ecg_fm import MAXIMUM_LABELS, MIMIC_LABELS
from ecgtext_plugins.errors import BadCheckpoint, BadConfig
from ecgtext_plugins.evaluation.embed import seeing
from ecgtext_plugins.evaluation.embedding_cache import Entries
from ecgtext_plugins.evaluation.record_sources import RecordSources
from ecgtext_plugins.evaluation.window_batches import WindowOutputs, window_outputs
from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.store.manifest import Manifest

AUTO, MEAN, MAX = AGGREGATES = ("auto", "mean", "max")
ENDINGS = (".csv", ".parquet")


@dataclass(frozen=True)
class Predictions:
    """Probabilities, a row a record or a window.

    Attributes
    ----------
    keys : pyarrow Table
        ``record_id``; ``n_windows`` of records, ``start`` of windows (at the model's rate); ``missing_leads``.
    labels : list of K str
    probabilities : ndarray (R, K) float32
    n_windows : int
        Of all records.
    failures : list of (record id, reason)
    """

    keys: pa.Table
    labels: list[str]
    probabilities: np.ndarray
    n_windows: int
    failures: list[tuple[str, str]]


def predict(
    model: Any,
    sources: RecordSources,
    aggregate: str = AUTO,
    each_window: bool = False,
    batch_size: int = 32,
    device: str = "cpu",
    bf16: bool = False,
    workers: int = 0,
) -> Predictions:
    """Compute the probability of each label for each recording.

    Parameters
    ----------
    model : EcgModel
        With labels: ``logits(ecg (B, 12, n_samples), padding) -> (B, K)``.
    aggregate : str
        From windows to a record: ``mean`` or ``max``; ``auto`` as :func:`takes_highest` says.
    each_window : bool
        A row a window instead; then nothing is aggregated.
    batch_size, device, bf16, workers
        As in :func:`window_outputs`.

    Raises
    ------
    BadCheckpoint
        When the model has no labels, or gives a logit that is not finite.
    """
    highest = takes_highest(labels_of(model), aggregate)
    found = window_outputs(model, probabilities_of(model), sources, batch_size, device, bf16, workers)
    if each_window or not len(found.owner):
        values = found.values.reshape(-1, len(model.labels))
    else:
        values = joined(found, highest)
    failures = [(sources.ids[place].as_py(), reason) for place, reason in found.failures]
    return Predictions(output_keys(found, sources, each_window), list(model.labels), values, len(found.owner), failures)


def predict_entries(
    model: Any, manifest: Manifest, batch_size: int = 64, device: str = "cpu", leads: str | Sequence[str] = LEADS
) -> np.ndarray:
    """Compute the probability of each label for each entry of a manifest, (n, K) float32, in the manifest's order.

    An entry is a record, whose windows are joined as `predict` joins them, or a window.

    Parameters
    ----------
    model : EcgModel
        With labels.
    batch_size, device
        As in :func:`window_outputs`.
    leads : str or sequence of str
        What the network sees, see `embed.seeing`.

    Raises
    ------
    BadStore
        When a record cannot be used.
    BadCheckpoint, BadConfig
        As :func:`predict` and `embed.seeing`.
    """
    highest, entries = takes_highest(labels_of(model)), Entries(manifest)
    found = window_outputs(model, seeing(model, probabilities_of(model), leads), entries, batch_size, device)
    entries.refuse_failures(found, "predicted for")
    return joined(found, highest)


def probabilities_of(model: Any) -> Callable[..., torch.Tensor]:
    """Return the function from ECGs (B, 12, n_samples) and padding to the labels' probabilities (B, K)."""

    def probabilities(ecg: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        return torch.sigmoid(model.logits(ecg, padding).float())

    return probabilities


def joined(found: WindowOutputs, highest: np.ndarray) -> np.ndarray:
    """Join windows to records (R, K): the highest probability where `highest` (K,) says so, else the mean."""
    return np.where(highest, found.highest(), found.mean())


def labels_of(model: Any) -> list[str]:
    """Return a model's labels.

    Raises
    ------
    BadCheckpoint
        When it has none.
    """
    if model.labels is None:
        raise BadCheckpoint(
            f"the checkpoint is a {model.family}, which has no labels to predict: expected a fine-tuned classifier; "
            "fine-tune it first (task=ecg_classification), or use `ecgtext embed` for its embeddings"
        )
    return list(model.labels)


def takes_highest(labels: Sequence[str], aggregate: str = AUTO) -> np.ndarray:
    """Tell for which labels a record's probability is the highest of its windows', not their mean, (K,) bool.

    With ``auto``, for the five short-lived findings among ECG-FM's 17 labels of MIMIC-IV-ECG, and for none of other
    labels. Source: infer_quickstart.ipynb of ECG-FM.

    Raises
    ------
    BadConfig
        For another way than AGGREGATES.
    """
    if aggregate not in AGGREGATES:
        raise BadConfig(f"aggregate={aggregate}: expected one of {', '.join(AGGREGATES)}; use one of them")
    published = MAXIMUM_LABELS if set(labels) == set(MIMIC_LABELS) else ()
    return np.array([aggregate == MAX or (aggregate == AUTO and label in published) for label in labels])


def output_keys(found: WindowOutputs, sources: RecordSources, each_window: bool) -> pa.Table:
    """Return what says which record or window a row is of; see `Predictions.keys`."""
    places = found.owner if each_window else found.records
    count = {"start": found.start} if each_window else {"n_windows": found.counts}
    missing = pa.array(found.missing, pa.string())
    return pa.table(
        {"record_id": sources.ids.take(pa.array(places)), **count, "missing_leads": missing.take(pa.array(places))}
    )


def write_predictions(path: str | Path, predictions: Predictions, metadata: dict[str, str]) -> None:
    """Write a table atomically: CSV with six digits, or parquet with float32 and `metadata` in its schema.

    Raises
    ------
    BadConfig
        For another ending.
    """
    path, keys, values = Path(path), predictions.keys, predictions.probabilities
    check_ending(path)
    if path.suffix == ".parquet":
        columns = [*keys.columns, *(pa.array(column, pa.float32()) for column in values.T)]
        table = pa.table(columns, names=[*keys.column_names, *predictions.labels])
        with replacing(path) as temporary:
            pq.write_table(table.replace_schema_metadata(metadata), temporary)
        return
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow([*keys.column_names, *predictions.labels])
        for key, row in zip(keys.to_pylist(), values.tolist(), strict=True):
            writer.writerow([*key.values(), *(f"{value:.6f}" for value in row)])


def check_ending(path: Path) -> None:
    """Raise BadConfig unless a table can be written under this name."""
    if path.suffix not in ENDINGS:
        raise BadConfig(f"--out {path} ends in {path.suffix or 'nothing'}: expected {' or '.join(ENDINGS)}; name it so")


def write_failures(out: str | Path, failures: Sequence[tuple[str, str]]) -> Path:
    """Write which records could not be used, and why, beside `out`; without any, remove what an earlier run wrote."""
    path = Path(out).with_suffix(".failures.csv")
    if not failures:
        path.unlink(missing_ok=True)
        return path
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows([("record", "reason"), *failures])
    return path
