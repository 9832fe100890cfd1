"""A classifier's own heads on benchmarks: labels by name, planted probabilities, decisions, leads, cache, transfers."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from sklearn.metrics import f1_score, roc_auc_score

from ecgtext_plugins.checkpoints.ecg_fm import MAXIMUM_LABELS, MIMIC_LABELS
from ecgtext_plugins.checkpoints.ecg_model import EcgModel
from ecgtext_plugins.corpora.snomed import snomed_codes
from ecgtext_plugins.criterions.classification_metrics import load_challenge_weights
from ecgtext_plugins.errors import BadCheckpoint, BadConfig
from ecgtext_plugins.evaluation import classifier_task, evaluation_tasks
from ecgtext_plugins.evaluation.benchmark import load_benchmark
from ecgtext_plugins.evaluation.classifier_task import half_figures, heads_for
from ecgtext_plugins.evaluation.compare_runs import compare_runs
from ecgtext_plugins.evaluation.embedding_cache import Entries
from ecgtext_plugins.evaluation.evaluation_tasks import Sampling
from ecgtext_plugins.evaluation.predict import predict, predict_entries, write_predictions
from ecgtext_plugins.evaluation.prepared_benchmark import prepare
from ecgtext_plugins.evaluation.probe_task import ProbeOptions
from ecgtext_plugins.evaluation.record_sources import open_records
from ecgtext_plugins.evaluation.results import Scores, read_scores
from ecgtext_plugins.evaluation.run_evaluation import EvaluationOptions, run_evaluation
from ecgtext_plugins.evaluation.transfer import any_of
from ecgtext_plugins.evaluation.transfer_probe import source_benchmark
from ecgtext_plugins.evaluation.window_cutting import WindowForm, cut
from ecgtext_plugins.plotting.report_html import write_report
from ecgtext_plugins.recipes import recipes_root
from ecgtext_plugins.store.manifest import read_manifest
from tests.evaluation.oracle import Oracle
from tests.evaluation.test_benchmark_validation import store  # noqa: F401
from tests.evaluation.test_challenge_metric import weights_file  # noqa: F401
from tests.evaluation.tiny_models import tiny_ecg_model

DX, CPSC, TRANSFER = "physionet2021_dx", "cpsc2018", "transfer_cpsc2018_csn_corrected"
WINDOW = 200


@pytest.fixture
def out(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    return tmp_path


def run(model, name, folder, out, cache=None, **options):
    settings = EvaluationOptions(**{"resamples": 20, "tasks": ("classifier",), "leads": ("12",)} | options)
    folders = folder if isinstance(folder, list) else [folder]
    return run_evaluation(model, out / "model.pt", [str(name)], folders, out, settings, cache=cache, overwrite=True)


def entry_of(results, name):
    return results["benchmarks"][load_benchmark(str(name)).name]


class Planted(EcgModel):
    """A classifier that knows each window of some manifests, and gives their labels a high logit."""

    def know(self, labels, parts):
        """Let the outputs of `labels` tell the values (n, len(labels)) of each manifest in `parts`."""
        self.labels, form, windows, values = list(labels), WindowForm.of(self), [], []
        for manifest, of_entries in parts:
            entries = Entries(manifest)
            for place in range(len(entries)):
                ecg = cut(entries.read(place), form)[0]
                windows.append(ecg.flatten(1))
                values.append(torch.from_numpy(of_entries[[place]].astype(np.float32)).expand(len(ecg), -1))
        self.windows, self.values = torch.cat(windows), torch.cat(values)
        return self

    def logits(self, ecg, padding_mask=None):
        nearest = torch.cdist(ecg.flatten(1).double(), self.windows.double()).argmin(1)
        return 6.0 * self.values[nearest] - 3.0


def planted(path, name, folder, labels=None, n_samples=2500):
    """Return a classifier that knows a benchmark; `labels` are its classes in another order, with others among them."""
    prepared = prepare(load_benchmark(name), [folder], None)
    names = list(prepared.benchmark.classes)
    labels = names if labels is None else labels
    parts = []
    for manifest in (prepared.test, prepared.part("valid")):
        own, values = prepared.labels_of(manifest), np.zeros((len(manifest), len(labels)), dtype=bool)
        for column, label in enumerate(labels):
            if label in names:
                values[:, column] = own[:, names.index(label)]
        parts.append((manifest, values))
    rate = float(prepared.store.sample_rate)
    model = tiny_ecg_model(path, labels, standardize=False, n_samples=n_samples, rate=rate)
    model.__class__ = Planted
    return model.know(labels, parts)


@pytest.mark.parametrize("name", [DX, CPSC])
def test_a_planted_classifier_is_found_and_its_rolled_heads_are_not(store, out, weights_file, name):  # noqa: F811
    """In another order than the benchmark's, with other heads between; of whole records, from several windows each."""
    benchmark = load_benchmark(name)
    folder = store(benchmark.recipes[0])
    labels = [
        each
        for pair in zip(sorted(benchmark.classes, reverse=True), map(str, range(99)), strict=False)
        for each in pair
    ]
    assert [each for each in labels if each in benchmark.classes] != list(benchmark.classes)
    model = planted(out / "weights.pt", name, folder, labels, 2500 if name == DX else WINDOW)
    weights = {"weights_file": str(weights_file)} if name == DX else {}
    entry = entry_of(run(model, name, folder, out, **weights), name)
    told, defined = entry["tasks"]["classifier"], 0
    for kind in ("auroc", "auprc"):
        found = told["figures"][kind]
        assert found["macro"] == 1.0 and found["interval"] == [1.0, 1.0]
        defined += len(found["per_class"]) - len(found["undefined"])
    assert defined >= 6 and told["at_0.5"]["f1"]["macro"] == 1.0
    assert told["heads"] == {each: [each] for each in benchmark.classes}
    assert told["calibration"]["macro_ece"] == pytest.approx(1 / (1 + np.exp(3)), abs=1e-6)
    scores = read_scores(out / told["scores"])
    assert scores.task == "classifier" and scores.label_names == list(benchmark.classes)
    np.testing.assert_array_equal(scores.scores > 0.5, scores.labels)
    if weights:
        assert told["at_0.5"]["challenge_metric"]["value"] == 1.0
    model.labels = list(np.roll(labels, 2))
    rolled = entry_of(run(model, name, folder, out, **weights), name)["tasks"]["classifier"]
    assert rolled["figures"]["auroc"]["macro"] < 0.8 and rolled["at_0.5"]["f1"]["macro"] < 0.5
    if weights:
        assert rolled["at_0.5"]["challenge_metric"]["value"] < 0.5


def test_order_of_heads_changes_nothing(store, out):  # noqa: F811
    """The same network with its outputs and their names in another order: the same scores of the classes."""
    names = list(load_benchmark(CPSC).classes)
    model = tiny_ecg_model(out / "weights.pt", names, n_samples=WINDOW, rate=500.0)
    first = entry_of(run(model, CPSC, store("merl_cpsc2018"), out), CPSC)["tasks"]["classifier"]
    scores = read_scores(out / first["scores"])
    order = np.random.default_rng(0).permutation(len(names))
    model.labels = [names[place] for place in order]
    with torch.no_grad():
        for tensor in model.model.proj.parameters():
            tensor.copy_(tensor[torch.from_numpy(order)])
    second = entry_of(run(model, CPSC, store("merl_cpsc2018"), out), CPSC)["tasks"]["classifier"]
    np.testing.assert_allclose(read_scores(out / second["scores"]).scores, scores.scores, atol=1e-6)
    assert second["figures"]["auroc"] == first["figures"]["auroc"] and np.ptp(scores.scores, axis=0).min() > 1e-4


def test_probabilities_and_figures_are_those_of_predict(store, out):  # noqa: F811
    """ECG-FM's 17 labels on classes of their names: the highest of the windows for some, as predict has it."""
    content = yaml.safe_load((recipes_root() / "manifests/benchmarks/cpsc2018.yaml").read_text())
    short = {"Ventricular tachycardia": "VPC", "Sinus rhythm": "NORM", "Poor data quality": ["STE", "STD"]}
    content = {key: value for key, value in content.items() if key not in ("vocabulary", "published")}
    content |= {"name": "named", "classes": short, "prompts": dict.fromkeys(short, "a text")}
    (out / "named.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    model = tiny_ecg_model(out / "weights.pt", list(MIMIC_LABELS), n_samples=WINDOW, rate=500.0)
    folder = store("merl_cpsc2018")
    told = entry_of(run(model, out / "named.yaml", folder, out), out / "named.yaml")["tasks"]["classifier"]
    assert set(told["highest_of_windows"]) == set(MAXIMUM_LABELS) and told["aggregate"] == "auto"
    manifest = folder / "manifests" / "test.tsv"
    found = predict(model, open_records([manifest]))
    write_predictions(out / "p.parquet", found, {})
    table = pq.read_table(out / "p.parquet")
    scores = read_scores(out / told["scores"])
    assert scores.record_ids.tolist() == table["record_id"].to_pylist() and min(table["n_windows"].to_pylist()) > 1
    expected = np.stack([table[name].to_numpy() for name in short], axis=1)
    np.testing.assert_allclose(scores.scores, expected, atol=1e-6)
    mean = predict(model, open_records([manifest]), "mean").probabilities[:, [MIMIC_LABELS.index(n) for n in short]]
    assert (np.abs(mean - expected).max(axis=0) > 1e-4).tolist() == [True, False, True]
    data = read_manifest(manifest)
    columns = {name: [codes] if isinstance(codes, str) else codes for name, codes in short.items()}
    labels = np.stack([data.store.label_matrix(data.rows, codes).any(axis=1) for codes in columns.values()], axis=1)
    per_class = told["figures"]["auroc"]["per_class"]
    for place, name in enumerate(short):
        assert per_class[name]["value"] == pytest.approx(roc_auc_score(labels[:, place], expected[:, place]))
    half = told["at_0.5"]["f1"]["per_class"]
    values = [f1_score(labels[:, place], expected[:, place] > 0.5) for place in range(3)]
    assert [half[name]["value"] for name in short] == pytest.approx(values)
    valid = prepare(load_benchmark(str(out / "named.yaml")), [folder], None).part("valid")
    known = predict_entries(model, valid)[:, MIMIC_LABELS.index("Sinus rhythm")]
    assert told["figures"]["f1"]["per_class"]["Sinus rhythm"]["threshold"] in known


def test_decisions_at_half(weights_file):  # noqa: F811
    """Above 0.5 and not at it, as training decides; equal to scikit-learn and the Challenge's metric."""
    rng = np.random.default_rng(0)
    names = list(load_benchmark(DX).classes)
    labels = rng.random((40, len(names))) < 0.4
    values = np.round(rng.random(labels.shape), 1).astype(np.float32)
    assert (values == 0.5).any()
    ids = np.array([f"r{place}" for place in range(40)])
    scores = Scores(ids, np.zeros(40, dtype=np.int64), np.arange(40) // 2, labels, names, values, "classifier")
    challenge = classifier_task.ChallengeMetric(load_challenge_weights(weights_file, names), "ab" * 32)
    told = half_figures(scores, Sampling(20), challenge)
    assert told["f1"]["macro"] == pytest.approx(f1_score(labels, values > 0.5, average="macro"))
    assert {each["threshold"] for each in told["f1"]["per_class"].values()} == {0.5}
    assert told["challenge_metric"]["value"] == pytest.approx(challenge.weights.score(labels, values > 0.5))
    assert "0.5" in told["challenge_metric"]["thresholds"] and told["challenge_metric"]["undecided"] == []
    assert challenge.weights.score(labels, values >= 0.5) != pytest.approx(told["challenge_metric"]["value"])
    json.dumps(told, allow_nan=False)


def test_labels_by_name():
    dx, super_ = load_benchmark(DX), load_benchmark("ptbxl_super")
    names = list(dx.classes)
    codes = {code.label: code.code for code in snomed_codes().values() if code.label}  # of merged ones the last
    snomed = [codes[name] for name in names]
    assert heads_for(dx, snomed[::-1]) == {name: (code,) for name, code in zip(names, snomed, strict=True)}
    joined = [f"{codes[name]}|other" if name == "AF" else name for name in names]
    with pytest.raises(BadConfig, match=r"no head for 1 of 26 classes \(AF\)"):
        heads_for(dx, joined)
    with pytest.raises(BadConfig, match=f"labels LBBB and {codes['CLBBB']} both mean CLBBB"):
        heads_for(dx, [codes["CLBBB"], "LBBB", *(name for name in names if name != "CLBBB")][::-1])
    assert heads_for(super_, ["sub/NORM", *(f"super/{name}" for name in super_.classes), "NORM"])["NORM"] == (
        "super/NORM",
    )
    assert heads_for(super_, [f"merl_super/{name}" for name in super_.classes])["MI"] == ("merl_super/MI",)
    with pytest.raises(BadConfig, match=r"5 of 5 classes \(HYP, NORM, MI, CD, STTC\).*its labels are sub/NORM"):
        heads_for(super_, [f"sub/{name}" for name in ("NORM", *super_.classes)])
    with pytest.raises(BadConfig, match="name the outputs with --labels"):
        heads_for(super_, [f"label_{place}" for place in range(5)])


def test_classes_of_several_codes():
    """All of their heads, or one of the class's own name; a head of some of the codes is no head of the class."""
    benchmark = replace(load_benchmark(CPSC), classes={"ST": ("STE", "STD"), "AFIB": ("AFIB", "PAC")})
    labels = ["PAC", "STD", "AFIB", "STE"]
    assert heads_for(benchmark, labels) == {"ST": ("STE", "STD"), "AFIB": ("AFIB", "PAC")}
    assert heads_for(benchmark, ["ST", "AFIB", "PAC"])["ST"] == ("ST",)
    with pytest.raises(BadConfig, match=r"no head for 1 of 2 classes \(AFIB\)"):
        heads_for(benchmark, ["ST", "STE", "AFIB"])


def test_missing_heads_are_told_or_refused(store, out, monkeypatch):  # noqa: F811
    """Left out by default with their names, so that the probe still runs; an error where the task is asked for."""
    names, folder = list(load_benchmark(CPSC).classes), store("merl_cpsc2018")
    model = tiny_ecg_model(out / "weights.pt", names[1:], n_samples=WINDOW, rate=500.0)
    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(classifier_task, "predict_entries", lambda *given: calls.append(given))
        patch.setattr(evaluation_tasks, "embed_entries", lambda *given: calls.append(given))
        with pytest.raises(BadConfig, match=rf"cpsc2018: the classifier has no head for 1 of 9 classes \({names[0]}\)"):
            run(model, CPSC, folder, out)
    assert not calls
    probe = ProbeOptions(seeds=1, baselines=(), ratios=(100.0,))
    entry = entry_of(run(model, CPSC, folder, out, tasks=None, probe=probe), CPSC)
    assert list(entry["tasks"]) == ["probe"] and f"({names[0]})" in entry["skipped"]["classifier"]
    assert "ecg_transformer_classifier without text encoder" in entry["skipped"]["zero_shot"]
    assert "cpsc2018: no classifier: benchmark cpsc2018: the classifier has no head" in (out / "results.md").read_text()
    model.labels = names
    results = run(tiny_ecg_model(out / "weights.pt", names, n_samples=WINDOW, rate=500.0), CPSC, folder, out,
                  tasks=None, probe=probe)  # fmt: skip
    assert list(entry_of(results, CPSC)["tasks"]) == ["probe", "classifier"]
    assert results["config"]["tasks"] == ("zero_shot", "probe", "classifier")


def test_a_model_without_heads(store, out, monkeypatch):  # noqa: F811
    monkeypatch.setattr(evaluation_tasks, "embed_entries", lambda model, manifest, *rest: model.ecgs(manifest))
    model = Oracle(load_benchmark(CPSC))
    entry = entry_of(run(model, CPSC, store("merl_cpsc2018"), out, tasks=("zero_shot", "classifier")), CPSC)
    assert list(entry["tasks"]) == ["zero_shot"]
    assert entry["skipped"] == {"classifier": "the model is a dbeta without labels of its own"}
    with pytest.raises(BadConfig, match="no task could run .*dbeta without labels of its own"):
        run(model, CPSC, store("merl_cpsc2018"), out)


def test_leads_cache_and_tables(store, out, weights_file, monkeypatch):  # noqa: F811
    """Each preset by itself and as the network sees it; a second run computes nothing; other heads are computed."""
    labels, folder = sorted(load_benchmark(DX).classes), store(DX)
    model = tiny_ecg_model(out / "weights.pt", labels, standardize=False, n_samples=2500, rate=500.0)
    asked = []

    def predicted(*given):
        asked.append(given[-1])
        return predict_entries(*given)

    monkeypatch.setattr(classifier_task, "predict_entries", predicted)
    options = {"leads": ("12", "1"), "weights_file": str(weights_file)}
    results = run(model, DX, folder, out, **options)
    assert asked == ["12", "12", "1", "1"]
    again = run(model, DX, folder, out, **options)
    assert len(asked) == 4 and again["benchmarks"].keys() == results["benchmarks"].keys()
    by_leads = [read_scores(out / f"{name}/scores.npz") for name in (DX, f"{DX}_1_lead")]
    manifest = prepare(load_benchmark(DX), [folder], None).test
    entries, form = Entries(manifest), WindowForm.of(model)
    for place in (0, len(entries) - 1):
        ecg = cut(entries.read(place), form)[0]
        ecg[:, 1:] = 0.0
        values = torch.sigmoid(model.logits(ecg)).mean(0).numpy()
        found = dict(zip(labels, values, strict=True))
        np.testing.assert_allclose(by_leads[1].scores[place], [found[n] for n in by_leads[1].label_names], atol=1e-5)
    assert np.abs(by_leads[0].scores - by_leads[1].scores).max() > 1e-3
    text = (out / "results.md").read_text()
    told = results["benchmarks"][DX]["tasks"]["classifier"]
    value = told["at_0.5"]["challenge_metric"]["value"]
    n = len(manifest)
    assert f"| {DX} | classifier at 0.5, Challenge metric | {n} | {100 * value:.2f} |" in text
    assert f"| {DX} | classifier, Challenge metric | {n} |" in text and "D-BETA 85.7 fine-tuned" in text
    assert f"| {DX} | classifier | {n} | {100 * told['figures']['auroc']['macro']:.2f} |" in text
    assert f"| {DX} | classifier at 0.5, Challenge metric | {100 * value:.2f} |" in text  # the table of leads
    assert "F1 x 100 at 0.5" in text and f"## {DX}, classifier" in text
    page = write_report(out).read_text()
    assert "classifier at 0.5" in page and "Decisions above a probability of 0.5, as in training" in page
    assert page.count("Reliability diagram of") == 2 and "The scores are not probabilities" not in page
    model.labels = labels[::-1]
    run(model, DX, folder, out, **options)
    assert len(asked) == 8


def test_leaks_are_refused(store, out):  # noqa: F811
    folder = store("merl_cpsc2018")
    test = read_manifest(folder / "manifests" / "test.tsv")
    (out / "training_records.txt").write_text(test.store.text_column("checksum")[int(test.rows[0])].as_py() + "\n")
    names = list(load_benchmark(CPSC).classes)
    model = tiny_ecg_model(out / "weights.pt", names, n_samples=WINDOW, rate=500.0)
    with pytest.raises(BadCheckpoint, match=f"the first is {test.record_id(0)} "):
        run(model, CPSC, folder, out)


def test_transfer(store, out):  # noqa: F811
    """Heads of the source's classes score the target's categories; of other classes they are refused by name."""
    folder, benchmark = store("merl_csn_corrected"), load_benchmark(TRANSFER)
    model = planted(out / "weights.pt", TRANSFER, folder, None, WINDOW)
    told = entry_of(run(model, TRANSFER, folder, out), TRANSFER)["tasks"]["classifier"]
    assert told["figures"]["auroc"]["macro"] == 1.0 and told["transfer"]["source"] == CPSC
    model.labels = list(np.roll(model.labels, 1))
    rolled = entry_of(run(model, TRANSFER, folder, out), TRANSFER)["tasks"]["classifier"]
    assert rolled["figures"]["auroc"]["macro"] < 0.8
    model.labels = [*source_benchmark(benchmark).classes][:-1] + ["STDD"]
    with pytest.raises(BadConfig, match=r"no head for 1 of 9 classes of its source cpsc2018 \(STD\)"):
        run(model, TRANSFER, folder, out)
    several = load_benchmark("transfer_csn_ptbxl_super_corrected")
    sources = list(source_benchmark(several).classes)
    heads = heads_for(several, sources)
    assert heads == several.transfer.classes and max(map(len, heads.values())) > 1
    values = np.random.default_rng(0).random((5, len(sources)))
    by_category = any_of(values, sources, heads)
    for column, members in enumerate(several.transfer.classes.values()):
        own = [values[:, sources.index(name)] for name in members]
        np.testing.assert_array_equal(by_category[:, column], np.max(own, axis=0))


def test_runs_are_compared(store, out):  # noqa: F811
    folder = store("merl_cpsc2018")
    model = planted(out / "weights.pt", CPSC, folder, None, WINDOW)
    for name, labels in (("a", model.labels), ("b", list(np.roll(model.labels, 1)))):
        model.labels = labels
        (out / name).mkdir()
        (out / name / "model.pt").write_bytes(b"weights")
        run(model, CPSC, folder, out / name)
    compared = compare_runs([out / "b", out / "a"], 50)
    assert [(told["benchmark"], told["task"], told["metric"]) for told in compared["comparisons"]] == [
        (CPSC, "classifier", "auroc"),
        (CPSC, "classifier", "auprc"),
    ]
    auroc = compared["comparisons"][0]
    assert auroc["values"][1] == 1.0 > auroc["values"][0] and auroc["differences"][0]["interval"][0] > 0
