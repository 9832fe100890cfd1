"""`ecgtext manifest export` and `index`."""

import json

import pytest

from ecgtext_plugins.cli.main import main
from tests.downloads import fairseq_signals as download
from tests.store.fairseq_signals.stores import small_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return small_store(tmp_path_factory.mktemp("store"), n_records=6)


@pytest.fixture
def export(store, tmp_path):
    return ["manifest", "export", str(store.folder), "--format", "fairseq-signals", "--dest", str(tmp_path / "fs")]


def test_what_is_printed(export, tmp_path, capsys):
    assert main([*export, "--labels", "--workers", "1"]) == 0
    printed = capsys.readouterr()
    assert f"tiny: 6 records in {tmp_path / 'fs'} (org, preprocessed, segmented)" in printed.out
    assert "windows" in printed.out and "manifests/cmsc/train.tsv" in printed.out
    assert "6 records, about 0.00" in printed.err and "GB of .mat files" in printed.err
    assert main([*export, "--labels"]) == 0
    assert "is finished already: nothing was done" in capsys.readouterr().out


def test_json_and_options(export, tmp_path, capsys):
    words = ["--stages", "org", "--kinds", "plain,text", "--absolute-root", "--json", "--workers", "2"]
    assert main([*export, *words]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["options"]["stages"] == ["org"] and printed["records"] == 6 and printed["was_finished"] is False
    assert sorted(printed["manifests"]) == ["plain", "text"] and printed["windows"] == 0
    root = (tmp_path / "fs" / "manifests" / "text" / "train.tsv").read_text().splitlines()[0]
    assert root == str(tmp_path / "fs" / "org")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stages", "org"], "cmsc without the stage segmented"),
        (["--kinds", "plain,pairs"], "--kinds is plain,pairs"),
        (["--sample-rate", "0"], "--sample-rate is 0"),
    ],
)
def test_errors_are_one_sentence(export, tmp_path, capsys, words, said):
    assert main([*export, *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("ecgtext: error: ") and said in error and error.count("\n") == 1
    assert not (tmp_path / "fs").exists()


def test_wrong_usage(export, tmp_path):
    for words in (export[:-2], [*export[:4], "hdf5", *export[5:]], [*export, "--workers", "0"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2
    assert main(["manifest", "export", str(tmp_path), *export[3:]]) == 1


def test_index(tmp_path, capsys):
    download.write_text_tree(tmp_path, 12)
    folder = str(tmp_path / "manifests")
    assert main(["manifest", "index", folder, "--workers", "1"]) == 0
    assert "12 files at 500 Hz, mV, " in capsys.readouterr().out
    assert main(["manifest", "index", folder, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["files"] == 12 and printed["splits"] == {"test": 2, "train": 8, "valid": 2}
    assert (tmp_path / "manifests" / "ecgtext_index.parquet").is_file()
    (tmp_path / "mat" / "4002.mat").unlink()
    assert main(["manifest", "index", folder]) == 1
    assert "train.tsv line 4: there is no file" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["export", "index"])
def test_help_has_examples(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["manifest", command, "--help"])
    assert caught.value.code == 0 and f"ecgtext manifest {command} " in capsys.readouterr().out
