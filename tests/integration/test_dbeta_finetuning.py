"""D-BETA's fine-tuning recipes as typed on a synthetic PhysioNet 2021 download, and their models put to use."""

import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from sklearn.metrics import roc_auc_score

import ecgtext_plugins
from ecgtext_plugins.checkpoints.safe_load import load_checkpoint_file
from ecgtext_plugins.cli.main import main
from ecgtext_plugins.evaluation.results import read_scores
from ecgtext_plugins.recipes import find_recipe
from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.store.manifest import read_manifest
from tests.checkpoints.tiny import SIZES, save_trained, tiny_dbeta
from tests.downloads import physionet2021, ptbxl
from tests.tasks.ecg_fm_training import ROOT, SMALL_BATCHES, metrics_rows, program, run
from tests.text.tiny_encoders import tiny_t5

EXCLUDED = ("ptb", "st_petersburg_incart")
ENCODER = ("conv_pos", "conv_pos_groups", "encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim")
SHAPE = [f"model.{key}={SIZES[key]}" for key in (*ENCODER, "encoder_attention_heads")]
STEM = f"model.conv_feature_layers='{SIZES['conv_feature_layers']}'"
UPDATES = 12
BENCHMARKS = "manifests/benchmarks"


def build(raw, data, recipe, *more):
    command = ["manifest", "build", recipe, "--raw", str(raw), "--dest", str(data), "--workers", "1"]
    assert main([*command, "--accept-counts", *more]) == 0
    return data


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A tiny D-BETA's checkpoint, as pretraining leaves it."""
    folder = tmp_path_factory.mktemp("dbeta")
    text = tiny_t5(folder / "text")
    save_trained(folder / "checkpoint_last.pt", tiny_dbeta(text), text)
    return folder / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def dx(tmp_path_factory):
    """Store of 96 recordings of six sources, and a weights.csv that rewards a right class alone."""
    top = tmp_path_factory.mktemp("dx")
    sources = [source for source in physionet2021.SOURCES if source not in EXCLUDED]
    physionet2021.write_download(top / "raw", 16, sources=sources, longest=10)
    classes = [str(name) for name in yaml.safe_load(find_recipe("physionet2021_dx", BENCHMARKS).read_text())["classes"]]
    with open(top / "weights.csv", "w", newline="") as handle:
        rows = [[name, *np.eye(len(classes))[place]] for place, name in enumerate(classes)]
        csv.writer(handle).writerows([["", *classes], *rows])
    data = build(top / "raw", top / "data", "physionet2021_dx")
    return SimpleNamespace(data=data, weights=top / "weights.csv", classes=classes)


def fine_tune(name, manifests, start, out, *overrides):
    """Run a recipe as its comment says, in the start's sizes; it must succeed."""
    words = ["--config-dir", str(ROOT / "examples/dbeta/finetuning"), "--config-name", name, f"task.data={manifests}"]
    words += [f"model.encoder_path={start}", f"hydra.run.dir={out}", STEM, *SHAPE, *SMALL_BATCHES]
    done = run([program("fairseq-hydra-train"), *words, f"optimization.max_update={UPDATES}", *overrides])
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def fine_tune_dx(dx, start, out, *overrides, data=None):
    scored = ["criterion.report_cinc_score=true", f"criterion.weights_file={dx.weights}"]
    return fine_tune("dx", (data or dx.data) / "manifests", start, out, *scored, *overrides)


@pytest.fixture(scope="module")
def diagnosis(dx, start, tmp_path_factory):
    return fine_tune_dx(dx, start, tmp_path_factory.mktemp("diagnosis") / "run")


def weights_of(run_folder):
    return load_checkpoint_file(run_folder / "checkpoint_last.pt")["model"]


def assert_trained_from(run_folder, start):
    """D-BETA's frozen stem is as it was, every other part of its encoder is near and has moved, but the kept token."""
    own, given = weights_of(run_folder), load_checkpoint_file(start)["model"]
    same = {key: torch.equal(value, given[f"ecg_{key}"]) for key, value in own.items() if f"ecg_{key}" in given}
    assert len(same) > 40 and {key for key in own if key.startswith("encoder.")} - set(same) <= {"encoder.mask_emb"}
    frozen = {key for key in same if key.startswith("encoder.feature_extractor.")}
    assert frozen and all(same[key] for key in frozen)
    moved = [key for key in set(same) - frozen if not same[key]]
    assert len(moved) > 0.9 * len(set(same) - frozen)
    assert all(torch.allclose(own[key], given[f"ecg_{key}"], atol=2e-3) for key in same)


def valid_rows(run_folder):
    return [row for row in metrics_rows(run_folder) if row["split"] == "valid"]


def test_diagnosis(dx, start, diagnosis):
    assert_trained_from(diagnosis, start)
    for name in ("checkpoint_best.pt", "checkpoint_last.pt", "training_records.txt", "metrics.csv"):
        assert (diagnosis / name).is_file()
    (row,) = valid_rows(diagnosis)
    assert int(row["num_updates"]) == UPDATES and all(0 <= float(row[key]) <= 1 for key in ("macro_auroc", "auprc"))
    losses = [float(row["loss"]) for row in metrics_rows(diagnosis) if row["split"] == "train"]
    assert len(losses) == UPDATES and np.mean(losses[-3:]) < np.mean(losses[:3])
    config = load_checkpoint_file(diagnosis / "checkpoint_last.pt")["cfg"]
    assert config["optimization"]["lr"] == [5e-5] and config["optimization"]["max_epoch"] == 100


def predicted(checkpoint, manifest, out):
    assert main(["predict", str(checkpoint), str(manifest.path), "--windows", "--out", str(out)]) == 0
    with open(out, newline="") as handle:
        found = {(row["record_id"], int(row["start"])): row for row in csv.DictReader(handle)}
    keys = [(manifest.record_id(place), int(manifest.starts[place])) for place in range(len(manifest))]
    return [found[key] for key in keys]


def test_predictions_are_those_of_validation(dx, diagnosis, tmp_path):
    """What predict says of the validation windows gives the figures that training logged."""
    manifest = read_manifest(dx.data / "manifests" / "valid.tsv")
    rows = predicted(diagnosis / "checkpoint_last.pt", manifest, tmp_path / "p.csv")
    assert list(rows[0])[-26:] == dx.classes
    scores = np.array([[float(row[name]) for name in dx.classes] for row in rows])
    labels = manifest.store.label_matrix(manifest.rows, dx.classes)
    (logged,) = valid_rows(diagnosis)
    defined = labels.any(axis=0) & ~labels.all(axis=0)
    assert defined.sum() >= 3
    macro = roc_auc_score(labels[:, defined], scores[:, defined], average="macro")
    assert macro == pytest.approx(float(logged["macro_auroc"]), abs=1e-5)
    normal = np.arange(len(dx.classes)) == dx.classes.index("NSR")
    reached, highest, nothing = (shared_classes(labels, each) for each in (scores > 0.5, labels, normal[None]))
    assert (reached - nothing) / (highest - nothing) == pytest.approx(float(logged["cinc_score"]), abs=1e-5)


def shared_classes(labels, decisions):
    """Sum over records of the share of right classes: what the Challenge's metric is made of with identity weights."""
    return ((labels & decisions).sum(axis=1) / np.maximum((labels | decisions).sum(axis=1), 1)).sum()


def evaluated(checkpoint, names, data, out, *more):
    words = ["eval", "run", str(checkpoint), "--benchmarks", names, "--data", str(data), "--out", str(out)]
    assert main([*words, "--resamples", "20", "--seeds", "1", "--baselines", "none", "--ratios", "100", *more]) == 0
    return json.loads((out / "results.json").read_text())["benchmarks"]


def test_heads_on_the_benchmark_give_what_training_logged(dx, diagnosis, tmp_path):
    """The validation split as a benchmark: areas, F1 and the Challenge's metric at 0.5 are those of metrics.csv."""
    recipe = yaml.safe_load(find_recipe("physionet2021_dx", BENCHMARKS).read_text())
    (tmp_path / "dx_valid.yaml").write_text(yaml.safe_dump(recipe | {"name": "dx_valid", "split": "valid"}))
    more = ["--tasks", "classifier", "--leads", "12", "--weights-file", str(dx.weights)]
    checkpoint = diagnosis / "checkpoint_last.pt"
    names = f"physionet2021_dx,{tmp_path / 'dx_valid.yaml'}"
    told = evaluated(checkpoint, names, dx.data, tmp_path / "eval", *more)
    own, (logged,) = told["dx_valid"]["tasks"]["classifier"], valid_rows(diagnosis)
    for ours, theirs in (("auroc", "macro_auroc"), ("auprc", "macro_auprc")):
        assert own["figures"][ours]["macro"] == pytest.approx(float(logged[theirs]), abs=1e-5)
    assert own["at_0.5"]["challenge_metric"]["value"] == pytest.approx(float(logged["cinc_score"]), abs=1e-5)
    assert "f1" not in own["figures"]  # no thresholds from the records that are scored
    tested = told["physionet2021_dx"]["tasks"]["classifier"]
    assert tested["figures"]["challenge_metric"]["interval"] and tested["figures"]["f1"]["macro"] is not None
    manifest = read_manifest(dx.data / "manifests" / "test.tsv")
    rows = predicted(checkpoint, manifest, tmp_path / "p.csv")
    scores = read_scores(tmp_path / "eval" / tested["scores"])
    expected = [[float(row[name]) for name in scores.label_names] for row in rows]
    np.testing.assert_allclose(scores.scores, expected, atol=2e-6)


@pytest.mark.slow
def test_eval_run_on_a_fine_tuned_classifier(dx, diagnosis, tmp_path):
    """It has no texts, so zero-shot is left out and told; its embeddings are probed, by lead subset too."""
    told = evaluated(diagnosis / "checkpoint_best.pt", "physionet2021_dx", dx.data, tmp_path, "--leads", "12,3")
    assert list(told) == ["physionet2021_dx", "physionet2021_dx_3_leads"]
    for entry in told.values():
        assert list(entry["tasks"]) == ["classifier", "probe"]
        assert "ecg_transformer_classifier without text encoder" in entry["skipped"]["zero_shot"]
        assert entry["leaked"] == [] and not any("not known" in note for note in entry["notes"])
        assert 0 <= entry["tasks"]["probe"]["rows"]["model"]["100"]["mean"] <= 1
    published = [entry["published"]["D-BETA"]["fine_tuning"] for entry in told.values()]
    assert published[0]["12"] == 85.7 and published[1] == {"3": 84.2}


SUBSETS = {
    "task.leads_preset=6": LEADS[:6],
    "task.leads_preset=3": ("I", "II", "V2"),
    "task.leads_preset=2": ("I", "II"),
    "task.leads_preset=1": ("I",),
    "task.leads_to_load=[I,II,V3,V5]": ("I", "II", "V3", "V5"),
}


def without_leads(data, target, kept):
    """Copy a store and write zeros into all leads but those `kept`, whatever its tables say of the signals."""
    shutil.copytree(data, target)
    for path in target.glob("signals/*.npy"):
        path.chmod(0o644)
    for manifest in map(read_manifest, sorted(target.glob("manifests/*.tsv"))):
        store, other = manifest.store, [place for place, lead in enumerate(LEADS) if lead not in kept]
        for row in np.unique(manifest.rows):
            n, offset, shard = (int(store.column(name)[row]) for name in ("n_samples", "offset", "shard"))
            counts = np.load(target / "signals" / f"shard-{shard:05d}.npy", mmap_mode="r+")
            counts[offset : offset + 12 * n].reshape(12, n)[other] = 0
            counts.flush()
    return target


@pytest.mark.slow
@pytest.mark.parametrize("subset", SUBSETS)
def test_a_lead_subset_is_all_that_is_trained_on(dx, start, diagnosis, tmp_path, subset):
    """Zeroing the other leads in the store changes no weight; with all leads, it does."""
    zeroed = without_leads(dx.data, tmp_path / "data", SUBSETS[subset])
    options = [subset, "task.enable_padding_leads=true"]
    runs = [fine_tune_dx(dx, start, tmp_path / data.name, *options, data=data) for data in (dx.data, zeroed)]
    own, other = map(weights_of, runs)
    assert own.keys() == other.keys() and all(torch.equal(own[key], other[key]) for key in own)
    assert valid_rows(runs[0]) == valid_rows(runs[1])
    assert_trained_from(runs[0], start)
    every = weights_of(diagnosis)
    assert [key for key in own if not torch.equal(own[key], every[key])]
    if subset == "task.leads_preset=1":
        whole = weights_of(fine_tune_dx(dx, start, tmp_path / "all", data=zeroed))
        assert [key for key in every if not torch.equal(whole[key], every[key])]


@pytest.fixture(scope="module")
def identities(tmp_path_factory):
    """Store of two recordings of each of 120 patients of PTB-XL."""
    top = tmp_path_factory.mktemp("id")
    physionet2021.write_download(top / "raw", 241, sources=("ptb-xl",), longest=5, of_a_heart=2)
    (top / "tables").mkdir()
    rows = [{"ecg_id": str(number), "patient_id": f"{number // 2}.0"} for number in range(1, 242)]
    ptbxl.write_database(top / "tables", rows)
    return build(top / "raw", top / "data", "physionet2021_id", "--tables", str(top / "tables"))


@pytest.mark.slow
@pytest.mark.parametrize("subset", [None, "2"])
def test_identification(identities, start, tmp_path, capsys, subset):
    """The benchmark finds in the validation split what training logged of it, and finds patients of the test split."""
    leads = [] if subset is None else [f"task.leads_preset={subset}", "task.enable_padding_leads=true"]
    out = fine_tune("id", identities / "manifests" / "identification", start, tmp_path / "run", *leads)
    assert_trained_from(out, start)
    (row,) = valid_rows(out)
    recipe = yaml.safe_load(find_recipe("physionet2021_id", BENCHMARKS).read_text())
    (tmp_path / "id_valid.yaml").write_text(yaml.safe_dump(recipe | {"name": "id_valid", "split": "valid"}))
    names = f"physionet2021_id,{tmp_path / 'id_valid.yaml'}"
    seen = ["--leads", subset or "12"]
    told = evaluated(out / "checkpoint_last.pt", names, identities, tmp_path / "eval", *seen)
    ending = "" if subset is None else f"_{subset}_leads"
    test, valid = (told[name + ending]["tasks"]["identification"] for name in ("physionet2021_id", "id_valid"))
    assert valid["accuracy"] == pytest.approx(float(row["accuracy"]), abs=1e-5)
    assert all(each["n_probe"] == each["n_gallery"] >= 5 for each in (test, valid))
    assert sum(each["accuracy"] * each["n_probe"] for each in (test, valid)) >= 6  # by chance: 2
    model = ecgtext_plugins.load(out / "checkpoint_last.pt")
    assert model.family == "arcface" and model.labels is None
    manifest = identities / "manifests" / "test.tsv"
    assert main(["predict", str(out / "checkpoint_last.pt"), str(manifest), "--out", str(tmp_path / "p.csv")]) == 1
    assert "arcface, which has no labels to predict" in capsys.readouterr().err
