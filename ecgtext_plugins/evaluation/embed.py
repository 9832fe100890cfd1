"""ECG embeddings of a manifest's records at their whole length or of any recordings by windows; their parquet file."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from tqdm import tqdm

from ecgtext_plugins.atomic_files import replacing
from ecgtext_plugins.data.ecg_batch import batch_of, stored_ecg
from ecgtext_plugins.data.lead_selection import PRESETS, lead_places
from ecgtext_plugins.errors import BadCheckpoint, BadConfig, BadManifest, BadStore
from ecgtext_plugins.evaluation.record_sources import RecordSources
from ecgtext_plugins.evaluation.window_batches import WindowOutputs, window_outputs
from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.store.manifest import Manifest

SHORTEST = 16  # samples: one ECG frame of the encoder's convolutional stem
DEFAULT, MEAN, CLS = POOLINGS = ("default", "mean", "cls")


def pooled(model: Any, pooling: str = DEFAULT) -> Callable[..., Tensor]:
    """Return the function from ECGs (B, 12, T) and padding (B, T) or None to vectors (B, D).

    Parameters
    ----------
    model : LoadedModel
    pooling : str
        ``default``: the model's own, as published: D-BETA's tanh-pooled class token, ECG-FM's mean over frames without
        zeros. ``mean``: over the frames' states. ``cls``: the class token's state, before D-BETA's pooler.

    Raises
    ------
    BadConfig
        For another word, or ``cls`` of a model without a class token.
    """
    if pooling not in POOLINGS:
        raise BadConfig(f"pooling={pooling}: expected one of {', '.join(POOLINGS)}; use one of them")
    if pooling == DEFAULT:
        return model.encode_ecg
    has_token = hasattr(model.model, "class_embedding")
    if pooling == CLS and not has_token:
        raise BadConfig(f"pooling=cls: the model is a {model.family}, which has no class token; use default or mean")

    def states(ecg: Tensor, padding: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        ecg = model.shown(ecg)
        if not has_token:
            return model.ecg_encoder.encode_frames(ecg, padding)
        frames, padding = model.ecg_encoder.embed(ecg, padding)
        return model.model.ecg_tokens(frames, padding), padding

    def pool(ecg: Tensor, padding: Tensor | None = None) -> Tensor:
        tokens, padding = states(ecg, padding)
        if pooling == CLS:
            return tokens[:, 0]
        frames = tokens[:, 1:] if has_token else tokens
        if padding is None:
            return frames.mean(1)
        return frames.masked_fill(padding[:, :, None], 0.0).sum(1) / (~padding).sum(1, keepdim=True)

    return pool


def seeing(model: Any, encode: Callable[..., Tensor], leads: str | Sequence[str]) -> Callable[..., Tensor]:
    """Return `encode` of ECGs (B, 12, T) whose leads other than `leads` are set to zero, as training hides them.

    Batches hold what the network takes, standardised already where it was trained so, and hiding comes after that.

    Parameters
    ----------
    model : LoadedModel
    encode : callable
        From ECGs (B, 12, T) and padding (B, T) or None to vectors (B, D).
    leads : str or sequence of str
        A preset (a key of `lead_selection.PRESETS`) or names of leads, in any case.

    Raises
    ------
    BadConfig
        When a name is no lead or there twice, the preset is unknown, or leads are to be hidden from a model that does
        not take twelve.
    """
    if isinstance(leads, str) and leads not in PRESETS:
        raise BadConfig(f"leads={leads!r}: expected one of {', '.join(PRESETS)}, or a list of lead names; give that")
    places = lead_places(PRESETS[leads] if isinstance(leads, str) else leads, "leads")
    if len(places) == len(LEADS):
        return encode
    stem = model.ecg_encoder.feature_extractor
    channels = stem.conv_layers[0][0].in_channels
    if channels != len(LEADS):
        raise BadConfig(f"leads={leads!r}: the model takes {channels} leads: expected one of {len(LEADS)}; omit it")
    hidden = torch.ones(len(LEADS), 1, dtype=torch.bool)
    hidden[list(places)] = False

    def encode_shown(ecg: Tensor, padding: Tensor | None = None) -> Tensor:
        return encode(ecg.masked_fill(hidden.to(ecg.device), 0.0), padding)

    return encode_shown


def embed_records(
    model: Any,
    sources: RecordSources,
    batch_size: int = 64,
    device: str = "cpu",
    pooling: str = DEFAULT,
    workers: int = 0,
    leads: str | Sequence[str] = LEADS,
) -> WindowOutputs:
    """Embed recordings by windows of the model's length; a record's vector is the mean of its windows'.

    Parameters
    ----------
    model : LoadedModel
    pooling : str
        See :func:`pooled`.
    batch_size, device, workers
        As in :func:`window_outputs`.
    leads : str or sequence of str
        What the network sees, see :func:`seeing`.

    Raises
    ------
    BadCheckpoint, BadConfig
        As :func:`window_outputs`, :func:`pooled` and :func:`seeing`.
    """
    function = seeing(model, pooled(model, pooling), leads)
    return window_outputs(model, function, sources, batch_size, device, workers=workers, what="embed ECGs")


def embed_manifest(
    model: Any,
    manifest: Manifest,
    batch_size: int = 64,
    device: str = "cpu",
    pooling: str = DEFAULT,
    leads: str | Sequence[str] = LEADS,
) -> np.ndarray:
    """Embed every record of a manifest, at its whole length.

    Records are read batch by batch and grouped by length, so none is padded or cropped and a vector doesn't depend on
    its batch. Missing samples become 0 mV.

    Parameters
    ----------
    model : torch module
        From ``ecgtext_plugins.load``: ``encode_ecg((B, 12, T) float32 mV) -> (B, D)`` and ``sample_rate`` in Hz.
    pooling : str
        See :func:`pooled`.
    leads : str or sequence of str
        What the network sees, see :func:`seeing`.

    Returns
    -------
    ndarray, shape (n, D), float32
        In the manifest's order.

    Raises
    ------
    BadConfig
        See :func:`pooled` and :func:`seeing`.
    BadStore
        When the store has another sample rate than the model.
    BadManifest
        When the manifest is empty or has a record that is too short.
    BadCheckpoint
        When the model gives a vector that is not finite.
    """
    _check(model, manifest)
    model = model.to(device).eval()
    encode = seeing(model, pooled(model, pooling), leads)
    vectors: np.ndarray | None = None
    with tqdm(total=len(manifest.rows), desc="embed ECGs", unit="record", disable=None) as bar:
        for places in equal_length_batches(manifest.n_samples, batch_size):
            batch = _encode(encode, manifest, places, device)
            if vectors is None:
                vectors = np.empty((len(manifest.rows), batch.shape[1]), dtype=np.float32)
            vectors[places] = batch
            bar.update(len(places))
    return vectors


def equal_length_batches(n_samples: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Yield the places of records in batches of one length each, in the given order within a length."""
    for length in np.unique(n_samples):
        places = np.flatnonzero(n_samples == length)
        for start in range(0, len(places), batch_size):
            yield places[start : start + batch_size]


def write_embeddings(
    path: str | Path,
    record_ids: list[str],
    vectors: np.ndarray,
    metadata: dict[str, str],
    starts: np.ndarray | None = None,
) -> None:
    """Write `record_id` and `vector` (fixed-size list of D float32), a row a record or window, atomically.

    Parameters
    ----------
    vectors : ndarray, shape (n, D), float32
    metadata : dict of str
        Kept in the file's schema under these keys.
    starts : ndarray (n,) int64 or None
        Of windows their first samples: the column `start`.
    """
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    columns = {
        "record_id": pa.array(record_ids, type=pa.string()),
        **({} if starts is None else {"start": pa.array(starts, type=pa.int64())}),
        "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
    }
    with replacing(path) as temporary:
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), temporary)


def _check(model: Any, manifest: Manifest) -> None:
    store = manifest.store
    if len(manifest.rows) == 0:
        raise BadManifest(f"{manifest.path} lists no record: expected at least one; choose another split or manifest")
    if float(store.sample_rate) != float(model.sample_rate):
        raise BadStore(
            f"store {store.folder} is sampled at {store.sample_rate:g} Hz, but the checkpoint was trained at "
            f"{model.sample_rate:g} Hz; build the store with sample_rate: {model.sample_rate:g} in its recipe"
        )
    shortest = int(np.argmin(manifest.n_samples))
    if manifest.n_samples[shortest] < SHORTEST:
        raise BadManifest(
            f"{manifest.path}: record {manifest.record_id(shortest)} has {manifest.n_samples[shortest]} samples, "
            f"expected at least {SHORTEST}; leave it out of the manifest"
        )


@torch.inference_mode()
def _encode(encode: Callable[..., Tensor], manifest: Manifest, places: np.ndarray, device: str) -> np.ndarray:
    ecgs = [stored_ecg(manifest, int(place)) for place in places]
    signals, _ = batch_of(ecgs, int(manifest.n_samples[places[0]]))
    batch = encode(signals.to(device)).float().cpu().numpy()
    finite = np.isfinite(batch).all(axis=1)
    if not finite.all():
        record = manifest.record_id(int(places[int(np.argmin(finite))]))
        raise BadCheckpoint(
            f"the model's embedding of record {record} is not finite: its training has diverged or its weights are "
            "damaged; use an earlier checkpoint"
        )
    return batch
