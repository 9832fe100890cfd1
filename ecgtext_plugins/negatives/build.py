"""Build the table of farthest reports of a store."""

import hashlib
import importlib.metadata
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ecgtext_plugins.atomic_files import replacing, write_json
from ecgtext_plugins.errors import BadNegatives
from ecgtext_plugins.negatives.embedding import embed_texts
from ecgtext_plugins.negatives.farthest import farthest_candidates
from ecgtext_plugins.negatives.table import FORMAT, META, TABLE, read_meta
from ecgtext_plugins.store.fairseq_signals.mat_manifest import open_data, train_manifest
from ecgtext_plugins.store.manifest import read_manifest
from ecgtext_plugins.store.reader import RecordStore
from ecgtext_plugins.text.embedded_files import text_encoder_files
from ecgtext_plugins.text.encoders import load_text_encoder, load_tokenizer, resolve_text_encoder
from ecgtext_plugins.text.tokenization import MAX_TOKENS

log = logging.getLogger(__name__)


def build_negatives(
    store_folder: str | Path,
    text_encoder: str,
    k: int = 64,
    batch_size: int = 64,
    device: str = "cpu",
    rebuild: bool = False,
) -> tuple[dict[str, Any], bool]:
    """Write `negatives/farthest.npy` (U, k) int32 and `negatives/meta.json` into a store's folder.

    Every report of the store gets a row; only reports of the train manifest are chosen, so that validation shows no
    text that training could not. A table already built from the same inputs is left as it is.

    Parameters
    ----------
    text_encoder : str
        Hub name, folder, or `scratch` for the store's own.
    k : int
        Asked number of farthest reports; fewer when the train split has fewer unique reports.
    device : str
        Where the text encoder runs, e.g. ``cuda``.

    Returns
    -------
    (meta, built) : tuple of dict, bool
        Content of meta.json; False when the table was there already.

    Raises
    ------
    BadNegatives
        When the train split has fewer than two unique reports, or `k` is not positive.
    TextEncoderUnavailable
        When the text encoder cannot be loaded.
    """
    if k < 1:
        raise BadNegatives(f"cannot build a table of {k} farthest reports: expected at least 1; give --k 64")
    store = open_data(store_folder)
    candidates = train_reports(store)
    encoder, tokenizer, inputs = _load_inputs(store, text_encoder, k, candidates)
    folder = store.folder / "negatives"
    found = None if rebuild else read_meta(folder)
    if found is not None and (folder / TABLE).is_file() and inputs.items() <= found.items():
        log.info("negatives in %s are built from the same inputs already", folder)
        return found, False
    texts = [store.report_text(report_id) for report_id in range(store.n_reports)]
    parts = folder / f"embedding-{_vectors_key(inputs)}"
    vectors = embed_texts(encoder.to(device), tokenizer, texts, batch_size, MAX_TOKENS, parts)
    table = farthest_candidates(vectors, candidates, min(k, len(candidates) - 1))
    meta = _write(folder, table, inputs, text_encoder)
    for leftover in folder.glob("embedding-*"):
        shutil.rmtree(leftover)
    return meta, True


def train_reports(store: RecordStore) -> np.ndarray:
    """Return the ascending ids of the reports that occur in the store's train manifest, (C,) int64.

    Raises
    ------
    BadNegatives
        When there are fewer than two: no report would have another one as its negative.
    """
    manifest = read_manifest(train_manifest(store))
    reports = np.unique(store.column("report_id")[manifest.rows])
    reports = reports[reports >= 0].astype(np.int64)
    if len(reports) < 2:
        raise BadNegatives(
            f"{manifest.path} has {len(reports)} unique reports, but a negative is another report, so at least 2 are "
            "needed; build the store from more records, or train with negative_ratio=0"
        )
    return reports


def _load_inputs(store, text_encoder: str, k: int, candidates: np.ndarray):
    """Load the encoder; return it with its tokenizer and all that the table depends on."""
    name = resolve_text_encoder(text_encoder, store.folder)
    encoder, tokenizer = load_text_encoder(name), load_tokenizer(name)
    inputs = {
        "format": FORMAT,
        "reports_fingerprint": store.reports_fingerprint,
        "encoder_fingerprint": encoder_fingerprint(encoder, text_encoder_files(name)["tokenizer.json"]),
        "candidates_fingerprint": hashlib.sha256(candidates.tobytes()).hexdigest(),
        "n_candidates": len(candidates),
        "max_tokens": MAX_TOKENS,
        "k_asked": k,
    }
    return encoder, tokenizer, inputs


def encoder_fingerprint(encoder: Any, tokenizer_json: str) -> str:
    """Hash the tokenizer's text and the weights (names and bytes) of a text encoder: sha256, hexadecimal."""
    digest = hashlib.sha256(tokenizer_json.encode("utf-8"))
    for name, weight in sorted(encoder.state_dict().items()):
        digest.update(name.encode("utf-8"))
        digest.update(np.ascontiguousarray(weight.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()


def _write(folder: Path, table: np.ndarray, inputs: dict[str, Any], text_encoder: str) -> dict[str, Any]:
    """Write the table, then the meta.json that declares it."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "faiss-cpu", "numpy")}
    meta = inputs | {
        "text_encoder": str(text_encoder),
        "k": int(table.shape[1]),
        "n_reports": int(table.shape[0]),
        "n_distinct_negatives": int(np.unique(table).size),
        "versions": versions,
    }
    (folder / META).unlink(missing_ok=True)
    with replacing(folder / TABLE) as temporary, open(temporary, "wb") as handle:
        np.save(handle, table)
    write_json(folder / META, meta)
    return meta


def _vectors_key(inputs: dict[str, Any]) -> str:
    """Name what the vectors depend on; which reports are chosen, and how many, is not part of it."""
    values = [inputs[name] for name in ("format", "reports_fingerprint", "encoder_fingerprint", "max_tokens")]
    return hashlib.sha256(repr(values).encode("utf-8")).hexdigest()[:16]
