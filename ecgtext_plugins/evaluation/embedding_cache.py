"""Embeddings of a manifest's entries, kept in parts on disk: a stopped run continues, a second one embeds nothing."""

import hashlib
import io
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import ecgtext_plugins
from ecgtext_plugins.atomic_files import replacing, write_json
from ecgtext_plugins.data.ecg_dataset import is_standardised
from ecgtext_plugins.data.windows import taken
from ecgtext_plugins.errors import BadStore
from ecgtext_plugins.evaluation.code_identity import OF_VECTORS, code_sha256
from ecgtext_plugins.evaluation.embed import DEFAULT, embed_manifest, embed_records
from ecgtext_plugins.evaluation.record_sources import Recording
from ecgtext_plugins.evaluation.window_batches import WindowOutputs
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
        the manifest, each with its SHA-256 beside it in part-00000.sha256 and so on.
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
            part = _read(path)
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
        "code_sha256": code_sha256(OF_VECTORS),
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
    leads: str | Sequence[str] = ALL_LEADS,
) -> np.ndarray:
    """Embed each entry of a manifest as the model takes ECGs: (n, D) float32, in the manifest's order.

    D-BETA embeds an entry at its whole length. Of the other models, which are trained on windows, an entry's vector is
    the mean of those of its windows. The network sees `leads` alone: a preset, or names (:func:`embed.seeing`).

    Raises
    ------
    BadConfig
        As :func:`embed.seeing` and :func:`embed.pooled`.
    BadStore
        When a record cannot be used, or the store has another sample rate than D-BETA.
    BadManifest, BadCheckpoint
        As :func:`embed_manifest`.
    """
    if model.family == WHOLE_RECORDS:
        return embed_manifest(model, manifest, batch_size, device, pooling, leads)
    entries = Entries(manifest)
    found = embed_records(model, entries, batch_size, device, pooling, leads=leads)
    entries.refuse_failures(found, "embedded")
    return found.mean()


class Entries:
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

    def refuse_failures(self, found: WindowOutputs, done: str) -> None:
        """Raise BadStore when an entry could not be used; `done` says what for."""
        if found.failures:
            place, reason = found.failures[0]
            raise BadStore(
                f"{len(found.failures)} of {len(self)} ECGs of store {self.manifest.store.folder} cannot be {done}, "
                f"the first is {self.ids[place]}: {reason}"
            )


def _read(path: Path) -> np.ndarray | None:
    """Read a part; None when it is not there, or is not what was written."""
    if not path.is_file():
        return None
    try:
        content, expected = path.read_bytes(), _checksum_of(path).read_text("ascii").strip()
        if hashlib.sha256(content).hexdigest() != expected:
            raise ValueError("not the bytes that were written")
        return np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s) and is made again", path, error)
        return None


def _write(path: Path, part: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, part)
    for target, content in (
        (_checksum_of(path), f"{hashlib.sha256(buffer.getvalue()).hexdigest()}\n".encode()),
        (path, buffer.getvalue()),
    ):
        with replacing(target) as temporary:
            Path(temporary).write_bytes(content)


def _checksum_of(path: Path) -> Path:
    return path.with_suffix(".sha256")
