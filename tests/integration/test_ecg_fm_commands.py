"""The commands of ECG-FM's README as a user types them, on trees as fairseq-signals leaves them, and what follows.

Left out of them is common.log_format=csv, which stock fairseq does not have: metrics.csv is always written. Sizes are
cut by overrides before --config-dir.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy.io import loadmat

import ecgtext_plugins
from ecgtext_plugins.checkpoints.safe_load import load_checkpoint_file
from ecgtext_plugins.cli.main import main
from tests.downloads import fairseq_signals as download
from tests.tasks.ecg_fm_training import OF_PRETRAINING, ROOT, TINY, last_line, metrics_rows
from tests.tasks.training import training_command

PRETRAIN = """fairseq-hydra-train \\
    task.data=$MANIFEST_DIR \\
    dataset.valid_subset=valid \\
    dataset.batch_size=64 \\
    dataset.num_workers=10 \\
    dataset.disable_validation=false \\
    distributed_training.distributed_world_size=4 \\
    optimization.update_freq=[2] \\
    checkpoint.save_dir=$OUTPUT_DIR \\
    checkpoint.save_interval=10 \\
    checkpoint.keep_last_epochs=0 \\
    --config-dir examples/ecg_fm/pretraining \\
    --config-name w2v_cmsc_rlm
"""
FINETUNE = """NUM_LABELS=$(($(wc -l < "$LABEL_DIR/label_def.csv") - 1))
POS_WEIGHT=$(cat $LABEL_DIR/pos_weight.txt)
fairseq-hydra-train \\
    task.data=$MANIFEST_DIR \\
    model.model_path=$PRETRAINED_MODEL \\
    model.num_labels=$NUM_LABELS \\
    optimization.lr=[1e-06] \\
    optimization.max_epoch=140 \\
    dataset.batch_size=256 \\
    dataset.num_workers=5 \\
    dataset.disable_validation=true \\
    distributed_training.distributed_world_size=1 \\
    distributed_training.find_unused_parameters=True \\
    checkpoint.save_dir=$OUTPUT_DIR \\
    checkpoint.save_interval=1 \\
    checkpoint.keep_last_epochs=0 \\
    +task.label_file=$LABEL_DIR/y.npy \\
    +criterion.pos_weight=$POS_WEIGHT \\
    --config-dir examples/ecg_fm/finetuning \\
    --config-name diagnosis
"""
POS_WEIGHTS = [1.5, 2.0, 0.5, 1.0]


def bash(text, overrides, cwd, **variables):
    """Run a command of the README with overrides in front of --config-dir; the folder `examples` is beside `cwd`."""
    if not (cwd / "examples").exists():
        (cwd / "examples").symlink_to(ROOT / "examples")
    text = text.replace("    --config-dir", f"    {' '.join(map(shlex.quote, overrides))} \\\n    --config-dir")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {name: str(value) for name, value in variables.items()}
    options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, "cwd": cwd}
    return subprocess.run(["bash", "-c", text], env=os.environ | {"PATH": path} | given, **options)


def finetune(tree, pretrained, out, *overrides, labels=None, manifests=None):
    places = {"MANIFEST_DIR": manifests or tree / "manifests", "LABEL_DIR": labels or tree / "labels"}
    return bash(FINETUNE, [*TINY, *overrides], out.parent, **places, PRETRAINED_MODEL=pretrained, OUTPUT_DIR=out)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Segments, manifests, CMSC manifests and labels of 24 recordings."""
    top = tmp_path_factory.mktemp("tree")
    rows = download.write_download(top, 24, seed=1, n_samples=4096)
    download.write_manifests(top, top / "manifests", rows, f"\t{top / 'segmented'}/")
    (top / "labels" / "pos_weight.txt").write_text("[1.5,2.0,0.5,1.0]\n")
    return top


@pytest.fixture(scope="module")
def pretrained(tree, tmp_path_factory):
    """What the pretraining command leaves; of it, world size 4 is 1 where there are no four GPUs."""
    text, top = PRETRAIN, tmp_path_factory.mktemp("pretraining")
    if torch.cuda.device_count() < 4:
        text = text.replace("distributed_world_size=4", "distributed_world_size=1")
    options = [*TINY, *OF_PRETRAINING, "optimization.max_epoch=10"]
    done = bash(text, options, top, MANIFEST_DIR=tree / "manifests" / "cmsc", OUTPUT_DIR=top / "out")
    assert done.returncode == 0, done.stderr[-3000:]
    return top / "out"


@pytest.fixture(scope="module")
def diagnosis(tree, pretrained, tmp_path_factory):
    out = tmp_path_factory.mktemp("diagnosis") / "out"
    done = finetune(tree, pretrained / "checkpoint_last.pt", out, "optimization.max_epoch=2")
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def test_pretraining(pretrained):
    assert (pretrained / "checkpoint10.pt").exists() and (pretrained / "checkpoint_best.pt").exists()
    assert not (pretrained / "checkpoint9.pt").exists()
    rows = metrics_rows(pretrained)
    assert [row["split"] for row in rows] == ["train", "valid"] * 10
    assert [row["nsignals"] for row in rows[:2]] == ["24", "12"]  # twelve pairs and six, each of two windows
    config = load_checkpoint_file(pretrained / "checkpoint_last.pt")["cfg"]
    assert config["optimization"]["update_freq"] == [2] and config["dataset"]["batch_size"] == 64
    assert config["task"]["perturbation_mode"] == ["random_leads_masking"]


def test_finetuning(diagnosis, pretrained):
    assert sorted(path.name for path in diagnosis.glob("*.pt")) == [
        *("checkpoint1.pt", "checkpoint2.pt"),
        "checkpoint_last.pt",
    ]
    state = load_checkpoint_file(diagnosis / "checkpoint_last.pt")
    assert state["task_state"]["target_labels"] == download.LABELS
    assert state["cfg"]["criterion"]["pos_weight"] == POS_WEIGHTS and state["cfg"]["model"]["num_labels"] == 4
    start = load_checkpoint_file(pretrained / "checkpoint_last.pt")["model"]
    for key, value in start.items():  # two updates of 1e-6 from where pretraining ended
        own = state["model"].get(f"encoder.{key}")
        assert own is None or torch.allclose(own, value, atol=1e-5), key
    stem = "feature_extractor.conv_layers.0.0.weight"
    assert torch.equal(state["model"][f"encoder.{stem}"], start[stem])


def weights_of(path):
    return ecgtext_plugins.load(path).state_dict()


def test_conversion_there_and_back(pretrained, diagnosis, tmp_path):
    for name, run in (("pretrained", pretrained), ("finetuned", diagnosis)):
        source = run / "checkpoint_last.pt"
        assert main(["convert", str(source), "--to", "ecgtext", "--out", str(tmp_path / name)]) == 0
        signals, again = tmp_path / f"{name}.pt", tmp_path / f"{name}_again"
        assert main(["convert", str(tmp_path / name), "--to", "fairseq-signals", "--out", str(signals)]) == 0
        assert main(["convert", str(signals), "--to", "ecgtext", "--out", str(again)]) == 0
        own = weights_of(source)
        for form in (tmp_path / name, signals, again):
            found = weights_of(form)
            assert found.keys() == own.keys() and all(torch.equal(found[key], own[key]) for key in own), form


def test_predict_and_embed(tree, diagnosis, tmp_path):
    checkpoint, manifest = diagnosis / "checkpoint_last.pt", tree / "manifests" / "test.tsv"
    predicted, embedded = tmp_path / "p.parquet", tmp_path / "e.parquet"
    assert main(["predict", str(checkpoint), str(manifest), "--out", str(predicted)]) == 0
    assert main(["embed", str(checkpoint), str(manifest), "--windows", "--out", str(embedded)]) == 0
    model = ecgtext_plugins.load(checkpoint)
    assert model.labels == download.LABELS and (model.sample_rate, model.n_samples) == (500.0, 2500)
    table = pq.read_table(predicted)
    assert table.column_names[-4:] == download.LABELS and len(table) > 0
    assert all(0 <= value <= 1 for value in table["AF"].to_pylist())
    found = pq.read_table(embedded)
    names = [
        f"{name}_{start // 2500}.mat"
        for name, start in zip(found["record_id"].to_pylist(), found["start"].to_pylist(), strict=True)
    ]
    ecg = np.stack([loadmat(tree / "segmented" / name)["feats"] for name in names]).astype(np.float32)
    with torch.no_grad():
        expected = model.encode_ecg(torch.from_numpy(ecg)).numpy()
    np.testing.assert_allclose(np.stack(found["vector"].to_pylist()), expected, atol=2e-5)


@pytest.mark.slow
def test_torchrun(tree, tmp_path):
    """Two processes through gloo, started by torchrun with the launcher's settings."""
    text = PRETRAIN.replace("fairseq-hydra-train", "torchrun --nproc_per_node 2 $(which fairseq-hydra-train)", 1)
    text = text.replace("distributed_world_size=4", "distributed_world_size=2")
    options = [*TINY, *OF_PRETRAINING, "optimization.max_epoch=10", "dbeta/pretraining/run_config=torchrun"]
    out = tmp_path / "out"
    done = bash(text, options, tmp_path, MANIFEST_DIR=tree / "manifests" / "cmsc", OUTPUT_DIR=out)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (out / "checkpoint10.pt").exists()
    assert [row["nsignals"] for row in metrics_rows(out)[:2]] == ["24", "12"]


@pytest.fixture(scope="module")
def dbeta(demo_data, tmp_path_factory):
    """A D-BETA run on the demo store."""
    out = tmp_path_factory.mktemp("dbeta")
    done = subprocess.run(dbeta_command(demo_data, out), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return out / "checkpoint_last.pt"


def dbeta_command(data, out, *overrides):
    sizes = [override for override in TINY if "encoder_attention_heads" not in override]
    heads = ["model.encoder_attention_heads=4", "model.hidden_dim=48", "model.num_heads=4"]
    short = ["optimization.max_update=2", "checkpoint.save_interval_updates=2", "dataset.disable_validation=true"]
    return training_command(data, out, *sizes, *heads, *short, *overrides)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["ecgtext", "fairseq-signals"])
def test_diagnosis_from_each_form(tree, pretrained, diagnosis, tmp_path, form):
    """The run is that from the checkpoint itself, figure by figure."""
    start = tmp_path / ("start" if form == "ecgtext" else "start.pt")
    assert main(["convert", str(pretrained / "checkpoint_last.pt"), "--to", form, "--out", str(start)]) == 0
    done = finetune(tree, start, tmp_path / "out", "optimization.max_epoch=2")
    assert done.returncode == 0, done.stderr[-3000:]
    assert metrics_rows(tmp_path / "out") == metrics_rows(diagnosis)


@pytest.mark.slow
def test_diagnosis_from_dbeta(tree, dbeta, tmp_path):
    options = ["optimization.max_epoch=1", f"model.encoder_path={dbeta}", "optimization.lr=[0.0]"]
    text = FINETUNE.replace("    model.model_path=$PRETRAINED_MODEL \\\n", "")
    places = {"MANIFEST_DIR": tree / "manifests", "LABEL_DIR": tree / "labels", "OUTPUT_DIR": tmp_path / "out"}
    done = bash(text.replace("    optimization.lr=[1e-06] \\\n", ""), [*TINY, *options], tmp_path, **places)
    assert done.returncode == 0, done.stderr[-3000:]
    start, own = (load_checkpoint_file(path)["model"] for path in (dbeta, tmp_path / "out" / "checkpoint_last.pt"))
    same = [key for key in own if key.startswith("encoder.")]
    assert len(same) > 30 and all(torch.equal(own[key], start[f"ecg_{key}"]) for key in same)


@pytest.mark.slow
def test_dbeta_from_ecg_fm(demo_data, pretrained, tmp_path):
    start = pretrained / "checkpoint_last.pt"
    words = dbeta_command(demo_data, tmp_path / "out", f"model.encoder_path={start}", "optimization.lr=[0.0]")
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    own, given = (load_checkpoint_file(path)["model"] for path in (tmp_path / "out" / "checkpoint_last.pt", start))
    same = [key for key in own if key.startswith("ecg_encoder.") and "mask_emb" not in key]
    assert len(same) > 30
    assert all(torch.equal(own[key], given[key.removeprefix("ecg_encoder.")]) for key in same)
    assert ecgtext_plugins.load(tmp_path / "out" / "checkpoint_last.pt").encode_ecg(torch.zeros(1, 12, 800)).shape


def _shorter_labels(folder):
    np.save(folder / "y.npy", np.load(folder / "y.npy")[:5])


def _one_name_less(folder):
    lines = (folder / "label_def.csv").read_text().splitlines()
    (folder / "label_def.csv").write_text("\n".join(lines[:-1]) + "\n")


def _no_names(folder):
    (folder / "label_def.csv").unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "overrides", "said"),
    [
        (None, ["model.num_labels=17"], ["model.num_labels=17", "the data has 4 labels", "expected as many"]),
        (_shorter_labels, [], ["record code_15_", "sample id", "from 0 to 4, a row of", "y.npy"]),
        (_one_name_less, [], ["label_def.csv names 3 labels", "4 columns", "expected as many"]),
        (_no_names, [], ["model.num_labels=-1", "the data has 4 labels (label_0, label_1, "]),
        (None, ["task.leads_to_load=[I,X9]"], ["task.leads_to_load holds 'X9'", "expected lead names"]),
        (None, ["task.leads_to_load='[__import__(\"os\").getpid()]'"], ["task.leads_to_load", "expected lead names"]),
        (None, ["task.sample_rate=250"], ["task.sample_rate=250", "500 Hz", "expected the same"]),
        (None, ["+criterion.pos_weight=[1.0,2.0]"], ["pos_weight", "4"]),
        (None, ["model.encoder_layers=3"], ["encoder_layers", "expected the same sizes"]),
        (None, ["model.model_path=/nowhere.pt"], ["no checkpoint /nowhere.pt"]),
    ],
)
def test_bad_input_is_told_in_one_sentence(tree, pretrained, tmp_path, change, overrides, said):
    labels = shutil.copytree(tree / "labels", tmp_path / "labels")
    if change is not None:
        change(labels)
    done = finetune(tree, pretrained / "checkpoint_last.pt", tmp_path / "out", *overrides, labels=labels)
    assert done.returncode == 1, done.stderr[-2000:]
    line = last_line(done)
    assert line.startswith("ecgtext: error: ") and all(words in line for words in said), line
    assert not list((tmp_path / "out").glob("*.pt"))


@pytest.mark.slow
def test_a_text_encoder_is_no_ecg_encoder(tree, tmp_path):
    torch.save({"model": {"bert.embeddings.weight": torch.zeros(3, 4)}}, tmp_path / "bert.pt")
    done = finetune(tree, tmp_path / "bert.pt", tmp_path / "out")
    assert done.returncode == 1 and last_line(done).startswith("ecgtext: error: "), last_line(done)
    assert "bert.pt" in last_line(done) and "expected" in last_line(done)


@pytest.mark.slow
def test_pretraining_without_pairs(tree, tmp_path):
    folder = shutil.copytree(tree / "manifests" / "cmsc", tmp_path / "cmsc")
    for path in folder.glob("*.tsv"):  # recordings with one segment, as fairseq-signals' loader skips them
        path.write_text(path.read_text().replace("\t0,1\n", "\t0\n"))
    text = PRETRAIN.replace("distributed_world_size=4", "distributed_world_size=1")
    done = bash(text, [*TINY, *OF_PRETRAINING], tmp_path, MANIFEST_DIR=folder, OUTPUT_DIR=tmp_path / "out")
    assert done.returncode == 1 and last_line(done).startswith("ecgtext: error: "), last_line(done)
    assert f"the manifests in {folder} list no file: expected at least one" in last_line(done), last_line(done)
