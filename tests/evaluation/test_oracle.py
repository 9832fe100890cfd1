"""On every benchmark an oracle gets 1, chance is where it should be, and a permutation of classes is caught."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import rankdata

from ecgtext_plugins.evaluation import evaluation_tasks, prepared_benchmark, run_evaluation
from ecgtext_plugins.evaluation.benchmark import benchmark_names, load_benchmark
from ecgtext_plugins.evaluation.evaluation_tasks import class_scores
from ecgtext_plugins.evaluation.prepared_benchmark import prepare
from ecgtext_plugins.evaluation.run_evaluation import EvaluationOptions
from ecgtext_plugins.evaluation.zero_shot import build_zero_shot_classifier
from tests.evaluation.oracle import Blind, Encoder, Oracle
from tests.evaluation.synthetic_stores import DOWNLOADS, large_store  # noqa: F401

ALL = benchmark_names()
WITH_CLASSES = [name for name in ALL if load_benchmark(name).task != "identification"]
IDENTIFICATION = [name for name in ALL if name not in WITH_CLASSES]
DRAWS = 200


@pytest.fixture(autouse=True)
def embedded(monkeypatch):
    """Let a model's own `ecgs` stand for the embedding."""
    monkeypatch.setattr(evaluation_tasks, "embed_entries", lambda model, manifest, *rest: model.ecgs(manifest))


@pytest.fixture
def entry(large_store, tmp_path):  # noqa: F811
    """Run a benchmark; return its entry in results.json."""

    def run(model, name):
        (tmp_path / "model.pt").write_bytes(b"weights")
        folder, options = (
            large_store(load_benchmark(name).recipes[0]),
            EvaluationOptions(("zero_shot",), resamples=2, leads=("12",)),
        )
        given = (model, tmp_path / "model.pt", [name], [folder], tmp_path / type(model).__name__, options)
        return run_evaluation.run_evaluation(*given)["benchmarks"][name]

    return run


def test_every_benchmark_is_here():
    assert {recipe for name in ALL for recipe in load_benchmark(name).recipes[:1]} == set(DOWNLOADS)
    assert len(WITH_CLASSES) > 20 and IDENTIFICATION == ["physionet2021_id"]


@pytest.mark.parametrize("name", WITH_CLASSES)
def test_an_oracle_gets_one(entry, name):
    benchmark = load_benchmark(name)
    found = entry(Oracle(benchmark), name)
    told = found["tasks"]["zero_shot"]
    auroc = told["figures"]["auroc"]
    defined = {each: told["value"] for each, told in auroc["per_class"].items() if each not in auroc["undefined"]}
    assert auroc["macro"] == 1.0 and min(defined.values()) > 1 - 1e-12  # a pair in the wrong order costs far more
    assert {each["macro_auroc"] for each in told["prompt_sensitivity"].values()} == {1.0}
    n = found["n"]
    assert set(auroc["undefined"]) == {each for each, count in found["positives"].items() if count in (0, n)}
    assert len(defined) >= min(3, len(benchmark.classes)) and len(defined) >= 0.7 * len(benchmark.classes)


def rolled_labels(benchmark, monkeypatch):
    """Give each class the next one's labels."""
    labels = prepared_benchmark.label_matrix
    monkeypatch.setattr(prepared_benchmark, "label_matrix", lambda *given: np.roll(labels(*given), 1, axis=1))


def rolled_prompts(benchmark, monkeypatch):
    """Give each class the prompts of one that is of another category."""
    groups = benchmark.transfer.classes if benchmark.transfer else {name: (name,) for name in benchmark.classes}
    members = list(dict.fromkeys(member for each in groups.values() for member in each))
    shift = max(map(len, groups.values()))
    texts = [benchmark.prompts[member] for member in members[shift:] + members[:shift]]
    changed = dataclasses.replace(benchmark, prompts=dict(zip(members, texts, strict=True)))
    assert {tuple(each) for each in changed.prompts.values()} == {tuple(each) for each in benchmark.prompts.values()}
    monkeypatch.setattr(run_evaluation, "load_benchmark", lambda name: changed)


@pytest.mark.parametrize("permute", [rolled_labels, rolled_prompts])
@pytest.mark.parametrize("name", WITH_CLASSES)
def test_a_permutation_is_caught(entry, monkeypatch, name, permute):
    benchmark = load_benchmark(name)
    permute(benchmark, monkeypatch)
    assert entry(Oracle(benchmark), name)["tasks"]["zero_shot"]["figures"]["auroc"]["macro"] < 0.9


@pytest.mark.parametrize("name", WITH_CLASSES)
def test_a_random_encoder_is_at_chance(large_store, entry, name):  # noqa: F811
    """On average over many draws, so that its own error is small beside the bound; a whole run is among them."""
    benchmark = load_benchmark(name)
    prepared = prepare(benchmark, [large_store(benchmark.recipes[0])], None)
    labels = prepared.labels
    defined = labels.any(axis=0) & ~labels.all(axis=0)
    macros = np.array([macro_auroc(labels, drawn_scores(prepared, seed), defined) for seed in range(DRAWS)])
    assert macros.std() / np.sqrt(DRAWS) < 0.01 and abs(macros.mean() - 0.5) <= 0.05
    once = entry(Blind(seed=0), name)["tasks"]["zero_shot"]["figures"]["auroc"]["macro"]
    assert abs(once - 0.5) <= 6 * macros.std()


def drawn_scores(prepared, seed):
    model = Blind(seed)
    classifier = build_zero_shot_classifier(model, prepared.benchmark.prompts, prepared.benchmark.center_prompts)
    return class_scores(prepared.benchmark, classifier, model.ecgs(prepared.test))


def macro_auroc(labels, scores, defined):
    """Mean over classes of Mann and Whitney's (1947) share of pairs in the right order."""
    ranks, labels = rankdata(scores[:, defined], axis=0), labels[:, defined]
    n = labels.sum(axis=0)
    return float(np.mean(((ranks * labels).sum(axis=0) - n * (n + 1) / 2) / (n * (len(labels) - n))))


@pytest.mark.parametrize("name", IDENTIFICATION)
def test_identification(large_store, entry, name):  # noqa: F811
    benchmark = load_benchmark(name)

    class Knows(Encoder):
        shift = 0

        def ecgs(self, manifest):
            vectors = np.eye(1 + manifest.identities.max(), dtype=np.float32)[manifest.identities]
            return np.roll(vectors, self.shift * manifest.path.stem.endswith("probe"), axis=1)

    class Mistaken(Knows):
        shift = 1

    n = entry(Knows(), name)["n"]
    told = [entry(model(), name)["tasks"]["identification"]["accuracy"] for model in (Knows, Mistaken)]
    assert told == [1.0, 0.0] and n >= 4
    prepared, draws = prepare(benchmark, [large_store(name)], None), 400
    hits = []
    for seed in range(draws):
        encoder = Blind(seed)
        parts = (encoder.ecgs(part) for part in (prepared.gallery, prepared.test))
        gallery, probe = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts)
        nearest = prepared.gallery.identities[(probe @ gallery.T).argmax(axis=1)]
        hits.append((nearest == prepared.test.identities).mean())
    assert abs(np.mean(hits) - 1 / n) <= 0.05 and np.std(hits) / np.sqrt(draws) < 0.01
