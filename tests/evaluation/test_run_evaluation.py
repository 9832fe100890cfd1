"""Runs of benchmarks on small stores that their recipes build: what results tell, tasks, lead subsets, bad input."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from ecgtext_plugins.errors import BadCheckpoint, BadConfig, BadManifest, BadPrompts, BadStore
from ecgtext_plugins.evaluation import evaluation_tasks, prepared_benchmark, probe_task
from ecgtext_plugins.evaluation.benchmark import load_benchmark
from ecgtext_plugins.evaluation.embedding_cache import EmbeddingCache
from ecgtext_plugins.evaluation.evaluation_tasks import (
    Encoder,
    Sampling,
    other_prompts,
    run_identification_task,
    run_retrieval_task,
    with_texts,
)
from ecgtext_plugins.evaluation.prepared_benchmark import prepare
from ecgtext_plugins.evaluation.probe import linear_probe
from ecgtext_plugins.evaluation.probe_task import ProbeOptions
from ecgtext_plugins.evaluation.results import read_results, read_scores
from ecgtext_plugins.evaluation.run_evaluation import EvaluationOptions, run_evaluation
from ecgtext_plugins.store.manifest import read_manifest
from tests.evaluation.oracle import Oracle
from tests.evaluation.test_benchmark_validation import DOWNLOADS, store  # noqa: F401


def everywhere(manifest):
    """Every record carries every class."""
    return np.ones((len(manifest), 5), dtype=bool)


@pytest.fixture(autouse=True)
def embedded(monkeypatch):
    """Let a model's own `ecgs` stand for the embedding; return how many entries each call was asked for."""
    asked = []

    def embed(model, manifest, *rest):
        asked.append(len(manifest))
        return model.ecgs(manifest)

    monkeypatch.setattr(evaluation_tasks, "embed_entries", embed)
    return asked


def run(model, name, folder, out, **options):
    settings = EvaluationOptions(**{"resamples": 50} | options)
    return run_evaluation(model, out / "model.pt", [name], [folder], out, settings, overwrite=True)


@pytest.fixture
def out(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    return tmp_path


@pytest.fixture
def short_probe(monkeypatch):
    """Train heads in one epoch of many steps: a few validation records are too few to choose an epoch."""
    recipe = probe_task.ProbeRecipe

    def quick(*args, **options):
        options["recipe"] = recipe(learning_rate=0.2, epochs=1, batch_size=1, standardize=options["recipe"].standardize)
        return linear_probe(*args, **options)

    monkeypatch.setattr(probe_task, "linear_probe", quick)


def test_probe_rows_of_a_random_encoder(store, out, short_probe, embedded):  # noqa: F811
    class Random(Oracle):
        def ecgs(self, manifest):
            return np.random.default_rng(len(manifest)).normal(size=(len(manifest), 5)).astype(np.float32)

    name, folder = "ptbxl_super", store("merl_ptbxl")
    benchmark = load_benchmark(name)
    probe = ProbeOptions(seeds=2, baselines=("random_encoder",), probes=("linear", "logistic"), ratios=(50.0,))
    options = EvaluationOptions(tasks=("zero_shot", "probe"), probe=probe, resamples=20)
    seeds = []

    def untrained(seed):
        seeds.append(seed)
        return Random(benchmark)

    given = (Oracle(benchmark), out / "model.pt", [name], [folder], out, options, untrained)
    told = run_evaluation(*given)["benchmarks"][name]["tasks"]
    rows = told["probe"]["rows"]
    assert list(rows) == ["model", "model_logistic", "random_encoder"] and seeds == [0]
    assert rows["model"]["100"]["mean"] > 0.95 and rows["random_encoder"]["100"]["mean"] < 0.9
    minus = told["probe"]["minus"]
    assert list(minus) == ["model_logistic", "random_encoder"]
    first = [rows[row]["100"]["seeds"][0] for row in ("model", "random_encoder")]
    assert minus["random_encoder"]["difference"] == pytest.approx(first[0] - first[1], abs=1e-12)
    assert minus["random_encoder"]["interval"][0] >= 0 and 0 < minus["random_encoder"]["p_value"] < 1
    low, high = rows["random_encoder"]["100"]["interval"]
    assert low < first[1] < high and rows["model"]["100"]["interval"] == told["probe"]["figures"]["auroc"]["interval"]
    assert told["zero_shot"]["scores"] == f"{name}/scores.npz"
    assert told["probe"]["scores"] == f"{name}/scores_probe.npz" and (out / told["probe"]["scores"]).is_file()
    asked, first = len(embedded), read_results(out)
    assert asked
    again = json.loads(json.dumps(run_evaluation(*given)))
    assert len(embedded) == asked  # nothing is embedded twice
    for results in (first, again):
        results.pop("seconds")
        results["benchmarks"][name].pop("seconds")
    assert again == first


def test_what_a_result_tells(store, out):  # noqa: F811
    name, folder = "ptbxl_super", store("merl_ptbxl")
    model = Oracle(load_benchmark(name))
    results = run(model, name, folder, out, tasks=("zero_shot",))
    assert read_results(out) == json.loads(json.dumps(results))
    assert results["checkpoint"]["sha256"] == "aa" * 32 and results["checkpoint"]["training_records_sha256"] is None
    entry = results["benchmarks"][name]
    data = read_manifest(folder / "manifests" / "merl_super" / "test.tsv").store
    assert (entry["store_fingerprint"], entry["recipe"]) == (data.fingerprint, "merl_ptbxl")
    assert entry["published"]["D-BETA"]["linear_probe"]["100"] == 90.11
    assert any("training_records.txt beside the checkpoint" in note for note in entry["notes"])
    assert set(results["versions"]) >= {"ecgtext_plugins", "torch", "numpy"} and results["config"]["resamples"] == 50
    vectors = np.load(Path(entry["embeddings"]) / "part-00000.npy")
    np.testing.assert_array_equal(vectors, read_scores(out / f"{name}/scores.npz").labels)
    text = (out / "results.md").read_text()
    assert "D-BETA 76.2" in text and "published (papers)" in text and "| 100.00 |" in text


def test_models_without_text_and_stores_without_splits(store, out):  # noqa: F811
    class NoText(torch.nn.Module):
        family, config, checkpoint_sha256 = "wav2vec2_cmsc", {"model": {}}, "bb" * 32

    with pytest.raises(BadConfig, match="no task could run .*wav2vec2_cmsc without text encoder.*no train or valid"):
        run(NoText(), "code_test", store("code_test"), out, tasks=("zero_shot", "probe"))
    results = run(Oracle(load_benchmark("code_test")), "code_test", store("code_test"), out)
    entry = results["benchmarks"]["code_test"]
    assert list(entry["tasks"]) == ["zero_shot"] and "no train or valid split" in entry["skipped"]["probe"]
    assert "no probe: store" in (out / "results.md").read_text()


def test_identification(store, out):  # noqa: F811
    folder = store("physionet2021_id")
    prepared = prepare(load_benchmark("physionet2021_id"), [folder], None)

    class Knows(torch.nn.Module):
        family, config, checkpoint_sha256, wrong = "wav2vec2_cmsc", {"model": {}}, "cc" * 32, 0

        def ecgs(self, manifest):
            vectors = np.eye(len(manifest), dtype=np.float32)[np.asarray(manifest.identities)]
            if manifest.path.stem.endswith("probe"):
                vectors[: self.wrong] = np.roll(vectors[: self.wrong], 1, axis=1)
            return vectors

    results = run(Knows(), "physionet2021_id", folder, out)
    told = results["benchmarks"]["physionet2021_id"]["tasks"]["identification"]
    assert told["accuracy"] == 1.0 and told["n_gallery"] == told["n_probe"] == len(prepared.test) >= 2
    model = Knows()
    model.wrong = 1
    encoder = Encoder(model, {"pooling": "default"}, EmbeddingCache(out / "other"))
    n = len(prepared.test)
    assert run_identification_task(encoder, prepared, Sampling(100))["accuracy"] == pytest.approx((n - 1) / n)


def test_retrieval(store, out):  # noqa: F811
    prepared = prepare(load_benchmark("ptbxl_all"), [store("ptbxl")], None)
    reports = prepared.store.column("report_id")[prepared.test.rows]
    texts = [prepared.store.report_text(int(each)) for each in reports]

    class Knows(Oracle):
        def ecgs(self, manifest):
            ids = manifest.store.column("report_id")[manifest.rows]
            return np.eye(manifest.store.n_reports, dtype=np.float32)[ids]

        def encode_text(self, asked):
            every = prepared.store.report_texts().to_pylist()
            return torch.eye(len(every))[[every.index(text) for text in asked]]

    encoder = Encoder(Knows(prepared.benchmark), {"pooling": "default"}, EmbeddingCache(out))
    told = run_retrieval_task(encoder, prepared, Sampling(20))
    assert told["ecg_to_text"]["r@1"] == told["text_to_ecg"]["r@1"] == 1.0
    assert (told["n_ecgs"], told["n_texts"]) == (len(texts), len(set(texts)))


@pytest.fixture
def copy(store, tmp_path):  # noqa: F811
    """Return a copy of a store to spoil."""
    return lambda name: shutil.copytree(store(name), tmp_path / "stores" / name)


@pytest.fixture
def refused(out, embedded):
    """Check that a run is refused before anything is embedded."""

    def check(error, sentence, name, folder, **options):
        with pytest.raises(error, match=sentence) as caught:
            run(Oracle(load_benchmark(name)), name, folder, out, **options)
        assert "\n" not in str(caught.value) and not embedded and not (out / "results.json").exists()

    return check


def test_a_store_of_another_recipe(store, refused):  # noqa: F811
    refused(BadStore, "benchmark csn: no store of recipe merl_csn_published among", "csn", store("code_test"))


def test_a_store_that_lacks_a_class(copy, refused):
    folder = copy("merl_ptbxl")
    path = folder / "corpus.json"
    corpus = json.loads(path.read_text())
    corpus["label_names"].remove("merl_super/HYP")
    path.write_text(json.dumps(corpus))
    refused(BadStore, "has no label merl_super/HYP; build it with `ecgtext manifest build", "ptbxl_super", folder)


def test_the_manifest_of_another_split(copy, refused):
    folder = copy("merl_ptbxl")
    place = folder / "manifests" / "merl_super"
    shutil.copy(place / "train.tsv", place / "test.tsv")
    refused(BadManifest, "patients are in both .*train.tsv and .*test.tsv", "ptbxl_super", folder)


def test_the_manifest_of_another_label_set(copy, refused):
    folder = copy("merl_ptbxl")
    place = folder / "manifests"
    shutil.copy(place / "merl_rhythm" / "test.tsv", place / "merl_form" / "test.tsv")
    sentence = "merl_form/test.tsv is a copy of manifests/merl_rhythm/test.tsv: expected the benchmark's own split"
    refused(BadManifest, sentence, "ptbxl_form", folder)


def test_the_manifest_of_another_store(copy, store, refused):  # noqa: F811
    folder = copy("merl_cpsc2018")
    path = folder / "manifests" / "test.tsv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([str(store("merl_cpsc2018")), *lines[1:]]) + "\n")
    refused(BadManifest, "test.tsv lists records of store .*: expected those of", "cpsc2018", folder)


def test_a_split_in_which_no_figure_is_defined(store, refused, monkeypatch):  # noqa: F811
    monkeypatch.setattr(prepared_benchmark, "label_matrix", lambda benchmark, source, manifest: everywhere(manifest))
    refused(BadManifest, "no class has both .* among the [0-9]+ of split test", "ptbxl_super", store("merl_ptbxl"))


def test_collapsed_embeddings_are_told(store, out):  # noqa: F811
    class Collapsed(Oracle):
        def ecgs(self, manifest):
            return (super().ecgs(manifest) * 1e-5 + 3).astype(np.float32)

    name, folder = "ptbxl_super", store("merl_ptbxl")
    for model, collapsed in ((Oracle(load_benchmark(name)), False), (Collapsed(load_benchmark(name)), True)):
        told = run(model, name, folder, out, tasks=("zero_shot",))["benchmarks"][name]["tasks"]["zero_shot"]
        assert any("the encoder has collapsed" in note for note in told["notes"]) is collapsed
        assert ("the encoder has collapsed" in (out / "results.md").read_text()) is collapsed
        shutil.rmtree(out / "embeddings")  # both say that they are one checkpoint


def test_two_records_of_one_patient(copy, refused):
    folder = copy("merl_cpsc2018")
    train, test = (folder / "manifests" / f"{name}.tsv" for name in ("train", "test"))
    test.write_text(test.read_text() + train.read_text().splitlines()[2] + "\n")
    refused(BadManifest, "1 patients are in both", "cpsc2018", folder)


def test_leaks(store, out, refused):  # noqa: F811
    folder = store("merl_cpsc2018")
    test = read_manifest(folder / "manifests" / "test.tsv")
    leaked = test.store.text_column("checksum").take(pa.array(test.rows[:2])).to_pylist()
    (out / "training_records.txt").write_text("\n".join(leaked) + "\n")
    refused(BadCheckpoint, f"trained on 2 of the .* the first is {test.record_id(0)} ", "cpsc2018", folder)
    oracle = Oracle(load_benchmark("cpsc2018"))
    results = run(oracle, "cpsc2018", folder, out, tasks=("zero_shot",), allow_leaks=True)
    assert results["benchmarks"]["cpsc2018"]["leaked"] == [test.record_id(0), test.record_id(1)]
    assert "LEAK: the model was trained on 2" in (out / "results.md").read_text()


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"tasks": ("zeroshot",)}, BadConfig, "tasks zeroshot: expected different ones of zero_shot, probe, class"),
        ({"tasks": ()}, BadConfig, "expected different ones"),
        ({"leads": ("4",)}, BadConfig, "leads 4: expected different ones of 12, 6, 3, 2, 1"),
        ({"leads": ("6", "6")}, BadConfig, "leads 6,6: expected different ones"),
        ({"leads": ()}, BadConfig, "leads : expected different ones"),
        ({"prompts": "nowhere.json"}, BadPrompts, "nowhere.json cannot be read"),
        ({"templates": "nothing"}, BadPrompts, "no templates 'nothing'"),
    ],
)
def test_bad_options(store, refused, options, error, sentence):  # noqa: F811
    refused(error, sentence, "ptbxl_super", store("merl_ptbxl"), **options)


def test_benchmarks_once_each(store, out):  # noqa: F811
    model = Oracle(load_benchmark("csn"))
    for names in (["csn", "csn"], []):
        with pytest.raises(BadConfig, match="expected at least one, each once"):
            run_evaluation(model, out / "model.pt", names, [], out)
    for options in ({"baselines": ("x",)}, {"probes": ()}, {"ratios": (0.0,)}, {"seeds": 0}, {"probes": ("svm",)}):
        with pytest.raises(BadConfig, match="expected"):
            ProbeOptions(**options)


def test_prompts_and_templates():
    benchmark = load_benchmark("csn")
    asked = with_texts(benchmark, "names", "report")
    assert (asked.prompt_set, asked.templates) == ("names", "report")
    assert [(each.prompt_set, each.templates) for each in other_prompts(asked)] == [("expert", "report")]
    assert with_texts(benchmark, None, None) == benchmark == with_texts(benchmark, None, "plain")
    assert with_texts(load_benchmark("physionet2021_id"), "names", None).prompts == {}
    assert set(DOWNLOADS)


def test_fewer_leads(store, out, monkeypatch, short_probe):  # noqa: F811
    """An oracle that knows less of fewer leads: an entry, scores and cached embeddings of each preset."""
    asked = []

    def embed(model, manifest, batch_size, device, pooling, leads):
        asked.append(leads)
        return model.ecgs(manifest) * (leads == "12") + (leads != "12")

    monkeypatch.setattr(evaluation_tasks, "embed_entries", embed)
    name = "ptbxl_super"
    probe = ProbeOptions(seeds=1, baselines=("handcrafted",), ratios=(100.0,))
    model, options = Oracle(load_benchmark(name)), {"tasks": ("zero_shot", "probe"), "leads": ("6", "12", "1")}
    monkeypatch.setattr(probe_task, "handcrafted_features", lambda manifest, *rest: Measured(manifest))
    results = run(model, name, store("merl_ptbxl"), out, probe=probe, **options)
    entries = results["benchmarks"]
    assert list(entries) == [f"{name}_6_leads", name, f"{name}_1_lead"] and set(asked) == {"6", "12", "1"}
    macros = {key: entry["tasks"]["zero_shot"]["figures"]["auroc"]["macro"] for key, entry in entries.items()}
    assert macros == {f"{name}_6_leads": 0.5, name: 1.0, f"{name}_1_lead": 0.5}
    assert [entry["leads"] for entry in entries.values()] == ["6", "12", "1"]
    assert {entry["name"] for entry in entries.values()} == {name}
    assert len({entry["embeddings"] for entry in entries.values()}) == 3
    rows = {key: list(entry["tasks"]["probe"]["rows"]) for key, entry in entries.items()}
    assert rows == {f"{name}_6_leads": ["model"], name: ["model", "handcrafted"], f"{name}_1_lead": ["model"]}
    assert entries[name]["published"]["D-BETA"]["zero_shot"] and entries[f"{name}_6_leads"]["published"] == {}
    assert "the model sees I alone: its other leads are zero" in entries[f"{name}_1_lead"]["notes"]
    assert not any("alone" in note for note in entries[name]["notes"])
    text = (out / "results.md").read_text()
    assert f"| {name} | zero-shot | 50.00 | 100.00 | 50.00 |" in text and "| 6 leads | 12 leads | 1 lead |" in text
    for key, entry in entries.items():
        assert entry["tasks"]["zero_shot"]["scores"] == f"{key}/scores.npz" and (out / key / "scores.npz").is_file()


def test_a_benchmarks_own_leads(store, out):  # noqa: F811
    """Those of its recipe unless others are asked for."""
    name, recipe = "physionet2021_dx", store("physionet2021_dx")
    model, options = Oracle(load_benchmark(name)), {"tasks": ("zero_shot",)}
    entries = run(model, name, recipe, out, **options)["benchmarks"]
    assert list(entries) == [name, *(f"{name}_{leads}" for leads in ("6_leads", "3_leads", "2_leads", "1_lead"))]
    assert [entry["leads"] for entry in entries.values()] == ["12", "6", "3", "2", "1"]
    text = (out / "results.md").read_text()
    assert "| 12 leads | 6 leads | 3 leads | 2 leads | 1 lead |" in text
    assert text.count("was built by a changed recipe") == 1 and text.count("its other leads are zero") == 4
    assert list(run(model, name, recipe, out, leads=("2",), **options)["benchmarks"]) == [f"{name}_2_leads"]
    for other in ("cpsc2018", "physionet2021_scored"):
        assert load_benchmark(other).leads == ("12",)


class Measured:
    """Features by hand that tell nothing."""

    def __init__(self, manifest):
        self.values = np.random.default_rng(0).normal(size=(len(manifest), 3))


def test_published_figures_are_those_of_the_same_leads(store):  # noqa: F811
    prepared = prepare(load_benchmark("physionet2021_id"), [store("physionet2021_id")], None)
    assert prepared.describe("3")["published"] == {"D-BETA": {"fine_tuning": {"3": 60.5}}}
    assert prepared.describe()["published"]["D-BETA"]["fine_tuning"]["12"] == 65.4
