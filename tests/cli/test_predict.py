"""`ecgtext predict`, and `ecgtext embed` of files, as typed."""

import csv
import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

import ecgtext_plugins
from ecgtext_plugins.cli.main import main
from ecgtext_plugins.signals.leads import LEADS
from tests.builders import write_record
from tests.evaluation.tiny_models import tiny_ecg_model, write_recordings


@pytest.fixture
def folder(tmp_path):
    write_recordings(tmp_path / "records")
    return tmp_path / "records"


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Put small models in the place of `ecgtext_plugins.load`, with the labels that it is given."""

    def load(path, labels=None):
        return tiny_ecg_model(tmp_path / "m.pt", None if path.name == "p.pt" else labels or ["label_0", "label_1"])

    monkeypatch.setattr(ecgtext_plugins, "load", load)


def test_table_summary_and_notes(folder, loaded, tmp_path, capsys):
    write_record(folder, "few", np.tile(np.arange(900, dtype=np.int16) % 91, (12, 1)), leads=("II", "V1"), rate=100)
    out = tmp_path / "out" / "p.csv"
    assert main(["predict", "m.pt", str(folder), "--out", str(out), "--json"]) == 0
    told = capsys.readouterr()
    summary = json.loads(told.out)
    assert (summary["n_records"], summary["n_windows"], summary["n_failures"]) == (6, 15, 0)
    assert summary["labels"] == ["label_0", "label_1"] and summary["bf16"] is False and summary["aggregate"] == "auto"
    assert (
        "does not name its 2 outputs" in told.err and "1 records lack leads" in told.err and "such as few" in told.err
    )
    with open(out, newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["record_id", "n_windows", "missing_leads", "label_0", "label_1"]
    assert rows[0]["record_id"] == "few" and rows[0]["missing_leads"].split()[0] == "I" and len(rows) == 6
    assert [path.name for path in out.parent.iterdir()] == ["p.csv"]


@pytest.mark.parametrize("text", ["name,pos_count\nSinus rhythm,3\nInfarction,4\n", "Sinus rhythm\nInfarction\n"])
def test_labels_and_windows(folder, loaded, tmp_path, text, capsys):
    names = tmp_path / ("label_def.csv" if "," in text else "names.txt")
    names.write_text(text)
    out = tmp_path / "p.parquet"
    options = ["--labels", str(names), "--windows", "--aggregate", "max"]
    assert main(["predict", "m.pt", str(folder), "--out", str(out), *options]) == 0
    table = pq.read_table(out)
    assert table.column_names == ["record_id", "start", "missing_leads", "Sinus rhythm", "Infarction"]
    assert table["start"].to_pylist()[:4] == [0, 400, 600, 0] and len(table) == 12
    assert table.schema.metadata[b"aggregate"] == b"none" and capsys.readouterr().err == ""


def test_bfloat16_is_near(folder, loaded, tmp_path):
    tables = []
    for option in ("--bf16", "--no-bf16"):
        assert main(["predict", "m.pt", str(folder), "--out", str(tmp_path / "p.parquet"), option]) == 0
        tables.append(pq.read_table(tmp_path / "p.parquet")["label_0"].to_numpy())
    assert 0 < np.abs(tables[0] - tables[1]).max() < 0.05


def test_failures_exit_code_and_their_table(folder, loaded, tmp_path, capsys):
    (folder / "r1.dat").unlink()
    out, listed = tmp_path / "p.csv", tmp_path / "p.failures.csv"
    assert main(["predict", "m.pt", str(folder), "--out", str(out)]) == 1
    assert f"1 of 5 records could not be used and are listed in {listed}" in capsys.readouterr().err
    with open(listed, newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["record"] for row in rows] == ["r1"] and "r1.dat is not in" in rows[0]["reason"]
    assert [line.split(",")[0] for line in out.read_text().splitlines()] == ["record_id", "r0", "r2", "r3", "r4"]
    (folder / "r1.hea").unlink()
    assert main(["predict", "m.pt", str(folder), "--out", str(out)]) == 0 and not listed.exists()


def test_refusals_are_one_sentence(folder, loaded, tmp_path, capsys):
    for words, said in (
        (["p.pt", str(folder), "--out", "p.csv"], "which has no labels to predict: expected a fine-tuned classifier"),
        (["m.pt", str(folder), "--out", str(tmp_path / "p.txt")], "ends in .txt: expected .csv or .parquet"),
        (["m.pt", str(tmp_path / "no.npy"), "--out", "p.csv"], "no.npy is not there"),
    ):
        assert main(["predict", *words]) == 1
        assert said in capsys.readouterr().err
    for option in (["--leads", "I,Q7"], ["--leads", "I,DI"], ["--fs", "fast"], ["--workers", "-1"], ["--unit", "V"]):
        with pytest.raises(SystemExit) as stopped:
            main(["predict", "m.pt", str(folder), "--out", "p.csv", *option])
        assert stopped.value.code == 2


def test_number_of_labels_must_match(shared, folder, tmp_path, capsys):
    names = tmp_path / "names.txt"
    names.write_text("a\nb\n")
    checkpoint = str(shared / "golden" / "ecg_fm_finetuned_tiny.pt")
    assert main(["predict", checkpoint, str(folder), "--out", str(tmp_path / "p.csv"), "--labels", str(names)]) == 1
    assert "has 8 outputs and 2 labels were given" in capsys.readouterr().err
    names.write_text("\n".join("abcdefgh"))
    assert main(["predict", checkpoint, str(folder), "--out", str(tmp_path / "p.csv"), "--labels", str(names)]) == 0
    assert (tmp_path / "p.csv").read_text().startswith("record_id,n_windows,missing_leads,a,b,c,d,e,f,g,h\n")


def test_embed_of_files(folder, loaded, tmp_path, capsys):
    signal = np.random.default_rng(0).normal(size=(12, 700)).astype(np.float32)
    np.save(tmp_path / "array.npy", signal)
    out, model = tmp_path / "e.parquet", tiny_ecg_model(tmp_path / "m.pt")
    inputs = [str(folder), str(tmp_path / "array.npy"), "--fs", "250", "--leads", ",".join(LEADS)]
    assert main(["embed", "p.pt", *inputs, "--out", str(out), "--json"]) == 0
    table = pq.read_table(out)
    assert table.column_names == ["record_id", "vector"] and table["record_id"].to_pylist()[-1] == "array"
    expected = model.embed(signal, 250.0, LEADS)
    np.testing.assert_allclose(table["vector"].to_pylist()[-1], expected, atol=1e-6)
    assert json.loads(capsys.readouterr().out)["n"] == 6
    assert main(["embed", "p.pt", *inputs, "--out", str(out), "--windows", "--pooling", "mean"]) == 0
    table = pq.read_table(out)
    assert table.column_names == ["record_id", "start", "vector"] and len(table) == 13
    assert main(["embed", "p.pt", *inputs, "--out", str(out), "--pooling", "cls"]) == 1
    assert "has no class token" in capsys.readouterr().err


def test_embed_of_a_manifest_by_a_pretraining_model(demo_store, loaded, tmp_path):
    out = tmp_path / "e.parquet"
    assert main(["embed", "p.pt", str(demo_store / "manifests" / "test.tsv"), "--out", str(out)]) == 0
    assert pq.read_table(out).column_names == ["record_id", "vector"]
    assert b"store_fingerprint" in pq.read_table(out).schema.metadata


@pytest.mark.parametrize("command", ["predict", "embed"])
def test_help_is_light(command):
    code = (
        "import sys\nfrom ecgtext_plugins.cli.main import main\n"
        f"try:\n    main(['{command}', '--help'])\nexcept SystemExit:\n    pass\n"
        "print('heavy:', sorted({'torch', 'numpy', 'pyarrow', 'fairseq'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "examples:" in done.stdout and done.stdout.splitlines()[-1] == "heavy: []"
