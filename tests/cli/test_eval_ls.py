"""`ecgtext eval ls` and `ecgtext eval validate` as typed."""

import json

import pytest

from ecgtext_plugins.cli.main import main
from ecgtext_plugins.evaluation.benchmark import benchmark_names


def test_every_benchmark_has_a_line(capsys):
    assert main(["eval", "ls"]) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.split() == ["benchmark", "task", "classes", "metric", "needs"]
    assert [line.split()[0] for line in lines] == benchmark_names()
    rows = {line.split()[0]: line.split()[1:] for line in lines}
    assert rows["ptbxl_super"] == "classification 5 auroc merl_ptbxl (merl_super) or ptbxl (super)".split()
    assert rows["physionet2021_id"] == ["identification", "-", "accuracy", "physionet2021_id"]
    assert rows["transfer_cpsc2018_csn"][:2] == ["transfer", "9"]


def test_json_tells_more(capsys):
    assert main(["eval", "ls", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == benchmark_names()
    row = rows["transfer_ptbxl_super_csn_corrected"]
    assert row["transfer_from"] == "ptbxl_super" and row["classes"]["HYP"] == ["RVH", "LVH"]
    assert rows["ptbxl_sub"]["label_sets"] == {"merl_ptbxl": "merl_sub", "ptbxl": "sub"}
    assert rows["physionet2021_dx"]["leads"] == ["12", "6", "3", "2", "1"]
    assert rows["cpsc2018_merl"]["window"] == "first_2500"


def test_validate_a_store_that_is_ready(demo_store, capsys):
    assert main(["eval", "validate", "demo", "--data", str(demo_store)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"demo: ready on {demo_store}")


def test_validate_says_what_is_missing_and_how_to_build_it(demo_store, capsys):
    assert main(["eval", "validate", "demo", "csn_corrected", "--data", str(demo_store)]) == 1
    out = capsys.readouterr().out
    assert "demo: ready" in out and "csn_corrected: 1 missing" in out
    assert "ecgtext manifest build merl_csn_corrected --raw RAW --tables MERL/finetune/data_split --dest DATA" in out


def test_validate_says_what_a_part_of_a_run_lacks(demo_store, capsys):
    assert main(["eval", "validate", "transfer_csn_cpsc2018", "physionet2021_dx", "--data", str(demo_store)]) == 1
    out = capsys.readouterr().out
    assert "note     probe      no probe: it learns on benchmark csn: no store of recipe merl_csn_published" in out
    assert "ecgtext manifest build merl_csn_published --raw RAW --tables MERL/finetune/data_split --dest DATA" in out
    assert "note     metric     the Challenge metric needs the Challenge's weights.csv" in out


def test_validate_as_json(demo_store, capsys):
    (demo_store / "manifests" / "test.tsv").unlink()
    assert main(["eval", "validate", "demo", "--data", str(demo_store), "--json"]) == 1
    (entry,) = json.loads(capsys.readouterr().out)
    (finding,) = (row for row in entry["findings"] if row["error"])
    assert entry["benchmark"] == "demo" and entry["missing"] == 1 and finding["kind"] == "splits"
    assert finding["command"] == f"ecgtext manifest build demo --raw RAW --dest {demo_store} --rebuild"


@pytest.mark.parametrize("name", ["ptbxl_supper", "ptbxl"])
def test_unknown_benchmark(name, capsys):
    assert main(["eval", "validate", name]) == 1
    assert f"no benchmark '{name}'" in capsys.readouterr().err
