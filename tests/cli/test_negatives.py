"""`ecgtext negatives build` and `inspect` as typed."""

import json

import numpy as np
import pytest

from ecgtext_plugins.cli.main import main
from ecgtext_plugins.negatives.table import NegativesTable
from ecgtext_plugins.store.reader import RecordStore

SMALL = ["--scratch-width", "16", "--scratch-layers", "1", "--scratch-heads", "2", "--vocab-size", "250"]


def test_scratch_makes_the_encoder_once_and_the_table(demo_store, capsys):
    command = ["negatives", "build", str(demo_store), "--text-encoder", "scratch", "--k", "4", *SMALL]
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["built"] and result["text_encoder_made"] and result["meta"]["k"] == 4
    assert json.loads((demo_store / "text_encoder" / "config.json").read_text())["d_model"] == 16
    stamp = (demo_store / "text_encoder" / "model.safetensors").stat().st_mtime_ns
    assert main(command) == 0
    assert "nothing to do (--rebuild builds it again)" in capsys.readouterr().out
    assert main([*command, "--rebuild"]) == 0
    out = capsys.readouterr().out
    assert "nothing to do" not in out and "4 farthest of" in out
    assert (demo_store / "text_encoder" / "model.safetensors").stat().st_mtime_ns == stamp

    store = RecordStore.open(demo_store)
    table = NegativesTable.open(demo_store / "negatives", store)
    assert 0 not in table.table[0]
    assert store.report_text(0) not in [store.report_text(int(report)) for report in table.table[0]]


def test_fewer_reports_than_asked_is_told(demo_store, capsys):
    assert main(["negatives", "build", str(demo_store), "--text-encoder", "scratch", "--k", "5000", *SMALL]) == 0
    assert "(asked: 5000)" in capsys.readouterr().out


def test_band_and_cap_are_told_and_added_without_a_new_search(demo_store, capsys):
    command = ["negatives", "build", str(demo_store), "--text-encoder", "scratch", "--k", "4", *SMALL]
    assert main([*command, "--hub-cap", "40"]) == 0
    assert "distinct ones occur, at most 40 rows each" in capsys.readouterr().out
    stamp = (demo_store / "negatives" / "farthest.npy").stat().st_mtime_ns
    assert main([*command, "--hub-cap", "40", "--band", "0.5,0.9"]) == 0
    out = capsys.readouterr().out
    assert "band: 4 more of each report's similarity quantiles 0.5 to 0.9, seed 0" in out and "nothing to do" not in out
    assert (demo_store / "negatives" / "farthest.npy").stat().st_mtime_ns == stamp
    assert main([*command, "--approximate", "always"]) == 0
    assert "approximate search: 100.0% of the true farthest found" in capsys.readouterr().out


def test_inspect_tells_draws_and_answers_in_json(demo_store, tmp_path, capsys):
    build = ["negatives", "build", str(demo_store), "--text-encoder", "scratch", "--k", "4", "--band", "0.5,0.9"]
    assert main([*build, *SMALL]) == 0
    capsys.readouterr()
    figure = tmp_path / "page.png"
    assert main(["negatives", "inspect", str(demo_store), "--examples", "2", "--figure", str(figure)]) == 0
    out = capsys.readouterr().out
    store = RecordStore.open(demo_store)
    assert out.count("\nreport ") == 2 and f"drawn: {figure}" in out and "top 100" in out
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert main(["negatives", "inspect", str(demo_store), "--json", "--examples", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["figure"] is None and set(found["hubness"]) == {"farthest", "band"}
    assert found["hubness"]["farthest"]["distinct"] == found["meta"]["n_distinct_negatives"]
    example = found["examples"][0]
    assert example["text"] == store.report_text(example["report_id"])
    assert example["farthest"][0]["similarity"] < example["band"][0]["similarity"]
    similarity = found["similarity"]
    assert similarity["farthest"]["median"] < similarity["random"]["median"] < similarity["band"]["p95"]


def test_inspect_names_hubness_and_the_remedies(capsys):
    from ecgtext_plugins.cli._negatives_inspect import _lines
    from ecgtext_plugins.negatives.inspection import hubness

    found = {
        "meta": {"n_reports": 5000, "n_candidates": 5000, "k": 64},
        "hubness": {"farthest": hubness(np.tile(np.arange(64), (5000, 1)), 5000)},
        "similarity": {},
        "examples": [],
    }
    last = _lines(found)[-1]
    assert last.startswith("hubness: in farthest, 64 reports (1.28% of the candidates)")
    assert "`--band 0.5,0.9 --hub-cap N`" in last and "task.negative_strategy=band" in last


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["NOWHERE"], "is not a finished record store"),
        (["DATA"], "no table of negatives in"),
        (["DATA", "--figure", "page.txt"], "cannot save a figure as 'page.txt'"),
    ],
)
def test_inspect_errors_are_one_sentence(demo_store, tmp_path, capsys, arguments, sentence):
    places = {"DATA": str(demo_store), "NOWHERE": str(tmp_path / "nowhere")}
    assert main(["negatives", "inspect", *(places.get(word, word) for word in arguments)]) == 1
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("ecgtext: error: ") and sentence in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["DATA", "--text-encoder", "scratch", "--band", "0.9,0.5"], "band 0.9,0.5 is no range of quantiles"),
        (["DATA", "--text-encoder", "scratch", "--hub-cap", "2", "--approximate", "always"], "needs the exact search"),
        (["NOWHERE", "--text-encoder", "scratch"], "is not a finished record store"),
        (["NOWHERE", "--text-encoder", "./nothing"], "is not a finished record store"),
        (["DATA", "--text-encoder", "./nothing"], "text encoder folder ./nothing is not there"),
        (["DATA", "--text-encoder", "scratch", "--device", "abacus"], "device 'abacus' cannot be used"),
        (["DATA", "--text-encoder", "scratch", "--scratch-heads", "3"], "width 128 cannot be split over 3 heads"),
        (["DATA", "--text-encoder", "scratch", "--vocab-size", "20"], "vocabulary of 20 is too small"),
    ],
)
def test_errors_are_one_sentence(demo_store, tmp_path, capsys, arguments, sentence):
    places = {"DATA": str(demo_store), "NOWHERE": str(tmp_path / "nowhere")}
    assert main(["negatives", "build", *(places.get(word, word) for word in arguments)]) == 1
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("ecgtext: error: ") and sentence in err
    assert not (demo_store / "negatives").exists() and not (demo_store / "text_encoder").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["DATA", "--text-encoder", "scratch", "--k", "0"],
        ["DATA", "--band", "0.5"],
        ["DATA", "--band", "low,high"],
        ["DATA", "--approximate", "sometimes"],
        [],
    ],
)
def test_bad_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["negatives", "build", *arguments])
    assert stopped.value.code == 2
