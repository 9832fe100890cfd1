"""`ecgtext zero-shot` as typed."""

import json

from ecgtext_plugins.cli.main import main


def command(store, *more):
    return ["zero-shot", "model.pt", "--benchmark", "demo", "--data", str(store), *more]


def test_json_on_stdout_and_in_the_file_agree(demo_store, stand_in, tmp_path, capsys):
    out = tmp_path / "result.json"
    assert main(command(demo_store, "--split", "all", "--out", str(out), "--json")) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads(out.read_text())
    counts = json.loads((demo_store / "corpus.json").read_text())["counts"]
    assert result["n"] == counts["kept"] and result["split"] == "all"
    assert len(result["auroc"]) == 12 and list(result["prompts"]["st_elevation"]) == ["st elevation"]
    assert all(value is None or 0 <= value <= 1 for value in result["auroc"].values())
    assert {name for name, value in result["auroc"].items() if value is None} == set(result["undefined"])
    assert result["benchmark"] == {"name": "demo", "version": 1} and result["untrained_seed"] is None


def test_table_names_every_class_and_the_undefined_ones(demo_store, stand_in, capsys):
    assert main(command(demo_store, "--split", "test", "--untrained-seed", "3")) == 0
    out = capsys.readouterr().out
    assert "demo version 1, split test" in out and "untrained weights of seed 3" in out
    assert "sinus_rhythm" in out and "macro" in out
    undefined = [line.split()[0] for line in out.splitlines() if line.endswith(" -")]
    assert undefined
    assert out.rstrip().endswith("undefined, as all records or none are positive: " + ", ".join(undefined))
    assert stand_in.loaded == [("model.pt", 3)]


def test_own_prompts_are_used_and_recorded(demo_store, stand_in, tmp_path, capsys):
    assert main(command(demo_store, "--split", "all", "--json")) == 0
    shipped = json.loads(capsys.readouterr().out)
    own = {name: "abc" if name == "low_voltage" else text for name, text in shipped["prompts"].items()}
    path = tmp_path / "own.json"
    path.write_text(json.dumps(own))
    assert main(command(demo_store, "--split", "all", "--prompts", str(path), "--json")) == 0
    changed = json.loads(capsys.readouterr().out)
    assert changed["prompts"]["low_voltage"] == ["abc"]
    differing = {name for name in own if changed["auroc"][name] != shipped["auroc"][name]}
    assert "low_voltage" in differing  # others move too: the benchmark centres its prompts
    assert {name: text for name, text in changed["prompts"].items() if name != "low_voltage"} == {
        name: text for name, text in shipped["prompts"].items() if name != "low_voltage"
    }


def test_unknown_class_in_prompts_is_one_sentence(demo_store, stand_in, tmp_path, capsys):
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"sinus_rythm": "x"}))
    assert main(command(demo_store, "--prompts", str(path))) == 1
    err = capsys.readouterr().err
    assert "'sinus_rythm'" in err and "did you mean sinus_rhythm?" in err and len(err.strip().splitlines()) == 1


def test_unknown_benchmark_split_and_recipe(demo_store, stand_in, capsys):
    assert main(["zero-shot", "model.pt", "--benchmark", "demoo", "--data", str(demo_store)]) == 1
    assert "no benchmark 'demoo'" in capsys.readouterr().err
    assert main(command(demo_store, "--split", "dev")) == 1
    assert "different ones of train, valid, test" in capsys.readouterr().err
    assert main(["zero-shot", "model.pt", "--benchmark", "physionet2021_scored", "--data", str(demo_store)]) == 1
    assert "was built by recipe demo, but benchmark physionet2021_scored" in capsys.readouterr().err
