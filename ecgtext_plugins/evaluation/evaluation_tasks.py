"""Tasks without training: zero-shot with its prompt sets, retrieval, identification; figures ready for JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import ecgtext_plugins
from ecgtext_plugins.errors import BadManifest
from ecgtext_plugins.evaluation.benchmark import Benchmark, with_prompts, with_templates
from ecgtext_plugins.evaluation.challenge_metric import FIGURE, ChallengeMetric, challenge_figures
from ecgtext_plugins.evaluation.code_identity import OF_VECTORS, code_sha256
from ecgtext_plugins.evaluation.embedding_cache import ALL_LEADS, EmbeddingCache, embed_entries, entries_key
from ecgtext_plugins.evaluation.intervals import bootstrap_ratios
from ecgtext_plugins.evaluation.prepared_benchmark import Prepared
from ecgtext_plugins.evaluation.prompts import PROMPT_SETS, prompt_notes, prompts_sha256
from ecgtext_plugins.evaluation.results import Scores, f1_figures, figures, pair, patient_codes
from ecgtext_plugins.evaluation.retrieval import RECALL_AT, Retrieved, retrieve
from ecgtext_plugins.evaluation.run_benchmark import ALL
from ecgtext_plugins.evaluation.thresholds import max_f1_thresholds
from ecgtext_plugins.evaluation.transfer import any_of
from ecgtext_plugins.evaluation.zero_shot import ZeroShotClassifier, build_zero_shot_classifier
from ecgtext_plugins.store.manifest import Manifest

VALID = "valid"
COLLAPSED = 1e-3  # of the vectors' length, below which their spread is taken for rounding


@dataclass(frozen=True)
class Encoder:
    """A model with the cache of its embeddings.

    Attributes
    ----------
    model : LoadedModel
    origin : dict
        What decides embeddings, ready for JSON: `checkpoint_sha256`, `untrained_seed`, `pooling`, and `leads` where it
        sees a preset of them alone.
    cache : EmbeddingCache
    batch_size : int
    device : str
    """

    model: Any
    origin: dict[str, Any]
    cache: EmbeddingCache
    batch_size: int = 64
    device: str = "cpu"

    @property
    def leads(self) -> str:
        """The preset of leads that it sees."""
        return self.origin.get("leads", ALL_LEADS)

    def seeing(self, leads: str) -> "Encoder":
        """Return the same that sees a preset of leads; all of them need no mention."""
        origin = {key: value for key, value in self.origin.items() if key != "leads"}
        return replace(self, origin=origin if leads == ALL_LEADS else origin | {"leads": leads})

    def ecgs(self, manifest: Manifest) -> np.ndarray:
        """Return the embeddings of a manifest's entries, (n, D) float32."""

        def embed(part: Manifest) -> np.ndarray:
            return embed_entries(self.model, part, self.batch_size, self.device, self.origin["pooling"], self.leads)

        return self.cache.of_entries(manifest, self.origin, embed)

    def reports(self, manifest: Manifest, report_ids: np.ndarray) -> np.ndarray:
        """Return the embeddings of a store's reports, (m, D) float32."""
        key = {
            "ecgtext_plugins": ecgtext_plugins.__version__,
            "code_sha256": code_sha256(OF_VECTORS),
            "origin": self.origin,
            "reports_fingerprint": manifest.store.reports_fingerprint,
            "report_ids": report_ids.tolist(),
        }

        def embed(places: np.ndarray) -> np.ndarray:
            texts = [manifest.store.report_text(int(report_ids[place])) for place in places]
            model, size = self.model.to(self.device).eval(), self.batch_size
            parts = [model.encode_text(texts[first : first + size]) for first in range(0, len(texts), size)]
            return np.concatenate([part.float().cpu().numpy() for part in parts])

        return self.cache.vectors(key, len(report_ids), embed)

    def place(self, manifest: Manifest) -> Path:
        """Return the folder of the cache with the embeddings of a manifest's entries."""
        return self.cache.place(entries_key(manifest, self.origin))

    @property
    def reads_text(self) -> bool:
        """Whether the model has a text encoder."""
        return hasattr(self.model, "encode_text")


@dataclass(frozen=True)
class Sampling:
    """Bootstrap over patients: number of resamples, and the seed of their draw."""

    resamples: int = 1000
    seed: int = 0


def measure(
    scores: Scores,
    valid: tuple[np.ndarray, np.ndarray] | None,
    sampling: Sampling,
    challenge: ChallengeMetric | None = None,
) -> dict[str, Any]:
    """Tell areas, and F1 at thresholds chosen on `valid` (labels, scores) where there is one, with intervals.

    Returns
    -------
    dict
        See `figures`; with `valid` also ``f1``, see `f1_figures`; with `valid` and `challenge` also
        ``challenge_metric``, see `challenge_figures`.
    """
    told = figures(scores, sampling.resamples, sampling.seed)
    if valid is None:
        return told
    thresholds = max_f1_thresholds(*valid, scores.label_names)
    told["f1"] = f1_figures(scores, thresholds, sampling.resamples, sampling.seed)
    if challenge is not None:
        told[FIGURE] = challenge_figures(scores, thresholds, challenge, sampling.resamples, sampling.seed)
    return told


def run_zero_shot_task(encoder: Encoder, prepared: Prepared, sampling: Sampling) -> tuple[dict[str, Any], Scores]:
    """Score the benchmark's classes by its prompts, and by every other shipped prompt set; areas and F1.

    Returns
    -------
    dict
        For results.json: ``figures``, the prompts and their digest, how scores were made, and ``prompt_sensitivity``
        {prompt set: macro AUROC with interval}.
    Scores
        Of the benchmark's own prompts.
    """
    benchmark, names = prepared.benchmark, list(prepared.benchmark.classes)
    model = encoder.model.to(encoder.device).eval()
    embeddings, valid = encoder.ecgs(prepared.test), validation_part(prepared)
    valid_embeddings = None if valid is None else encoder.ecgs(valid)
    classifier = build_zero_shot_classifier(model, benchmark.prompts, benchmark.center_prompts)
    scores = _scores(prepared, benchmark, classifier, embeddings)
    on_valid = None
    if valid is not None:
        on_valid = prepared.labels_of(valid), class_scores(benchmark, classifier, valid_embeddings)
    told = measure(scores, on_valid, sampling, prepared.challenge)
    sets = {benchmark.prompt_set: _sensitivity(told, benchmark)}
    for other in other_prompts(benchmark):
        other_classifier = build_zero_shot_classifier(model, other.prompts, other.center_prompts)
        found = figures(_scores(prepared, other, other_classifier, embeddings), sampling.resamples, sampling.seed)
        sets[other.prompt_set] = _sensitivity(found, other)
    transfer = benchmark.transfer
    return {
        "figures": told,
        "classes": names,
        "prompts": benchmark.prompts,
        "prompts_sha256": prompts_sha256(benchmark.prompts),
        "prompt_set": benchmark.prompt_set,
        "templates": benchmark.templates,
        "similarity": classifier.similarity,
        "center_prompts": benchmark.center_prompts,
        "transfer": transfer
        and {"source": transfer.source, "classes": {name: list(each) for name, each in transfer.classes.items()}},
        "prompt_sensitivity": sets,
        "notes": [*prompt_notes(benchmark.prompts, model), *collapse_notes(embeddings)],
    }, scores


def collapse_notes(embeddings: np.ndarray) -> list[str]:
    """Say when embeddings (n, D) hardly differ: then figures are of rounding rather than of the records."""
    spread, length = embeddings.std(axis=0).mean(), np.linalg.norm(embeddings, axis=1).mean()
    if len(embeddings) < 2 or spread * embeddings.shape[1] ** 0.5 > COLLAPSED * length:
        return []
    return [
        f"the ECGs' embeddings hardly differ (standard deviation {spread:.1g} a number, vectors of length "
        f"{length:.3g}): the encoder has collapsed, and a figure above chance may be an artefact"
    ]


def validation_part(prepared: Prepared) -> Manifest | None:
    """Return the validation split, on which thresholds are chosen; None where there is none, or it is tested."""
    valid, split = prepared.part(VALID), prepared.benchmark.split
    return None if valid is None or not len(valid) or split == ALL or VALID in split.split(",") else valid


def class_scores(benchmark: Benchmark, classifier: ZeroShotClassifier, embeddings: np.ndarray) -> np.ndarray:
    """Score embeddings (n, D) against the benchmark's classes, (n, K); of a transfer, by its source's prompts."""
    transfer = benchmark.transfer
    groups = transfer.classes if transfer else {name: (name,) for name in benchmark.classes}
    return any_of(classifier.scores(embeddings), classifier.names, groups)


def other_prompts(benchmark: Benchmark) -> list[Benchmark]:
    """Return the benchmark with each shipped prompt set but its own, in the same templates."""
    if benchmark.vocabulary is None:
        return []
    others = [with_prompts(benchmark, name) for name in PROMPT_SETS if name != benchmark.prompt_set]
    return others if benchmark.templates == "plain" else [with_templates(each, benchmark.templates) for each in others]


def _scores(prepared: Prepared, benchmark: Benchmark, classifier: ZeroShotClassifier, embeddings: np.ndarray) -> Scores:
    values = class_scores(benchmark, classifier, embeddings)
    return Scores.of(prepared.test, prepared.labels, list(benchmark.classes), values, "zero_shot")


def _sensitivity(told: dict[str, Any], benchmark: Benchmark) -> dict[str, Any]:
    auroc = told["auroc"]
    return {
        "macro_auroc": auroc["macro"],
        "interval": auroc["interval"],
        "prompts_sha256": prompts_sha256(benchmark.prompts),
    }


def run_retrieval_task(encoder: Encoder, prepared: Prepared, sampling: Sampling) -> dict[str, Any]:
    """Find reports by ECGs and ECGs by reports among those test records that have one.

    Raises
    ------
    BadManifest
        When no record has a report.
    """
    manifest, columns = prepared.test, prepared.store.column("report_id")
    reports = columns[manifest.rows]
    places = np.flatnonzero(reports >= 0)
    if not len(places):
        raise BadManifest(f"no record of {manifest.path} has a report: expected reports for retrieval")
    different, of_record = np.unique(reports[places], return_inverse=True)
    texts = encoder.reports(manifest, different)[of_record]
    similarity = "cosine" if encoder.model.config["model"].get("ets_normalize", False) else "dot"
    ecgs = encoder.ecgs(manifest)[places]
    found = retrieve(ecgs, texts, of_record, similarity)
    groups = patient_codes(manifest)[places]
    return {
        "notes": collapse_notes(ecgs),
        "n_ecgs": found.n,
        "n_texts": found.n_reports,
        "similarity": similarity,
        "ecg_to_text": _retrieved(found.ecg_to_text, groups, sampling),
        "text_to_ecg": _retrieved(found.text_to_ecg, groups, sampling),
    }


def _retrieved(found: Retrieved, groups: np.ndarray, sampling: Sampling) -> dict[str, Any]:
    hits = np.stack([found.ranks <= k for k in RECALL_AT], axis=1)
    names = [f"r@{k}" for k in RECALL_AT]
    told: dict[str, Any] = {f"r@{k}": found.recall[k] for k in RECALL_AT} | {"median_rank": found.median_rank}
    return told | {"controls": found.controls, "intervals": _ratio_intervals(hits, groups, sampling, names)}


def run_identification_task(encoder: Encoder, prepared: Prepared, sampling: Sampling) -> dict[str, Any]:
    """Look each probe up in the gallery by the nearest embedding (cosine): the share that finds its patient."""
    gallery, probe = (_unit(encoder.ecgs(manifest)) for manifest in (prepared.gallery, prepared.test))
    nearest = np.concatenate(
        [(part @ gallery.T).argmax(axis=1) for part in np.array_split(probe, -(-len(probe) // 512))]
    )
    hits = prepared.gallery.identities[nearest] == prepared.test.identities
    interval = _ratio_intervals(hits[:, None], prepared.test.identities, sampling, ["accuracy"])
    return {
        "accuracy": float(hits.mean()),
        "interval": interval["accuracy"],
        "n_gallery": len(gallery),
        "n_probe": len(probe),
    }


def _ratio_intervals(hits: np.ndarray, groups: np.ndarray, sampling: Sampling, names: Sequence[str]) -> dict[str, Any]:
    """Return intervals of the mean of each column of `hits` (n, K)."""
    if len(np.unique(groups)) < 2:
        return dict.fromkeys(names, pair((np.nan, np.nan)))
    found = bootstrap_ratios(hits, np.ones(hits.shape), groups, sampling.resamples, sampling.seed, names)
    return {name: pair(found.per_class[name]) for name in names}


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def with_texts(benchmark: Benchmark, prompts: str | None, templates: str | None) -> Benchmark:
    """Return the benchmark with the prompts and templates that were asked for; None leaves its own."""
    if benchmark.task == "identification":
        return benchmark
    if prompts is not None:
        benchmark = with_prompts(benchmark, prompts)
    return benchmark if templates in (None, "plain") else with_templates(benchmark, templates)
