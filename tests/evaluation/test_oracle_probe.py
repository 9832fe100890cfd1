"""Linear and logistic probes on embeddings that hold the labels, on every benchmark that has them."""

import numpy as np
import pytest

from ecgtext_plugins.evaluation import evaluation_tasks, probe_task
from ecgtext_plugins.evaluation.benchmark import benchmark_names, load_benchmark
from ecgtext_plugins.evaluation.prepared_benchmark import prepare
from ecgtext_plugins.evaluation.probe import ProbeRecipe, linear_probe
from ecgtext_plugins.evaluation.probe_task import ProbeOptions
from ecgtext_plugins.evaluation.run_evaluation import EvaluationOptions, run_evaluation
from tests.evaluation.oracle import Oracle
from tests.evaluation.synthetic_stores import large_store  # noqa: F401

NOT_PROBED = {"code_test"}  # has no train split
PROBED = [
    name
    for name in benchmark_names()
    if load_benchmark(name).task not in ("identification", "transfer") and name not in NOT_PROBED
]

# their code is that of several conditions, of which the download has none
LACKING = {"csn": {"LBBB", "MI"}, "csn_corrected": {"LBBB", "MI"}}


@pytest.fixture(autouse=True)
def embedded(monkeypatch):
    """Let a model's own `ecgs` stand for the embedding."""
    monkeypatch.setattr(evaluation_tasks, "embed_entries", lambda model, manifest, *rest: model.ecgs(manifest))


@pytest.fixture(autouse=True)
def converged(monkeypatch):
    """Let heads of the linear probe arrive: the papers' 200 epochs are some hundred small steps on so few records."""

    def train(*args, **options):
        return linear_probe(*args, **options | {"recipe": ProbeRecipe(0.1, batch_size=8, epochs=5, standardize=True)})

    monkeypatch.setattr(probe_task, "linear_probe", train)


@pytest.mark.parametrize("name", PROBED)
def test_a_probe_on_an_oracle(large_store, tmp_path, name):  # noqa: F811
    """Every class with both kinds of records in train and test; those without are told by name."""
    benchmark, folder = load_benchmark(name), large_store(load_benchmark(name).recipes[0])
    (tmp_path / "model.pt").write_bytes(b"weights")
    probe = ProbeOptions(seeds=1, baselines=(), ratios=(100.0,), probes=("linear", "logistic"))
    options = EvaluationOptions(tasks=("probe",), resamples=2, leads=("12",), probe=probe)
    given = (Oracle(benchmark), tmp_path / "model.pt", [name], [folder], tmp_path / "out", options)
    told = run_evaluation(*given)["benchmarks"][name]["tasks"]["probe"]
    prepared = prepare(benchmark, [folder], None)
    parts = (prepared.labels_of(prepared.part("train")), prepared.labels)
    defined = np.all([labels.any(axis=0) & ~labels.all(axis=0) for labels in parts], axis=0)
    lacking = {each for each, there in zip(benchmark.classes, defined, strict=True) if not there}
    assert lacking == LACKING.get(name, set()) or name.startswith("physionet2021")
    assert len(lacking) <= 0.3 * len(benchmark.classes)
    for row in (told["rows"]["model"]["100"], told["rows"]["model_logistic"]["100"]):
        values = {each: value for each, value in row["per_class"].items() if value is not None}
        assert set(benchmark.classes) - set(values) == lacking and set(row["not_taught"]) <= lacking
        assert {each: value for each, value in values.items() if value <= 0.99} == {}
    assert set(told["figures"]["auroc"]["undefined"]) <= lacking and told["figures"]["auroc"]["macro"] > 0.99
    assert told["scores"] == f"{name}/scores.npz" and 0 <= told["calibration"]["macro_ece"] <= 1
    assert "f1" in told["figures"]
