"""Build the tables of negatives of a store: embed its reports, search, write."""

import hashlib
import importlib.metadata
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecgtext_plugins.atomic_files import replacing, write_json
from ecgtext_plugins.errors import BadNegatives
from ecgtext_plugins.negatives.band import band_candidates, check_band
from ecgtext_plugins.negatives.capped import capped_candidates, check_cap
from ecgtext_plugins.negatives.embedding import embed_texts
from ecgtext_plugins.negatives.farthest import farthest_candidates, recall
from ecgtext_plugins.negatives.indexes import IvfIndex
from ecgtext_plugins.negatives.table import BAND, FORMAT, META, TABLE, read_meta, vectors_path
from ecgtext_plugins.store.fairseq_signals.mat_manifest import open_data, train_manifest
from ecgtext_plugins.store.manifest import read_manifest
from ecgtext_plugins.store.reader import RecordStore
from ecgtext_plugins.text.embedded_files import text_encoder_files
from ecgtext_plugins.text.encoders import load_text_encoder, load_tokenizer, resolve_text_encoder
from ecgtext_plugins.text.tokenization import MAX_TOKENS

log = logging.getLogger(__name__)

DEFAULT_ENCODER = "google/flan-t5-small"
APPROXIMATE = ("auto", "never", "always")
APPROXIMATE_FROM = 2_000_000  # unique reports beyond which auto searches approximately
# what a table depends on: the vectors, the choice of candidates, and what only one of the two tables knows
VECTOR_INPUTS = ("format", "reports_fingerprint", "encoder_fingerprint", "precision", "max_tokens")
SHARED_INPUTS = (*VECTOR_INPUTS, "candidates_fingerprint", "n_candidates", "k_asked")
FARTHEST_INPUTS = (*SHARED_INPUTS, "search", "hub_cap", "hub_seed")


@dataclass
class NegativesOptions:
    """What to build.

    Attributes
    ----------
    k : int
        Asked number of farthest reports; fewer when the train split has fewer unique reports.
    band : (float, float), optional
        Quantiles of a report's similarities between which `band.npy` chooses. None leaves a band of the same reports,
        encoder and k where it is.
    hub_cap : int, optional
        Rows of `farthest.npy` that a report may serve.
    approximate : str
        ``auto``, ``never`` or ``always``: search with an IVF index; auto does beyond 2,000,000 unique reports.
    bf16 : bool, optional
        Run the text encoder in bfloat16; None: on a GPU only.
    seed : int
        Of the band's choices and of the order in which capped rows choose.
    """

    k: int = 64
    band: tuple[float, float] | None = None
    hub_cap: int | None = None
    approximate: str = "auto"
    bf16: bool | None = None
    seed: int = 0

    def check(self) -> None:
        """Raise BadNegatives when a value is not allowed or does not fit another."""
        if self.k < 1:
            raise BadNegatives(f"cannot build a table of {self.k} farthest reports: expected at least 1; give --k 64")
        if self.seed < 0:
            raise BadNegatives(f"seed {self.seed} is negative: expected a whole number from 0; give --seed 0")
        if self.approximate not in APPROXIMATE:
            raise BadNegatives(f"approximate {self.approximate!r}: expected one of {', '.join(APPROXIMATE)}")
        if self.approximate == "always" and self.hub_cap is not None:
            raise BadNegatives("a hub cap needs the exact search: leave out --hub-cap or --approximate always")
        if self.band is not None:
            check_band(*self.band)


def build_negatives(
    store_folder: str | Path,
    text_encoder: str = DEFAULT_ENCODER,
    options: NegativesOptions | None = None,
    batch_size: int = 64,
    device: str = "cpu",
    rebuild: bool = False,
) -> tuple[dict[str, Any], bool]:
    """Write `negatives/farthest.npy` (U, k) int32, `band.npy` if asked, and `meta.json` into a store's folder.

    Every report of the store gets a row; only reports of the train manifest are chosen, so that validation shows no
    text that training could not. What is already built from the same inputs is left as it is. The reports' vectors stay
    beside the tables as `vectors-KEY.npy` (U, D) float32, 4 D bytes a report (369 MB for 180,000 of 512 numbers):
    `inspect` and another table of the same vectors read them, training does not.

    Parameters
    ----------
    text_encoder : str
        Hub name, folder, or `scratch` for the store's own.
    device : str
        Where the text encoder runs and the search multiplies, e.g. ``cuda``.

    Returns
    -------
    (meta, built) : tuple of dict, bool
        Content of meta.json; False when all was there already.

    Raises
    ------
    BadNegatives
        When the train split has fewer than two unique reports, or an option does not fit.
    TextEncoderUnavailable
        When the text encoder cannot be loaded.
    """
    options = options or NegativesOptions()
    options.check()
    store = open_data(store_folder)
    candidates = train_reports(store)
    k = min(options.k, len(candidates) - 1)
    if options.hub_cap is not None:
        check_cap(options.hub_cap, k, store.n_reports, len(candidates))
    bf16 = device.startswith("cuda") if options.bf16 is None else options.bf16
    encoder, tokenizer, inputs = _load_inputs(store, text_encoder, options, candidates, bf16)
    folder = store.folder / "negatives"
    kept = None if rebuild else read_meta(folder)
    farthest_there = _agrees(kept, inputs, FARTHEST_INPUTS) and (folder / TABLE).is_file()
    band = None if options.band is None else {"low": options.band[0], "high": options.band[1], "seed": options.seed}
    found_band = kept["band"] if _agrees(kept, inputs, SHARED_INPUTS) and (folder / BAND).is_file() else None
    if farthest_there and found_band == (band or found_band):
        log.info("negatives in %s are built from the same inputs already", folder)
        return kept, False

    if rebuild:
        vectors_path(folder, inputs["vectors_key"]).unlink(missing_ok=True)
    vectors = _vectors(store, folder, inputs, encoder.to(device), tokenizer, batch_size, bf16)
    arrays: dict[str, np.ndarray] = {}
    results = {name: kept[name] for name in ("n_distinct_negatives", "recall")} if farthest_there else {}
    if not farthest_there:
        arrays[TABLE], results = _farthest(vectors, candidates, k, inputs, device)
    if band and found_band != band:
        arrays[BAND] = band_candidates(vectors, candidates, k, *options.band, seed=options.seed, device=device)
    facts = {"text_encoder": str(text_encoder), "k": k, "n_reports": store.n_reports, "width": int(vectors.shape[1])}
    meta = inputs | facts | results | {"band": band or found_band, "versions": _versions()}
    _write(folder, arrays, meta)
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


def _load_inputs(store, text_encoder: str, options: NegativesOptions, candidates: np.ndarray, bf16: bool):
    """Load the encoder; return it with its tokenizer and all that the tables depend on, the band's range apart."""
    name = resolve_text_encoder(text_encoder, store.folder)
    encoder, tokenizer = load_text_encoder(name), load_tokenizer(name)
    many = store.n_reports > APPROXIMATE_FROM and options.hub_cap is None
    approximate = options.approximate == "always" or (options.approximate == "auto" and many)
    inputs = {
        "format": FORMAT,
        "reports_fingerprint": store.reports_fingerprint,
        "encoder_fingerprint": encoder_fingerprint(encoder, text_encoder_files(name)["tokenizer.json"]),
        "precision": "bfloat16" if bf16 else "float32",
        "candidates_fingerprint": hashlib.sha256(candidates.tobytes()).hexdigest(),
        "n_candidates": len(candidates),
        "max_tokens": MAX_TOKENS,
        "k_asked": options.k,
        "search": "ivf" if approximate else "exact",
        "hub_cap": options.hub_cap,
        "hub_seed": None if options.hub_cap is None else options.seed,
    }
    inputs["vectors_key"] = hashlib.sha256(repr([inputs[key] for key in VECTOR_INPUTS]).encode()).hexdigest()[:16]
    return encoder, tokenizer, inputs


def encoder_fingerprint(encoder: Any, tokenizer_json: str) -> str:
    """Hash the tokenizer's text and the weights (names and bytes) of a text encoder: sha256, hexadecimal."""
    digest = hashlib.sha256(tokenizer_json.encode("utf-8"))
    for name, weight in sorted(encoder.state_dict().items()):
        digest.update(name.encode("utf-8"))
        digest.update(np.ascontiguousarray(weight.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()


def _agrees(kept: dict[str, Any] | None, inputs: dict[str, Any], names: Sequence[str]) -> bool:
    """Tell whether a table's meta.json names the same inputs."""
    return kept is not None and all(name in kept and kept[name] == inputs[name] for name in names)


def _vectors(store, folder: Path, inputs: dict[str, Any], encoder, tokenizer, batch_size: int, bf16: bool):
    """Return the vectors of all reports, (U, D) float32: those kept of an earlier call, or new ones, which are kept."""
    path = vectors_path(folder, inputs["vectors_key"])
    if not path.is_file():
        texts = [store.report_text(report_id) for report_id in range(store.n_reports)]
        parts = folder / f"embedding-{inputs['vectors_key']}"
        vectors = embed_texts(encoder, tokenizer, texts, batch_size, MAX_TOKENS, parts, bf16)
        with replacing(path) as temporary, open(temporary, "wb") as handle:
            np.save(handle, vectors)
    for leftover in folder.glob("embedding-*"):
        shutil.rmtree(leftover)
    return np.load(path, mmap_mode="r")


def _farthest(
    vectors: np.ndarray, candidates: np.ndarray, k: int, inputs: dict[str, Any], device: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """Search as the inputs say; return the table and what is known of it."""
    share = None
    if inputs["hub_cap"] is not None:
        table = capped_candidates(vectors, candidates, k, inputs["hub_cap"], inputs["hub_seed"], device)
    elif inputs["search"] == "ivf":
        table = farthest_candidates(vectors, candidates, k, index=IvfIndex(vectors[candidates]))
        share = recall(vectors, candidates, table, device)
    else:
        table = farthest_candidates(vectors, candidates, k, device)
    return table, {"n_distinct_negatives": int(np.unique(table).size), "recall": share}


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("torch", "transformers", "faiss-cpu", "numpy")}


def _write(folder: Path, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    """Write the tables, then the meta.json that declares them; remove what no longer belongs to it."""
    (folder / META).unlink(missing_ok=True)
    for name, table in arrays.items():
        with replacing(folder / name) as temporary, open(temporary, "wb") as handle:
            np.save(handle, table)
    write_json(folder / META, meta)
    if meta["band"] is None and (folder / BAND).is_file():
        log.warning("removed %s, which was chosen from other inputs: give --band to build it again", folder / BAND)
        (folder / BAND).unlink()
    for vectors in folder.glob("vectors-*.npy"):
        if vectors != vectors_path(folder, meta["vectors_key"]):
            vectors.unlink()
