"""Stores that the shipped recipes build from synthetic downloads with enough records of every class."""

import csv
from pathlib import Path

import pytest

import ecgtext_plugins
from ecgtext_plugins.cli.main import main
from tests.downloads import code_test, cpsc2018, csn, merl, physionet2021, ptbxl
from tests.evaluation.test_benchmark_definitions import CSN
from tests.evaluation.test_benchmark_validation import built

SHORT = {"seconds": 0.6}


def scored_codes() -> list[str]:
    table = Path(ecgtext_plugins.__file__).parent / "corpora" / "tables" / "snomed_ct.csv"
    with open(table, newline="", encoding="utf-8") as handle:
        return [row["code"] for row in csv.DictReader(handle) if row["scored"] == "yes"]


def write_merl(tables, argument, rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merl, "CSN", tuple(CSN))
        merl.write_download(tables, **{argument: rows})


def write_csn(raw, tables):
    write_merl(tables, "csn_rows", csn.write_download(raw, 400, n_samples=300, even=True))


def write_identification(raw, tables):
    physionet2021.write_download(raw, 121, sources=("ptb-xl",), longest=5)
    rows = [{"ecg_id": str(number), "patient_id": f"{number // 2}.0"} for number in range(1, 122)]
    ptbxl.write_database(tables, rows)


DOWNLOADS = {
    "demo": lambda raw, tables: main(["demo-corpus", str(raw), "--records", "300", "--workers", "1"]),
    "ptbxl": lambda raw, tables: ptbxl.write_download(raw, 400, even=4, **SHORT),
    "merl_ptbxl": lambda raw, tables: write_merl(tables, "ptbxl_rows", ptbxl.write_download(raw, 400, even=4, **SHORT)),
    "merl_cpsc2018": lambda raw, tables: write_merl(
        tables, "cpsc2018_rows", cpsc2018.write_download(raw, 100, even=True)
    ),
    "merl_csn_published": write_csn,
    "merl_csn_corrected": write_csn,
    "code_test": lambda raw, tables: code_test.write_download(raw, 30),
    "physionet2021": lambda raw, tables: physionet2021.write_download(raw, 30, longest=5, known=scored_codes()),
    "physionet2021_dx": lambda raw, tables: physionet2021.write_download(raw, 50, longest=5, known=scored_codes()),
    "physionet2021_id": write_identification,
}


@pytest.fixture(scope="module")
def large_store(tmp_path_factory):
    """Return the folder of a store of a recipe, built once; don't write into it."""
    folders = {}

    def build(name):
        if name not in folders:
            folders[name] = built(tmp_path_factory.mktemp(name), name, DOWNLOADS[name], 10)
        return folders[name]

    return build
