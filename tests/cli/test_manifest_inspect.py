import json

import pytest

from ecgtext_plugins.cli.main import main
from ecgtext_plugins.store.splits import SPLITS


def test_pictures_are_drawn_and_named(demo_store, tmp_path, capsys):
    figure = tmp_path / "page.png"
    assert main(["manifest", "inspect", str(demo_store), "--figure", str(figure), "--records", "2"]) == 0
    said = capsys.readouterr().out
    charts = tmp_path / "page_charts.png"
    assert str(figure) in said and str(charts) in said
    assert figure.read_bytes()[:4] == charts.read_bytes()[:4] == b"\x89PNG"


def test_page_and_json_agree(demo_store, capsys):
    assert main(["manifest", "inspect", str(demo_store), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["manifest", "inspect", str(demo_store)]) == 0
    page = capsys.readouterr().out
    assert f"{found['counts']['kept']:,} of {found['counts']['found']:,} records kept" in page
    for label, counts in found["labels"].items():
        (line,) = [line for line in page.splitlines() if line.startswith(f"  {label} ")]
        assert [int(cell) for cell in line.split()[1::2][:3]] == [counts[split] for split in SPLITS]
    assert found["reports"]["most_common"][0]["text"][:40] in page
    assert found["figures"] == []


@pytest.mark.parametrize(
    ("option", "message"),
    [(["--figure", "page.bmp"], ".png"), (["--figure", "p.png", "--records", "0"], "cannot draw")],
)
def test_what_cannot_be_drawn(demo_store, capsys, option, message):
    assert main(["manifest", "inspect", str(demo_store), *option]) == 1
    assert message in capsys.readouterr().err
