import json
import re

import pytest
import yaml

from ecgtext_plugins.cli.main import main
from tests import builders


@pytest.fixture
def build(tmp_path):
    rows = builders.write_mimic_tree(tmp_path / "raw", 9, seed=2)
    (tmp_path / "raw" / f"{rows[0]['path']}.dat").unlink()
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(builders.demo_recipe()))
    recipe, raw, data = (str(tmp_path / name) for name in ("tiny.yaml", "raw", "data"))
    return ["manifest", "build", recipe, "--raw", raw, "--dest", data, "--workers", "1"]


def test_build_prints_counts_failures_and_places(build, capsys):
    assert main(build) == 0
    printed = capsys.readouterr().out
    assert "tiny: 8 of 9 records kept at 500 Hz" in printed
    assert re.search(r"missing_signal_file +1\n", printed)
    assert "data/manifests" in printed and "data/failures.parquet" in printed
    kept = [int(re.search(rf"  {split} +(\d+)\n", printed)[1]) for split in ("train", "valid", "test")]
    assert sum(kept) == 8
    assert main(build) == 0
    assert "is finished already: nothing was done" in capsys.readouterr().out


def test_build_and_inspect_as_json(build, tmp_path, capsys):
    assert main([*build, "--json"]) == 0
    built = json.loads(capsys.readouterr().out)
    assert built["counts"] == {"found": 9, "kept": 8, "failed": 1} and built["was_finished"] is False
    assert main(["manifest", "inspect", str(tmp_path / "data"), "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert {reason: row["records"] for reason, row in seen["failures"].items()} == {"missing_signal_file": 1}
    assert list(seen["labels"]) == sorted(builders.LABELS)
    assert sum(report["count"] for report in seen["reports"]["most_common"]) == 8
    assert main(["manifest", "inspect", str(tmp_path / "data")]) == 0
    printed = capsys.readouterr().out
    assert "sinus_rhythm" in printed and "unique reports of 8 records" in printed


def test_errors_are_one_sentence(build, tmp_path, capsys):
    assert main(["manifest", "build", "mimic_iv", "--raw", ".", "--dest", str(tmp_path / "d")]) == 1
    assert main(["manifest", "inspect", str(tmp_path)]) == 1
    build[build.index("--raw") + 1] = str(tmp_path / "raw" / "files")
    assert main(build) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(line.startswith("ecgtext: error: ") for line in lines)
    for wrong in (["manifest"], ["manifest", "build"], [*build[:-1], "0"], [*build[:-1], "two"]):
        with pytest.raises(SystemExit) as caught:
            main(wrong)
        assert caught.value.code == 2


def test_nothing_kept_is_an_error(build, tmp_path, capsys):
    for path in (tmp_path / "raw" / "files").rglob("*.dat"):
        path.unlink()
    assert main(build) == 1
    assert "no record was kept" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["manifest"], ["manifest", "build"], ["manifest", "inspect"]])
def test_help_has_examples(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    assert "ecgtext manifest" in capsys.readouterr().out


def test_real_records_through_the_command(shared, tmp_path, capsys):
    raw, data = str(shared / "data" / "physionet2021"), str(tmp_path / "data")
    command = ["manifest", "build", "physionet2021", "--raw", raw, "--dest", data, "--workers", "1", "--json"]
    assert main(command) == 3
    said = capsys.readouterr()
    built = json.loads(said.out)
    assert built["differences"] == [{"what": ["found"], "expected": 88253, "found": 25}]
    assert "differs from what the recipe expects" in said.err and "88,253" in said.err
    assert main([*command, "--accept-counts"]) == 0
    capsys.readouterr()
    assert built["counts"] == {"found": 25, "kept": 25, "failed": 0} and len(built["label_names"]) == 26
    assert built["unique_reports"] == 21
