"""A synthetic download of every dataset, in its real layout, through its shipped recipe: build, verify, read, load."""

import json

import numpy as np
import pytest
import yaml

from ecgtext_plugins.cli.main import main
from ecgtext_plugins.recipes import find_recipe
from ecgtext_plugins.store.manifest import read_manifest
from ecgtext_plugins.store.reader import RecordStore
from tests import builders
from tests.downloads import code15, code_test, cpsc2018, csn, fairseq_signals, generic, merl, physionet2021, ptbxl


def mimic(raw, tables):
    builders.write_mimic_tree(raw, 24, seed=1, n_samples=5000)


def merl_of(dataset, argument, **options):
    def write(raw, tables):
        merl.write_download(tables, **{argument: dataset.write_download(raw, **options)})

    return write


def identification(raw, tables):
    """Records of the Challenge, and PTB-XL's table with two records of each of its patients."""
    physionet2021.write_download(raw, 40, sources=("ptb-xl", "georgia"), longest=10)
    rows = [{"ecg_id": str(number), "patient_id": f"{number // 2}.0"} for number in range(1, 41)]
    ptbxl.write_database(tables, rows)


WITH_TABLES = {"merl_ptbxl", "merl_cpsc2018", "merl_csn_published", "merl_csn_corrected", "physionet2021_id"}
DOWNLOADS = {
    "mimic_iv_ecg": mimic,
    "mimic_pretrain": mimic,
    "ptbxl": lambda raw, tables: ptbxl.write_download(raw, 40),
    "merl_ptbxl": merl_of(ptbxl, "ptbxl_rows", n_records=60),
    "cpsc2018": lambda raw, tables: cpsc2018.write_download(raw, 24),
    "merl_cpsc2018": merl_of(cpsc2018, "cpsc2018_rows", n_records=24),
    "csn": lambda raw, tables: csn.write_download(raw, 24),
    "merl_csn_published": merl_of(csn, "csn_rows", n_records=24),
    "merl_csn_corrected": merl_of(csn, "csn_rows", n_records=24),
    "code_test": lambda raw, tables: code_test.write_download(raw),
    "code15": lambda raw, tables: code15.write_download(raw),
    "physionet2021": lambda raw, tables: physionet2021.write_download(raw),
    "physionet2021_dx": lambda raw, tables: physionet2021.write_download(raw),
    "physionet2021_id": identification,
    "fairseq_signals": lambda raw, tables: fairseq_signals.write_download(raw),
    "generic": lambda raw, tables: generic.write_download(raw, 12),
}


def test_every_shipped_recipe_is_here():
    shipped = {path.stem for path in find_recipe("demo").parent.glob("*.yaml")}
    assert shipped - {"demo"} == set(DOWNLOADS)  # the demo has tests of its own


@pytest.fixture
def small(tmp_path, request):
    """Write the shipped recipe `name` with what a small download needs: larger subsets, shorter records kept."""

    def make(name):
        recipe = yaml.safe_load(find_recipe(name).read_text("utf-8"))
        recipe["min_seconds"] = 0.5
        if recipe["subsets"]:
            recipe["subsets"]["percentages"] = [10, 50]
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(recipe))
        return path

    return make


@pytest.mark.parametrize("name", DOWNLOADS)
def test_a_download_becomes_a_store(tmp_path, capsys, small, name):
    raw, tables, data = (tmp_path / part for part in ("raw", "tables", "data"))
    raw.mkdir()
    tables.mkdir()
    DOWNLOADS[name](raw, tables)
    command = ["manifest", "build", str(small(name)), "--raw", str(raw), "--dest", str(data), "--workers", "1"]
    elsewhere = ["--tables", str(tables)] if name in WITH_TABLES else []
    command += elsewhere
    assert main([*command, "--json", "--accept-counts"]) == 0
    built = json.loads(capsys.readouterr().out)
    counts, splits = built["counts"], built["splits"]
    assert counts["kept"] + counts["failed"] == counts["found"] and counts["kept"] >= counts["found"] * 0.7, built
    assert sum(splits.values()) == counts["kept"]
    store = RecordStore.open(data)
    assert len(built["label_names"]) == 0 or store.label_matrix(np.arange(len(store)), store.label_names).any()
    listed = sorted(path for path in (data / "manifests").rglob("*.tsv"))
    assert listed
    for path in listed:
        manifest = read_manifest(path)
        for index in range(min(3, len(manifest))):
            signal = manifest.signal_mv(index)
            assert signal.shape == (12, manifest.n_samples[index]) and np.isfinite(signal).mean() > 0.5
            assert 0.01 < np.nanmax(np.abs(signal)) < 50  # millivolt
    for label_set in built["label_sets"]:
        assert {path.stem for path in (data / "manifests" / label_set).glob("*.tsv")} >= {"train", "test"}
    if name == "physionet2021_id":
        listed = {path.stem for path in (data / "manifests" / "identification").iterdir()}
        assert listed >= {"train", "valid_gallery", "valid_probe"}
    check = ["manifest", "verify", str(data), "--raw", str(raw), "--sample", "0", *elsewhere]
    assert main(check) == 0, capsys.readouterr().out
    capsys.readouterr()
    assert main([*command, "--json", "--accept-counts"]) == 0
    assert '"was_finished": true' in capsys.readouterr().out
