"""Embeddings of a manifest's entries, kept in parts on disk: a stopped run continues, a second one embeds nothing."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

import ecgtext_plugins
from ecgtext_plugins.atomic_files import replacing, write_json
from ecgtext_plugins.data.ecg_dataset import is_standardised
from ecgtext_plugins.data.lead_selection import lead_selection
from ecgtext_plugins.data.windows import taken
from ecgtext_plugins.errors import BadConfig, BadStore
from ecgtext_plugins.evaluation.embed import DEFAULT, embed_manifest, pooled
from ecgtext_plugins.evaluation.record_sources import Recording
from ecgtext_plugins.evaluation.window_batches import window_outputs
from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.store.manifest import Manifest

log = logging.getLogger(__name__)

FORMAT = 1
ENTRIES_A_PART = 1024
DESCRIPTION = "key.json"
WHOLE_RECORDS = "dbeta"  # the family that embeds records of any length; others embed windows of their own length
ALL_LEADS = "12"  # the preset of data.lead_selection that hides nothing


@dataclass(frozen=True)
class EmbeddingCache:
    """Folder of embeddings by what decided them.

    Attributes
    ----------
    folder : Path
        Has a folder for each key, with key.json and part-00000.npy, part-00001.npy, ...: (n, D) float32 in the order of
        the manifest.
    """

    folder: Path

    def of_entries(
        self, manifest: Manifest, origin: dict[str, Any], embed: Callable[[Manifest], np.ndarray]
    ) -> np.ndarray:
        """Return the vectors of a manifest's entries, computing only the parts that are not there.

        Parameters
        ----------
        manifest : Manifest
            Of records or windows.
        origin : dict
            What decides the vectors apart from the manifest: checkpoint, pooling, leads; ready for JSON.
        embed : callable
            From a manifest of n entries to (n, D) float32.

        Returns
        -------
        ndarray, shape (n, D), float32
        """
        return self.vectors(entries_key(manifest, origin), len(manifest), lambda places: embed(taken(manifest, places)))

    def vectors(self, key: dict[str, Any], n: int, embed: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return n vectors (n, D) float32 of one key; `embed` gives those at some places (m,)."""
        folder = self.place(key)
        if not (folder / DESCRIPTION).is_file():
            write_json(folder / DESCRIPTION, key)
        parts = []
        for number, first in enumerate(range(0, n, ENTRIES_A_PART)):
            places = np.arange(first, min(first + ENTRIES_A_PART, n))
            path = folder / f"part-{number:05d}.npy"
            part = _read(path, len(places))
            if part is None:
                part = np.ascontiguousarray(embed(places), dtype=np.float32)
                _write(path, part)
            parts.append(part)
        return np.concatenate(parts)

    def place(self, key: dict[str, Any]) -> Path:
        """Return the folder of a key."""
        content = json.dumps({"format": FORMAT} | key, sort_keys=True)
        return self.folder / hashlib.sha256(content.encode("utf-8")).hexdigest()[:32]


def entries_key(manifest: Manifest, origin: dict[str, Any]) -> dict[str, Any]:
    """Return what decides the vectors of a manifest's entries."""
    return {
        "ecgtext_plugins": ecgtext_plugins.__version__,
        "origin": origin,
        "store_fingerprint": manifest.store.fingerprint,
        "entries_sha256": entries_sha256(manifest),
        "windows": manifest.windows,
        "n": len(manifest),
    }


def entries_sha256(manifest: Manifest) -> str:
    """Return the SHA-256 of a manifest's record ids, first samples and lengths, in their order."""
    digest = hashlib.sha256()
    for record_id, start, length in zip(
        manifest.record_ids, manifest.starts.tolist(), manifest.n_samples.tolist(), strict=True
    ):
        digest.update(f"{record_id}\t{start}\t{length}\n".encode())
    return digest.hexdigest()


def embed_entries(
    model: Any,
    manifest: Manifest,
    batch_size: int = 64,
    device: str = "cpu",
    pooling: str = DEFAULT,
    leads: str = ALL_LEADS,
) -> np.ndarray:
    """Embed each entry of a manifest as the model takes ECGs: (n, D) float32, in the manifest's order.

    D-BETA embeds an entry at its whole length. Of the other models, which are trained on windows, an entry's vector is
    the mean of those of its windows. The network sees the leads of the preset `leads` alone.

    Raises
    ------
    BadConfig
        As :func:`only_leads`.
    BadStore
        When a record cannot be used, or the store has another sample rate than D-BETA.
    BadManifest, BadCheckpoint
        As :func:`embed_manifest`.
    """
    with only_leads(model, leads):
        if model.family == WHOLE_RECORDS:
            return embed_manifest(model, manifest, batch_size, device, pooling)
        entries = _Entries(manifest)
        function = pooled(model, pooling)
        found = window_outputs(model, function, entries, batch_size, device, what="embed ECGs")
    if found.failures:
        place, reason = found.failures[0]
        raise BadStore(
            f"{len(found.failures)} of {len(entries)} ECGs of store {manifest.store.folder} cannot be embedded, the "
            f"first is {entries.ids[place]}: {reason}"
        )
    return found.mean()


@contextlib.contextmanager
def only_leads(model: Any, preset: str) -> Iterator[None]:
    """Zero all other leads than a preset's before they reach the network, after standardising as in training.

    Raises
    ------
    BadConfig
        When the preset is unknown, or the model does not take twelve leads.
    """
    shown = lead_selection(preset).shown(0.0)
    if len(shown) == len(LEADS):
        yield
        return
    stem = model.ecg_encoder.feature_extractor
    taken_leads = stem.conv_layers[0][0].in_channels
    if taken_leads != len(LEADS):
        raise BadConfig(f"leads={preset}: the model takes {taken_leads} leads: expected one of {len(LEADS)}; omit it")
    hidden = torch.ones(len(LEADS), 1, dtype=torch.bool)
    hidden[shown] = False

    def hide(_: torch.nn.Module, given: tuple) -> tuple:
        return given[0].masked_fill(hidden.to(given[0].device), 0.0), *given[1:]

    handle = stem.register_forward_pre_hook(hide)
    try:
        yield
    finally:
        handle.remove()


class _Entries:
    """Every entry of a manifest as a recording of its own, for `window_outputs`."""

    def __init__(self, manifest: Manifest):
        self.manifest = manifest
        self.ids: pa.Array = manifest.store.text_column("record_id").take(pa.array(manifest.rows))

    def __len__(self) -> int:
        return len(self.manifest)

    def read(self, place: int) -> Recording:
        """Read the recording that the entry is of, and which window of it is wanted."""
        manifest = self.manifest
        start, length = int(manifest.starts[place]), int(manifest.n_samples[place])
        windows = np.array([[start, length, start]], dtype=np.int64) if manifest.windows else None
        signal = manifest.store.signal_mv(int(manifest.rows[place]))
        return Recording(signal, float(manifest.store.sample_rate), is_standardised(manifest), windows)


def _read(path: Path, n: int) -> np.ndarray | None:
    """Read a part; None when it is not there, or is not what was written."""
    if not path.is_file():
        return None
    try:
        part = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        log.warning("%s cannot be read (%s) and is made again", path, error)
        return None
    if part.ndim != 2 or len(part) != n or part.dtype != np.float32:
        found = f"{part.shape} of {part.dtype}"
        log.warning("%s is %s, expected %d vectors of float32: it is made again", path, found, n)
        return None
    return part


def _write(path: Path, part: np.ndarray) -> None:
    with replacing(path) as temporary, open(temporary, "wb") as handle:
        np.save(handle, part)
