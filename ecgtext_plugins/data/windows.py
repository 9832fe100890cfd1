"""Windows of a manifest's records: cut at load, dropped when short, and which recording and patient each is of."""

import logging
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.errors import BadConfig, BadManifest
from ecgtext_plugins.store import listing
from ecgtext_plugins.store.manifest import Manifest

log = logging.getLogger(__name__)


def taken(manifest: Manifest, places: np.ndarray) -> Manifest:
    """Return the entries of a manifest at `places` (n,) as a manifest."""
    return replace(
        manifest,
        rows=manifest.rows[places],
        n_samples=manifest.n_samples[places],
        starts=manifest.starts[places] if manifest.windows else None,
        identities=None if manifest.identities is None else manifest.identities[places],
    )


def windowed(manifest: Manifest, samples: int) -> Manifest:
    """Cut whole records into windows of `samples` side by side, the remainder dropped.

    What is of this length already, say fairseq-signals' segments, is left as it is listed.

    Raises
    ------
    BadConfig
        When the manifest lists windows of another length, or no record is that long.
    """
    if (manifest.n_samples == samples).all():
        return manifest
    if manifest.windows:
        raise BadConfig(
            f"task.segment_samples={samples}, but {manifest.path} lists windows already, of other lengths: "
            "expected null for it"
        )
    of, starts = listing.windows(manifest.n_samples, samples)
    if not len(of):
        raise BadConfig(
            f"task.segment_samples={samples}: no record of {manifest.path} is that long (the longest has "
            f"{manifest.n_samples.max(initial=0)} samples); expected fewer"
        )
    cut = taken(manifest, of)
    return replace(cut, n_samples=np.full(len(of), samples, dtype=np.int64), starts=starts.astype(np.int64))


def long_enough(manifest: Manifest, samples: int | None) -> Manifest:
    """Leave out what has fewer than `samples` samples, and log how many that are.

    Raises
    ------
    BadManifest
        When nothing is left.
    """
    kept = np.flatnonzero(manifest.n_samples >= (samples or 0))
    if len(kept) == 0:
        found = f"lists {len(manifest)} ECGs" + (f", all of fewer than {samples} samples" if len(manifest) else "")
        raise BadManifest(f"{manifest.path} {found}: expected at least one to train on; see task.min_sample_size")
    if len(kept) == len(manifest):
        return manifest
    log.info("%s: %d ECGs of fewer than %d samples left out", manifest.path, len(manifest) - len(kept), samples)
    return taken(manifest, kept)


def recordings(manifest: Manifest) -> np.ndarray:
    """Return for each entry the store's row of its recording, (R,) int64.

    Of .mat files that are windows of a recording (with segment_i, or of a CMSC manifest), the first file's row.
    """
    if manifest.holds_counts:
        return manifest.rows
    store = manifest.store
    name = store.text_column("record_id")
    if store.listed_kind == "cmsc":
        name = pc.replace_substring_regex(name, r"_\d+$", "")
    idx, is_window = store.column("idx"), store.column("segment") >= 0
    number = pc.binary_join_element_wise("idx", pa.array(idx).cast(pa.string()), " ")
    key = pc.if_else(pa.array(is_window & (idx >= 0)), number, name)
    _, first, of = np.unique(_codes(key), return_index=True, return_inverse=True)
    return first[of][manifest.rows].astype(np.int64)


def _codes(texts: pa.Array | pa.ChunkedArray) -> np.ndarray:
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return whole.dictionary_encode().indices.to_numpy().astype(np.int64)


def patient_codes(manifest: Manifest, record: np.ndarray) -> np.ndarray:
    """Return a number for each entry's patient, (R,) int64; a recording without one counts as a patient of its own.

    Parameters
    ----------
    record : ndarray, shape (R,)
        From :func:`recordings`.
    """
    names = manifest.store.text_column("patient_id").take(pa.array(record))
    names = pc.fill_null(names, "")
    unknown = np.asarray(pc.equal(names, ""))
    return np.where(unknown, len(names) + record, _codes(names))
