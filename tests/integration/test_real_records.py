"""The demo's commands, unchanged, on 25 real recordings of the PhysioNet/CinC Challenge 2021."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def command(*words, **options):
    done = subprocess.run([BIN / words[0], *map(str, words[1:])], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def trained(shared, tmp_path_factory):
    data, run = tmp_path_factory.mktemp("real") / "data", tmp_path_factory.mktemp("real_run")
    raw = shared / "data" / "physionet2021"
    built = json.loads(
        command(
            "ecgtext", "manifest", "build", "physionet2021", "--raw", raw, "--dest", data, "--json", "--accept-counts"
        )
    )
    command("ecgtext", "negatives", "build", data, "--text-encoder", "scratch")
    folder = ROOT / "examples/dbeta/pretraining"
    command(
        *("fairseq-hydra-train", "--config-dir", folder, "--config-name", "demo", f"task.data={data}/manifests"),
        *(f"hydra.run.dir={run}", "optimization.max_update=20"),
    )
    return built, data, run / "checkpoint_last.pt"


def test_every_record_is_kept(trained):
    from ecgtext_plugins.store.reader import RecordStore

    built, data, _ = trained
    assert (built["counts"]["found"], built["counts"]["kept"]) == (25, 25)
    store = RecordStore.open(data)
    row = int(store.rows_of(["E07500"])[0])
    assert "sinus bradycardia" in store.report_text(int(store.column("report_id")[row]))
    assert store.counts(row)[0, 0] * store.step_mv(row) == pytest.approx(-0.068)


def test_embed(trained, tmp_path):
    _, data, checkpoint = trained
    command("ecgtext", "embed", checkpoint, data / "manifests/train.tsv", "--out", tmp_path / "train.parquet")
    table = pq.read_table(tmp_path / "train.parquet").to_pydict()
    manifest = (data / "manifests/train.tsv").read_text().splitlines()[2:]
    assert table["record_id"] == [line.split("\t")[0] for line in manifest]
    vectors = np.array(table["vector"])
    assert vectors.shape == (len(manifest), 128) and np.isfinite(vectors).all() and np.abs(vectors).max() <= 1
    assert len(np.unique(vectors.round(6), axis=0)) == len(vectors)


def test_zero_shot_on_the_scored_classes(trained):
    _, data, checkpoint = trained
    result = json.loads(
        command("ecgtext", "zero-shot", checkpoint, "--benchmark", "physionet2021_scored", "--data", data,
                "--split", "all", "--json")
    )  # fmt: skip
    assert result["n"] == 25 and len(result["auroc"]) == 26
    defined = {name for name, count in result["positives"].items() if 0 < count < 25}
    assert {name for name, area in result["auroc"].items() if area is not None} == defined
    assert set(result["undefined"]) == set(result["auroc"]) - defined
    assert len(defined) >= 5 and 0 <= result["macro_auroc"] <= 1
