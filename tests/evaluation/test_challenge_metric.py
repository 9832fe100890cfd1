"""The Challenge metric of a run: the published figure, its interval computed otherwise, weights given or not."""

from dataclasses import replace

import numpy as np
import pytest
import yaml

from ecgtext_plugins.corpora.snomed import scored_labels
from ecgtext_plugins.criterions.classification_metrics import ChallengeWeights, challenge_score
from ecgtext_plugins.errors import BadConfig, BadRecipe
from ecgtext_plugins.evaluation.benchmark import load_benchmark
from ecgtext_plugins.evaluation.challenge_metric import (
    ChallengeMetric,
    challenge_figures,
    has_challenge_metric,
    load_challenge_metric,
    normalised_rewards,
    weights_findings,
)
from ecgtext_plugins.evaluation.evaluation_tasks import Sampling, measure
from ecgtext_plugins.evaluation.intervals import resamples
from ecgtext_plugins.evaluation.prepared_benchmark import Prepared
from ecgtext_plugins.evaluation.probe_task import ProbeOptions
from ecgtext_plugins.evaluation.results import Scores
from ecgtext_plugins.evaluation.thresholds import Thresholds
from ecgtext_plugins.recipes import recipes_root
from tests.evaluation.oracle import Oracle
from tests.evaluation.test_benchmark_validation import store  # noqa: F401
from tests.evaluation.test_run_evaluation import embedded, out, run  # noqa: F401

DX = "physionet2021_dx"


def scores_of(labels, values, names):
    n = len(labels)
    ids = np.array([f"r{place}" for place in range(n)])
    return Scores(ids, np.zeros(n, dtype=np.int64), np.arange(n) // 3, labels, list(names), values, "zero_shot")


@pytest.fixture
def weights_file(tmp_path):
    """Write weights as the Challenge's file has them, for the scored classes: 1 for the right one, less for others."""
    names, rng = scored_labels(), np.random.default_rng(0)
    matrix = np.round(0.5 * rng.random((len(names), len(names))), 3)
    np.fill_diagonal(matrix, 1.0)
    lines = [
        ",".join(["", *names]),
        *(",".join([name, *map(str, row)]) for name, row in zip(names, matrix, strict=True)),
    ]
    path = tmp_path / "weights.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_golden_figure_through_thresholds(shared):
    """Decisions as scores: the validation split puts every threshold at 1."""
    golden = np.load(shared / "golden/challenge2021_metric.npz")
    benchmark = load_benchmark(DX)
    metric = load_challenge_metric(benchmark, shared / "data/challenge2021/weights.csv")
    names = list(benchmark.classes)
    place = np.argsort(metric.weights.columns)  # the file's order to the benchmark's
    labels, decisions = (golden[key].astype(bool)[:, place] for key in ("labels", "binary_outputs"))
    valid = np.array([[True] * len(names), [False] * len(names)])
    scores = scores_of(labels, decisions.astype(np.float64), names)
    told = measure(scores, (valid, valid.astype(np.float64)), Sampling(200), metric)["challenge_metric"]
    assert told["value"] == pytest.approx(float(golden["challenge_metric"]), abs=1e-12)
    low, high = told["interval"]
    assert low < told["value"] < high and told["undecided"] == [] and len(told["weights_sha256"]) == 64
    assert "validation" in told["thresholds"]
    rolled = measure(
        scores_of(labels, np.roll(scores.scores, 1, axis=1), names), (valid, valid * 1.0), Sampling(5), metric
    )
    assert rolled["challenge_metric"]["value"] < told["value"] - 0.1


@pytest.fixture
def case():
    """Labels, scores and weights of 4 classes, one of them without a threshold, one not scored."""
    rng = np.random.default_rng(1)
    labels, values = rng.random((60, 4)) < 0.3, rng.random((60, 4))
    matrix = 0.5 * rng.random((3, 3)) + np.eye(3)
    metric = ChallengeMetric(ChallengeWeights(np.array([2, 0, 3]), matrix, 1), "ab" * 32)
    thresholds = Thresholds(dict(zip("abcd", (0.4, 0.5, 0.6, np.nan), strict=True)), {}, ["d"])
    return scores_of(labels, values, "abcd"), thresholds, metric


def test_interval_is_that_of_repeated_records(case):
    scores, thresholds, metric = case
    told = challenge_figures(scores, thresholds, metric, 200, 0)
    decisions = thresholds.decide(scores.scores)
    assert told["undecided"] == ["d"] and not decisions[:, 3].any()
    assert told["value"] == pytest.approx(metric.weights.score(scores.labels, decisions))
    parts, wholes = normalised_rewards(scores.labels, decisions, metric.weights)
    assert parts.sum() / wholes.sum() == pytest.approx(told["value"], abs=1e-12)
    found = []
    for weights in np.concatenate(list(resamples(20, 200, 0)), axis=1).T:
        rows = np.repeat(np.arange(60), weights[scores.patients])
        columns = metric.weights.columns
        sides = (scores.labels[rows][:, columns], decisions[rows][:, columns])
        found.append(challenge_score(*sides, metric.weights.matrix, metric.weights.normal))
    assert told["interval"] == pytest.approx(np.quantile(found, [0.025, 0.975]), abs=1e-9)


def test_one_patient_has_no_interval(case):
    scores, thresholds, metric = case
    told = challenge_figures(replace(scores, patients=np.zeros(60, dtype=int)), thresholds, metric, 20, 0)
    assert told["interval"] == [None, None] and told["value"] is not None


def test_which_benchmarks_have_it():
    assert [name for name in ("physionet2021_dx", "physionet2021_scored", "physionet2021_id", "cpsc2018", "demo")
            if has_challenge_metric(load_benchmark(name))] == ["physionet2021_dx", "physionet2021_scored"]  # fmt: skip
    (finding,) = weights_findings(load_benchmark(DX))
    assert not finding.is_error and "evaluation-2021" in finding.message and "--weights-file" in finding.message
    assert weights_findings(load_benchmark("cpsc2018")) == []


@pytest.mark.parametrize("name", [DX, "physionet2021_scored"])
def test_a_run_with_weights_and_without(store, out, weights_file, name):  # noqa: F811
    model, folder = Oracle(load_benchmark(name)), store(load_benchmark(name).recipes[0])
    options = {"tasks": ("zero_shot",), "leads": ("12",)}
    entry = run(model, name, folder, out, **options)["benchmarks"][name]
    assert "challenge_metric" not in entry["tasks"]["zero_shot"]["figures"]
    sentence = "the Challenge metric was not computed for zero-shot: it needs the Challenge's weights.csv"
    assert any(note.startswith(sentence) and "--weights-file" in note for note in entry["notes"])
    assert sentence in (out / "results.md").read_text()
    entry = run(model, name, folder, out, weights_file=str(weights_file), **options)["benchmarks"][name]
    told = entry["tasks"]["zero_shot"]["figures"]["challenge_metric"]
    assert not any("Challenge metric" in note for note in entry["notes"])
    assert told["value"] == 1.0 and told["undecided"]
    text = (out / "results.md").read_text()
    assert f"| {name} | zero-shot, Challenge metric | {entry['n']} | {100 * told['value']:.2f} |" in text
    assert f"never decided in the Challenge metric, as no validation record has them: {told['undecided'][0]}" in text
    assert ("D-BETA 85.7 fine-tuned" in text) == (name == DX)


def test_a_probe_has_it_by_leads(store, out, weights_file):  # noqa: F811
    """In the tables beside its AUROC, for every subset of leads."""
    probe = ProbeOptions(seeds=1, baselines=(), ratios=(100.0,))
    options = {"tasks": ("probe",), "leads": ("12", "1"), "probe": probe, "weights_file": str(weights_file)}
    entries = run(Oracle(load_benchmark(DX)), DX, store(DX), out, **options)["benchmarks"]
    value = entries[DX]["tasks"]["probe"]["figures"]["challenge_metric"]["value"]
    text = (out / "results.md").read_text()
    assert f"| {DX} | linear probe, 100 %, first seed, Challenge metric |" in text
    assert f"| {DX} | probe, 100 %, Challenge metric | {100 * value:.2f} | {100 * value:.2f} |" in text
    assert "D-BETA 76.5 fine-tuned" in text and f"| {DX}_1_lead | linear probe, 100 %, first seed, Challenge" in text


def test_no_thresholds_without_a_validation_split(store, out, weights_file, monkeypatch):  # noqa: F811
    monkeypatch.setattr(Prepared, "part", lambda prepared, name: None)
    options = {"tasks": ("zero_shot",), "leads": ("12",), "weights_file": str(weights_file)}
    entry = run(Oracle(load_benchmark(DX)), DX, store(DX), out, **options)["benchmarks"][DX]
    assert "challenge_metric" not in entry["tasks"]["zero_shot"]["figures"]
    sentence = "the Challenge metric was not computed for zero-shot: its thresholds are chosen on a validation split"
    assert any(note.startswith(sentence) for note in entry["notes"])


def test_weights_in_the_recipe(store, out, weights_file):  # noqa: F811
    content = yaml.safe_load((recipes_root() / "manifests/benchmarks" / f"{DX}.yaml").read_text())
    path = out / "mine.yaml"
    path.write_text(yaml.safe_dump(content | {"name": "mine", "weights_file": "weights.csv"}, sort_keys=False))
    benchmark = load_benchmark(str(path))
    assert benchmark.weights_file == str(weights_file) and weights_findings(benchmark) == []
    assert (
        load_challenge_metric(benchmark, None).sha256 == load_challenge_metric(load_benchmark(DX), weights_file).sha256
    )
    weights_file.unlink()
    with pytest.raises(BadConfig, match=r"benchmark mine: weights_file=.*weights.csv cannot be read"):
        run(Oracle(benchmark), path, store(DX), out)


@pytest.mark.parametrize("value", [3, "", ["weights.csv"]])
def test_bad_keys(out, value):  # noqa: F811
    content = yaml.safe_load((recipes_root() / "manifests/benchmarks" / f"{DX}.yaml").read_text())
    path = out / "mine.yaml"
    path.write_text(yaml.safe_dump(content | {"weights_file": value}))
    with pytest.raises(BadRecipe, match="weights_file: .*expected the path of the Challenge's weights.csv, or null"):
        load_benchmark(str(path))
    path.write_text(yaml.safe_dump({"name": "mine", "version": 1, "description": "mine", "recipe": "physionet2021_id",
                                    "split": "test", "metric": "accuracy", "weights_file": "weights.csv"}))  # fmt: skip
    with pytest.raises(BadRecipe, match="metric: accuracy and weights_file: identification has no classes"):
        load_benchmark(str(path))


def test_bad_options(store, out, weights_file, embedded):  # noqa: F811
    folder, model = store(DX), Oracle(load_benchmark(DX))
    with pytest.raises(BadConfig, match="--weights-file=.*nowhere.csv cannot be read"):
        run(model, DX, folder, out, weights_file=str(out / "nowhere.csv"))
    lines = weights_file.read_text().splitlines()
    weights_file.write_text("\n".join(line.replace("AFL", "XYZ") for line in lines) + "\n")
    with pytest.raises(BadConfig, match="--weights-file=.* expected each of its classes once .* XYZ is there 0 times"):
        run(model, DX, folder, out, weights_file=str(weights_file))
    with pytest.raises(BadConfig, match="expected a benchmark with the Challenge's classes .* among cpsc2018; omit it"):
        run(model, "cpsc2018", store("merl_cpsc2018"), out, weights_file=str(weights_file))
    assert not embedded
