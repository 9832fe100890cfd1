"""`ecgtext plot` on a small store."""

import numpy as np
import pytest

from ecgtext_plugins.cli.main import main
from ecgtext_plugins.cli.plot import choose_rows, strip_of


class FewRecords:
    """Stands for a record store: three records of two patients."""

    folder, sample_rate = "DATA", 100.0
    texts = ("sinus rhythm normal ecg.",)
    corpus = {"recipe": {"checks": {"limb_error_mv": 0.05}}}

    def __len__(self):
        return 3

    def column(self, name):
        return {
            "record_id": np.array(["11", "12", "13"], dtype=object),
            "labels": np.array([["sinus_rhythm"], ["sinus_bradycardia", "low_voltage"], []], dtype=object),
            "report_id": np.array([0, 0, -1]),
            "split": np.array(["train", "valid", "test"], dtype=object),
            "limb_error_mv": np.array([np.nan, 0.01, 0.3]),
            "clipped_leads": np.array([0, 0, 1 << 8 | 1 << 9]),
            **dict.fromkeys(("missing_leads", "derived_leads", "flat_leads"), np.zeros(3, int)),
        }[name]

    def rows_of(self, names, source=""):
        return np.array([["11", "12", "13"].index(name) for name in names])

    def signal_mv(self, row):
        return np.full((12, 1000), row, dtype=np.float32)

    def report_text(self, number):
        return self.texts[number]


@pytest.fixture
def store(monkeypatch):
    from ecgtext_plugins.store import reader

    monkeypatch.setattr(reader.RecordStore, "open", lambda folder: FewRecords())


def test_page_is_written(store, tmp_path, capsys):
    out = tmp_path / "page.png"
    assert main(["plot", "DATA", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG") and "3 of 3" in capsys.readouterr().out
    first = out.read_bytes()
    assert main(["plot", "DATA", "--out", str(out), "--records", "13, 11"]) == 0
    assert out.read_bytes() != first


def test_records_are_drawn_in_the_order_given_or_by_seed():
    def rows(**options):
        from argparse import Namespace

        return choose_rows(
            FewRecords(), Namespace(**{"data": "DATA", "records": None, "count": 2, "seed": 0} | options)
        )

    assert rows(records="13,11") == [2, 0]
    assert rows() == rows() and len(set(rows())) == 2
    assert rows(count=9) == [0, 1, 2]
    assert len({tuple(rows(seed=seed)) for seed in range(20)}) == 3


def test_title_tells_record_split_labels_marks_and_report():
    strip = strip_of(FewRecords(), 1)
    assert strip.title.splitlines() == ["12   valid   sinus bradycardia, low voltage", "sinus rhythm normal ecg."]
    assert strip.sample_rate == 100.0 and (strip.signal_mv == 1).all()
    assert (
        strip_of(FewRecords(), 2).title.strip() == "13   test      [clipped V3, V4; limb leads contradict each other]"
    )


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--out", "page.gif"], "ending"),
        (["--out", "page.png", "--records", "11,99"], "no record 99"),
        (["--out", "page.png", "--records", ","], "cannot draw 0"),
        (["--out", "page.png", "--seed", "-1"], "seed -1"),
        (["--out", "page.png", "--count", "61"], "cannot draw 61"),
    ],
)
def test_errors_are_told(store, tmp_path, monkeypatch, capsys, arguments, word):
    monkeypatch.chdir(tmp_path)
    assert main(["plot", "DATA", *arguments]) == 1
    assert word in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
