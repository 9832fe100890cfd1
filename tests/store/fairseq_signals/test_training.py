"""ECG-text pretraining on fairseq-signals' own files, as they are."""

import csv
import shutil

import numpy as np
import pytest
import torch

from ecgtext_plugins.checkpoints.safe_load import load_checkpoint_file
from ecgtext_plugins.cli.main import main
from ecgtext_plugins.corpora.record import signal_checksum
from ecgtext_plugins.data.ecg_text_dataset import EcgTextDataset, EcgTextOptions
from ecgtext_plugins.errors import BadManifest
from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.modules.etm_loss import etm_loss
from ecgtext_plugins.negatives.sampler import NegativeSampler
from ecgtext_plugins.negatives.table import NegativesTable
from ecgtext_plugins.store.manifest import read_manifest, refuse_shared_patients
from ecgtext_plugins.text.encoders import load_text_encoder, load_tokenizer
from tests.downloads import fairseq_signals as download
from tests.modules.test_dbeta_learns import SIZES
from tests.tasks.training import train


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree of the older text pipeline; beside its manifests a text encoder from scratch and negatives."""
    folder = tmp_path_factory.mktemp("texts")
    rows = download.write_text_tree(folder, 48, n_samples=800)
    small = ["--scratch-width", "32", "--scratch-layers", "1", "--vocab-size", "300"]
    assert main(["negatives", "build", str(folder / "manifests"), "--text-encoder", "scratch", *small]) == 0
    return folder, rows


def test_two_updates(tree):
    folder, rows = tree
    torch.manual_seed(0)
    manifest = read_manifest(folder / "manifests" / "train.tsv")
    table = NegativesTable.open(folder / "manifests" / "negatives", manifest.store)
    negatives = NegativeSampler(np.unique(manifest.store.column("report_id")[manifest.rows]), table)
    name = str(folder / "manifests" / "text_encoder")
    data = EcgTextDataset(manifest, load_tokenizer(name), EcgTextOptions(lead_mask_prob=0.0), negatives)
    assert len(data) == sum(row["split"] == "train" for row in rows) == 32
    model = DBeta(DBetaConfig(**SIZES), load_text_encoder(name)).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    before = [parameter.clone() for parameter in model.parameters()]
    for step in range(2):
        indices = list(range(8 * step, 8 * step + 8))
        batch = data.collater([data[index] for index in indices])
        feats = np.stack([rows[index]["feats"] for index in batch["id"].tolist()]).astype(np.float32)
        np.testing.assert_array_equal(batch["target"]["ecg_original"].numpy(), feats)
        assert 0 < batch["target"]["is_aligned"].sum() < 8
        out = model(batch["net_input"]["ecg"], batch["net_input"]["text"])
        loss = etm_loss(out["etm_logits"], batch["target"]["is_aligned"])
        assert torch.isfinite(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moved = [not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2


def test_records_without_text_are_refused(tmp_path):
    rows = download.write_download(tmp_path, 8)
    download.write_manifests(tmp_path, tmp_path / "manifests", rows, str(tmp_path / "segmented"))
    manifest = read_manifest(tmp_path / "manifests" / "train.tsv")
    tokenizer = None
    with pytest.raises(BadManifest, match="code_15_1000_0 has no report"):
        EcgTextDataset(manifest, tokenizer, EcgTextOptions(negative_ratio=0))


def test_windows_of_one_recording_in_two_splits_are_a_leak(tmp_path):
    """What scripts that shuffle windows leave behind; the same sample id tells."""
    rows = download.write_download(tmp_path, 8)
    windows = [row for row in rows if row["windows"] > 1]
    for place, split in enumerate(("train", "valid")):
        lines = [str(tmp_path / "segmented"), *(f"{row['name']}_{place}.mat\t2500" for row in windows)]
        (tmp_path / f"{split}.tsv").write_text("\n".join(lines))
    manifests = [read_manifest(tmp_path / f"{split}.tsv") for split in ("train", "valid")]
    assert manifests[0].store is manifests[1].store
    with pytest.raises(BadManifest, match=f"{len(windows)} patients are in both"):
        refuse_shared_patients(manifests)


@pytest.mark.slow
def test_the_stock_command_trains_on_the_folder(tree, tmp_path):
    folder, rows = tree
    done = train(folder, tmp_path / "out", "optimization.max_update=4", "dataset.validate_interval_updates=4")
    assert done.returncode == 0, done.stderr[-3000:]
    state = load_checkpoint_file(tmp_path / "out" / "checkpoint_last.pt")
    assert state["optimizer_history"][-1]["num_updates"] == 4 and state["task_state"]["sample_rate"] == 500
    with open(tmp_path / "out" / "metrics.csv", newline="") as handle:
        assert [row["split"] for row in csv.DictReader(handle)] == ["train"] * 4 + ["valid"]
    feats = (row["feats"].astype(np.float32) for row in rows if row["split"] == "train")
    trained_on = (tmp_path / "out" / "training_records.txt").read_text().split()
    assert trained_on == sorted(map(signal_checksum, feats))


@pytest.mark.slow
def test_a_damaged_file_ends_the_command_before_training(tree, tmp_path):
    folder, _ = tree
    copy = shutil.copytree(folder, tmp_path / "copy")
    for path in (copy / "manifests").glob("*.tsv"):
        path.write_text(path.read_text().replace(str(folder), str(copy)))
    damaged = copy / "mat" / "4005.mat"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    done = train(copy, tmp_path / "out", "optimization.max_update=2")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ecgtext: error: ") and "train.tsv line 7" in last and "4005.mat cannot be read" in last
