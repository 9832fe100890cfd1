"""The tasks on ECGs alone: datasets by the criterion's name, labels, refusals, figures of whole validations."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq import metrics
from fairseq.tasks import FairseqTask
from omegaconf import OmegaConf
from sklearn.metrics import roc_auc_score

from ecgtext_plugins.criterions._epoch_scores import EpochScores
from ecgtext_plugins.errors import BadConfig, BadManifest
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.manifest import read_manifest
from ecgtext_plugins.store.recipe import resolve_recipe
from ecgtext_plugins.tasks._ecg_config import EcgClassificationConfig, EcgConfig, EcgIdentificationConfig
from ecgtext_plugins.tasks._gallery import top1_accuracy
from ecgtext_plugins.tasks.ecg_classification import EcgClassificationTask
from ecgtext_plugins.tasks.ecg_identification import EcgIdentificationTask
from ecgtext_plugins.tasks.ecg_pretraining import EcgPretrainingTask
from tests import builders
from tests.downloads import fairseq_signals as download

TASKS = {
    "pretraining": (EcgPretrainingTask, EcgConfig),
    "classification": (EcgClassificationTask, EcgClassificationConfig),
    "identification": (EcgIdentificationTask, EcgIdentificationConfig),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    top = tmp_path_factory.mktemp("data")
    builders.write_mimic_tree(top / "raw", 36, n_patients=12, n_samples=1000, seed=2)
    recipe = builders.demo_recipe(identification=True)
    return build_store(resolve_recipe(recipe, "test"), top / "raw", top / "data").store.folder


@pytest.fixture
def make(folder, tmp_path):
    def task(name, criterion="wav2vec2_with_cmsc", data=None, **keys):
        cls, config = TASKS[name]
        places = {"seed": 1, "save_dir": str(tmp_path), "log_interval": 1, "restore_file": "checkpoint_last.pt"}
        keys = places | {"max_update": 0, "criterion_name": criterion, "data": str(data or folder / "manifests")} | keys
        cfg = OmegaConf.merge(OmegaConf.structured(config), keys)
        return cls.setup_task(cfg)

    return task


def batch(task, split, count=4):
    data = task.datasets[split]
    return data.collater([data[index] for index in range(min(count, len(data)))])


def test_dataset_by_the_criterions_name(make, folder):
    pairs = make("pretraining", segment_samples=400)
    pairs.load_dataset("train")
    pairs.load_dataset("valid")
    shown = batch(pairs, "train")
    assert shown["net_input"]["ecg"].shape == (8, 12, 400) and shown["target"]["segment"].tolist() == [0, 1] * 4
    for name in ("simclr", "3kg_like"):
        views = make("pretraining", name)
        views.load_dataset("train")
        assert batch(views, "train")["id"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    plain = make("pretraining", "wav2vec2", max_sample_size=800)
    plain.load_dataset("train")
    shown = batch(plain, "train")
    assert shown["net_input"]["ecg"].shape == (4, 12, 800) and "segment" not in shown["target"]
    state = plain.state_dict()
    assert state["sample_rate"] == 500 and state["n_samples"] == 800 and state["standardize"] is True
    manifest = read_manifest(folder / "manifests" / "train.tsv")
    text = Path(plain.cfg.save_dir, "training_records.txt").read_text()
    assert text.split() == sorted(manifest.store.column("checksum")[manifest.rows])


def test_perturbations_in_training_only_and_in_classification_too(make):
    for name, criterion in (("pretraining", "wav2vec2"), ("classification", "bce")):
        task = make(name, criterion, perturbation_mode=["random_leads_masking"], p=[1.0])
        for split in ("train", "valid"):
            task.load_dataset(split)
            hidden = (batch(task, split)["net_input"]["ecg"] == 0).all(dim=2)
            assert hidden.any() == (split == "train")


def test_classification_labels(make, folder):
    task = make("classification", "bce")
    assert task.target_labels == list(builders.LABELS)
    task.load_dataset("train")
    manifest = read_manifest(folder / "manifests" / "train.tsv")
    expected = manifest.store.label_matrix(manifest.rows[:4], builders.LABELS)
    assert np.array_equal(batch(task, "train")["target"]["label"].numpy(), expected)
    assert task.state_dict()["target_labels"] == list(builders.LABELS)
    with pytest.raises(BadConfig, match="model.num_labels=17, but the data has 4 labels .sinus_rhythm, "):
        task.build_model(SimpleNamespace(num_labels=17))


def test_fairseq_signals_tree_with_a_label_file(make, tmp_path):
    rows = download.write_download(tmp_path, 12, seed=1)
    download.write_manifests(tmp_path, tmp_path / "manifests", rows, f"\t{tmp_path / 'segmented'}/")
    (tmp_path / "labels").rename(tmp_path / "given")
    keys = {"label_file": str(tmp_path / "given" / "y.npy"), "sample_rate": 500, "leads_to_load": "['I','II','V2']"}
    task = make("classification", "bce", tmp_path / "manifests", enable_padding_leads=True, **keys)
    assert task.target_labels == download.LABELS
    task.load_dataset("train")
    task.load_dataset("valid")
    ecg = batch(task, "train")["net_input"]["ecg"]
    assert ecg.shape[1:] == (12, 2500) and (ecg != 0).any(dim=2)[0].nonzero().flatten().tolist() == [0, 1, 7]
    pairs = make("pretraining", "cmsc", tmp_path / "manifests" / "cmsc")
    pairs.load_dataset("train")
    assert batch(pairs, "train")["net_input"]["ecg"].shape[1:] == (12, 2500)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"filter": True}, "task.filter=True: expected false; filter when the store is built"),
        ({"num_batch_buckets": 4}, "task.num_batch_buckets=4: expected 0"),
        ({"mean_path": "x"}, "for task.normalize=true"),
        ({"normalize": True, "mean_path": "/nowhere", "std_path": "/nowhere"}, "task.mean_path=/nowhere cannot"),
        ({"sample_rate": 250}, "task.sample_rate=250, but .*train.tsv lists ECGs of 500 Hz"),
        ({"leads_to_load": ["X1"]}, "task.leads_to_load holds 'X1'"),
        ({"perturbation_mode": ["blur"]}, "perturbation_mode holds blur"),
        ({"mask_leads_condition": "(4,)"}, "mask_leads_condition"),
        ({"nonfinite": "go"}, "task.nonfinite=go"),
        ({"segment_samples": 0}, "task.segment_samples=0"),
    ],
)
def test_refusals(make, keys, said):
    with pytest.raises(BadConfig, match=said):
        make("pretraining", "wav2vec2", **keys).load_dataset("train")


def test_published_spellings_are_read(make):
    task = make("pretraining", "wav2vec2", mask_leads_condition="(3, 2)", inferred_3kg_config={"angle": 30})
    assert task.leads.channels == 12
    with pytest.raises(BadConfig, match="model.in_d=8, but the task's leads make 12 channels"):
        task.build_model(SimpleNamespace(in_d=8))


class Criterion:
    """A criterion by its interface: the model's scores against the labels."""

    def __init__(self):
        self.epoch_scores, self.gathered = EpochScores(), 0

    def __call__(self, model, sample):
        scores = model(sample["net_input"]["ecg"])
        self.epoch_scores.add(sample["id"], scores=scores, labels=sample["target"]["label"])
        return scores.sum() * 0, 1, {"loss": 1.0, "ntokens": 1, "nsentences": len(scores), "sample_size": 1}

    def epoch_figures(self):
        self.gathered += 1
        found = self.epoch_scores.gather()
        self.seen = len(found["scores"])
        return {"macro_auroc": float(roc_auc_score(found["labels"], found["scores"], average="macro"))}

    @staticmethod
    def reduce_metrics(logs):
        metrics.log_scalar("loss", sum(log["loss"] for log in logs) / len(logs), len(logs))


class Scores(torch.nn.Module):
    def forward(self, ecg):
        return ecg[:, :4, :300].abs().mean(dim=2)

    def encode_ecg(self, ecg, padding=None):
        return ecg[:, :, ::50].flatten(1)


def in_training(task, criterion, model, subsets):
    """What fairseq_cli.train.validate and Trainer.valid_step do around the task."""
    task.begin_valid_epoch(1, model)
    stats = []
    for subset in subsets:
        task.get_batch_iterator(task.datasets[subset], max_sentences=5)
        with metrics.aggregate(new_root=True) as whole:
            for start in range(0, len(task.datasets[subset]), 5):
                data = task.datasets[subset]
                sample = data.collater([data[i] for i in range(start, min(start + 5, len(data)))])
                log = task.valid_step(sample, model, criterion)[2]
                with metrics.aggregate() as inner:
                    task.reduce_metrics([log], criterion)
                    inner.get_smoothed_values()
        stats.append(whole.get_smoothed_values())
    return stats


def by_command(task, criterion, model, subset):
    """What fairseq_cli.validate does."""
    data = task.datasets[subset]
    task.get_batch_iterator(data, max_sentences=5)
    logs = []
    for start in range(0, len(data), 5):
        sample = data.collater([data[i] for i in range(start, min(start + 5, len(data)))])
        logs.append(task.valid_step(sample, model, criterion)[2])
    with metrics.aggregate() as whole:
        task.reduce_metrics(logs, criterion)
        return whole.get_smoothed_values()


def test_figures_of_a_whole_validation(make, tmp_path):
    task, criterion, model = make("classification", "bce"), Criterion(), Scores()
    for split in ("train", "valid", "test"):
        task.load_dataset(split)
    expected, sizes = {}, {}
    for split in ("train", "valid", "test"):
        whole = batch(task, split, 10**6)
        expected[split] = roc_auc_score(whole["target"]["label"], model(whole["net_input"]["ecg"]), average="macro")
        sizes[split] = len(whole["id"])
    task.datasets["train"].training = False
    subsets = [split for split in ("train", "valid", "test") if np.isfinite(expected[split])]
    task._position["num_updates"] = 3
    stats = in_training(task, criterion, model, subsets)
    assert [one["macro_auroc"] for one in stats] == pytest.approx([expected[one] for one in subsets], abs=1e-4)
    assert criterion.gathered == len(subsets) and criterion.seen == sizes[subsets[-1]]
    again = in_training(task, criterion, model, subsets[:1])
    assert again[0]["macro_auroc"] == stats[0]["macro_auroc"] and criterion.seen == sizes[subsets[0]]
    task.get_checkpoint_dict()
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [*subsets, subsets[0]]
    column = rows[0].split(",").index("macro_auroc")
    assert float(rows[1].split(",")[column]) == pytest.approx(expected[subsets[0]], abs=1e-4)
    assert by_command(task, criterion, model, subsets[0])["macro_auroc"] == pytest.approx(
        expected[subsets[0]], abs=1e-4
    )


def test_a_command_that_validates_leaves_the_runs_metrics_alone(make, tmp_path):
    task, criterion, model = make("classification", "bce"), Criterion(), Scores()
    task.load_dataset("train")
    task.datasets["train"].training = False
    (tmp_path / "metrics.csv").write_text("split,epoch\n")
    by_command(task, criterion, model, "train")
    by_command(task, criterion, model, "train")
    assert (tmp_path / "metrics.csv").read_text() == "split,epoch\n"


def test_identification(make, folder):
    data = folder / "manifests" / "identification"
    task = make("identification", "arcface", data, standardize=False)
    task.load_dataset("train")
    shown = batch(task, "train")
    manifest = read_manifest(data / "train.tsv")
    assert shown["target"]["identity"].tolist() == manifest.identities[:4].tolist()
    assert len(task.target_labels) == manifest.identities.max() + 1
    split = next(name for name in ("valid", "test") if (data / f"{name}_gallery.tsv").is_file())
    task.load_dataset(split)
    stats = in_training(task, None, Scores(), [split])[0]
    parts = [read_manifest(data / f"{split}_{part}.tsv") for part in ("gallery", "probe")]
    vectors = [
        np.stack([np.nan_to_num(part.signal_mv(i))[:, ::50].ravel() for i in range(len(part))]).astype(float)
        for part in parts
    ]
    right = []
    for probe, person in zip(vectors[1], parts[1].identities, strict=True):
        cosines = [probe @ other / np.linalg.norm(probe) / np.linalg.norm(other) for other in vectors[0]]
        right.append(parts[0].identities[int(np.argmax(cosines))] == person)
    assert stats["accuracy"] == pytest.approx(np.mean(right), abs=1e-4) and stats["loss"] == 0
    assert by_command(task, None, Scores(), split)["accuracy"] == pytest.approx(np.mean(right), abs=1e-4)
    with pytest.raises(BadConfig, match="model.num_labels=1, but train.tsv has identities up to"):
        task.build_model(SimpleNamespace(num_labels=1))
    with pytest.raises(BadManifest, match="has no identities"):
        make("identification", "arcface")


def test_identification_of_fairseq_signals(make, tmp_path):
    rows = download.write_old_physionet(tmp_path / "mat", 4)
    for name, window in (("valid_gallery", 0), ("valid_probe", 1), ("train", 0)):
        chosen = rows[window::2] if name != "train" else rows
        lines = [
            f"{row['name']}.mat\t2500\t{row['patient_id']}"
            for row in chosen
            if (name == "train") == (row["patient_id"] > 1)
        ]
        (tmp_path / f"{name}.tsv").write_text("\n".join([str(tmp_path / "mat"), *lines]) + "\n")
    task = make("identification", "arcface", tmp_path)
    task.load_dataset("train")
    task.load_dataset("valid")
    shown = batch(task, "valid")
    assert shown["target"]["identity"].tolist() == [0, 1, 0, 1]
    assert shown["target"]["is_probe"].tolist() == [False, False, True, True]
    lines = (tmp_path / "valid_probe.tsv").read_text().splitlines()
    (tmp_path / "valid_probe.tsv").write_text("\n".join([*lines[:-1], lines[-1][:-1] + "9"]) + "\n")
    with pytest.raises(BadManifest, match="valid_probe.tsv has the identity 9, which .*valid_gallery.tsv lacks"):
        make("identification", "arcface", tmp_path).load_dataset("valid")


def test_top1_accuracy_by_hand():
    gallery = np.array([[1.0, 0], [0, 2.0], [0, 0]])
    probe = np.array([[5.0, 1.0], [0.1, 0.2], [3.0, 0.0]])
    assert top1_accuracy(gallery, np.array([7, 8, 9]), probe, np.array([7, 8, 8])) == pytest.approx(2 / 3)


def test_a_model_of_a_checkpoint_does_not_read_what_it_began_with(make, monkeypatch):
    task, built = make("pretraining", "wav2vec2"), []
    monkeypatch.setattr(FairseqTask, "build_model", lambda self, cfg, from_checkpoint=False: built.append(cfg))
    cfg = OmegaConf.create({"in_d": 12, "model_path": "/gone.pt", "encoder_path": None})
    task.build_model(cfg, from_checkpoint=True)
    task.build_model(cfg)
    assert [one.model_path for one in built] == [None, "/gone.pt"]
    again = type(task).setup_task(task.cfg, from_checkpoint=True)  # as fairseq-validate calls it
    assert again.leads == task.leads
