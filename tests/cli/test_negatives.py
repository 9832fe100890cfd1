"""`ecgtext negatives build` as typed."""

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
    drawn = table.draw(0, np.random.default_rng(0))
    assert drawn != 0 and store.report_text(drawn) != store.report_text(0)


def test_fewer_reports_than_asked_is_told(demo_store, capsys):
    assert main(["negatives", "build", str(demo_store), "--text-encoder", "scratch", "--k", "5000", *SMALL]) == 0
    assert "(asked: 5000)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
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


@pytest.mark.parametrize("arguments", [["DATA"], ["DATA", "--text-encoder", "scratch", "--k", "0"], []])
def test_bad_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["negatives", "build", *arguments])
    assert stopped.value.code == 2
