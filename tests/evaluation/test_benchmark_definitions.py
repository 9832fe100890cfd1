"""The shipped benchmarks: classes of the datasets and of MERL's files, recipes that exist, figures of the papers."""

import csv

import pytest

from ecgtext_plugins.corpora.snomed import scored_labels
from ecgtext_plugins.evaluation._benchmark_keys import METRICS, OPTIONAL, REQUIRED, WINDOWS
from ecgtext_plugins.evaluation.benchmark import benchmark_names, load_benchmark
from ecgtext_plugins.recipes import recipes_root
from ecgtext_plugins.store.listing import label_sets
from ecgtext_plugins.store.recipe import load_recipe
from tests.downloads import csn, merl, ptbxl

CSN = (
    "AQW UW SR WPW 2AVB AT VB ARS STTC SA STE VPB TWO STTU ALS APB 2AVB1 PRIE CCR CR AF AVB QTIE LBBB VEB SVT RBBB "
    "1AVB STDD MI AFIB TWC PWC ERV RVH LVH ST JEB"
).split()
CLASSES = {
    **{"ptbxl_super": merl.SUPER, "ptbxl_sub": merl.SUB, "ptbxl_form": merl.FORM, "ptbxl_rhythm": merl.RHYTHM},
    **{"ptbxl_all": sorted(code for code, *_ in ptbxl.statements())},
    **{"cpsc2018": merl.CPSC, "cpsc2018_merl": merl.CPSC, "csn": CSN, "csn_corrected": CSN},
    **{"code_test": ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST"), "physionet2021_dx": scored_labels()},
    **{"physionet2021_id": ()},
}
FILES = {  # of MERL: folder and stem, and how many columns stand before the labels
    "ptbxl_super": ("ptbxl/super_class/ptbxl_super_class", 6),
    "ptbxl_sub": ("ptbxl/sub_class/ptbxl_sub_class", 6),
    "ptbxl_form": ("ptbxl/form/ptbxl_form", 6),
    "ptbxl_rhythm": ("ptbxl/rhythm/ptbxl_rhythm", 6),
    "cpsc2018": ("icbeb/icbeb", 7),
    "cpsc2018_merl": ("icbeb/icbeb", 7),
    "csn": ("chapman/chapman", 3),
    "csn_corrected": ("chapman/chapman", 3),
}
ZERO_SHOT = {  # D-BETA, MERL
    "ptbxl_super": (76.2, 74.2),
    "ptbxl_sub": (75.9, 75.7),
    "ptbxl_form": (66.1, 65.9),
    "ptbxl_rhythm": (88.6, 78.5),
    "cpsc2018_merl": (80.1, 82.8),
    "csn": (76.3, 74.4),
}
LINEAR_PROBE = {  # 1, 10 and 100 %
    "D-BETA": {
        "ptbxl_super": (83.15, 88.36, 90.11),
        "ptbxl_sub": (77.74, 82.92, 85.15),
        "ptbxl_form": (70.10, 78.91, 83.98),
        "ptbxl_rhythm": (86.61, 92.83, 96.71),
        "cpsc2018_merl": (85.46, 91.35, 94.92),
        "csn": (80.04, 87.36, 90.71),
    },
    "MERL": {
        "ptbxl_super": (82.39, 86.27, 88.67),
        "ptbxl_sub": (64.90, 80.56, 84.72),
        "ptbxl_form": (58.26, 72.43, 79.65),
        "ptbxl_rhythm": (53.33, 82.88, 88.34),
        "cpsc2018_merl": (70.33, 85.32, 90.57),
        "csn": (66.60, 82.74, 87.95),
    },
}


@pytest.mark.parametrize("name", CLASSES)
def test_classes_and_their_order(name):
    benchmark = load_benchmark(name)
    assert list(benchmark.classes) == list(CLASSES[name]) and list(benchmark.prompts) == list(CLASSES[name])
    assert all(codes == (code,) for code, codes in benchmark.classes.items())


def test_counts():
    names = ("ptbxl_super", "ptbxl_sub", "ptbxl_form", "ptbxl_rhythm", "cpsc2018", "csn", "code_test")
    assert [len(load_benchmark(name).classes) for name in names] == [5, 23, 19, 12, 9, 38, 6]
    assert len(load_benchmark("ptbxl_all").classes) == 71 and len(load_benchmark("physionet2021_dx").classes) == 26


@pytest.mark.parametrize("name", FILES)
def test_classes_are_the_columns_of_merls_files(shared, name):
    stem, before = FILES[name]
    for split in ("train", "val", "test"):
        with open(shared / "data" / "merl_splits" / f"{stem}_{split}.csv", newline="", encoding="utf-8") as handle:
            columns = next(csv.reader(handle))[before:]
        assert set(columns) == set(load_benchmark(name).classes) and len(columns) == len(set(columns))
        in_order = columns == list(load_benchmark(name).classes)
        assert in_order or (name == "ptbxl_sub" and split != "train"), split


@pytest.mark.parametrize("name", benchmark_names())
def test_recipes_are_shipped_and_have_the_label_sets(name):
    benchmark = load_benchmark(name)
    assert benchmark.name == name and benchmark.split == "test" and benchmark.version >= 1
    for source in benchmark.sources:
        recipe = load_recipe(source.recipe)
        assert recipe["name"] == source.recipe
        sets = label_sets(recipe)
        assert source.label_set in sets if sets else source.label_set is None
        assert (recipe["segments"] is not None) == (benchmark.window == "windows")
        assert recipe["identification"] or benchmark.task != "identification"
    assert benchmark.citation or name in ("demo", "physionet2021_scored")


def test_which_labels_of_csn():
    assert load_benchmark("csn").recipes == ["merl_csn_published"]
    assert load_benchmark("csn_corrected").recipes == ["merl_csn_corrected"]
    assert set(CSN) <= set(csn.codes())


@pytest.mark.parametrize(("name", "scheme"), [("ptbxl_sub", "sub"), ("ptbxl_form", "form")])
def test_spellings_of_ptbxl_itself(name, scheme):
    """The store of recipe ptbxl has the statements' own spellings, such as _AVB and NST_."""
    of_ptbxl = load_benchmark(name).sources[1]
    if scheme == "sub":
        spelled = {subclass for _, flags, _, subclass in ptbxl.statements() if "d" in flags}
    else:
        spelled = {code for code, flags, *_ in ptbxl.statements() if "f" in flags}
    assert of_ptbxl.recipe == "ptbxl"
    assert {of_ptbxl.label(code) for code in load_benchmark(name).classes} == {f"{scheme}/{code}" for code in spelled}


def test_window_rules():
    assert load_benchmark("cpsc2018").window == "whole" and load_benchmark("cpsc2018_merl").window == "first_2500"
    rules = {name: load_benchmark(name).window for name in benchmark_names()}
    assert {name for name, rule in rules.items() if rule == "windows"} == {"physionet2021_dx", "physionet2021_id"}
    assert {name for name, rule in rules.items() if rule == "first_2500"} == {"cpsc2018_merl"}


@pytest.mark.parametrize("name", ZERO_SHOT)
def test_published_figures(name):
    assert load_benchmark(name).published == {
        model: {
            "zero_shot": ZERO_SHOT[name][place],
            "linear_probe": dict(zip((1, 10, 100), LINEAR_PROBE[model][name], strict=True)),
        }
        for place, model in enumerate(("D-BETA", "MERL"))
    }


def test_other_published_figures():
    dx, identity = load_benchmark("physionet2021_dx"), load_benchmark("physionet2021_id")
    assert dx.leads == identity.leads == ("12", "6", "3", "2", "1")
    assert (dx.metric, identity.metric) == ("cinc_score", "accuracy")
    assert dx.published == {"D-BETA": {"fine_tuning": {12: 85.7, 6: 81.1, 3: 84.2, 2: 81.9, 1: 76.5}}}
    assert identity.published == {"D-BETA": {"fine_tuning": {12: 65.4, 6: 57.3, 3: 60.5, 2: 57.7, 1: 41.1}}}
    assert load_benchmark("code_test").published == {"D-BETA": {"zero_shot": 96.79}}
    of_merl = load_benchmark("cpsc2018_merl").published["D-BETA"]
    assert load_benchmark("cpsc2018").published == {"D-BETA": of_merl}
    assert load_benchmark("csn_corrected").published == {}


def test_readme_names_every_benchmark_and_key():
    text = (recipes_root() / "manifests" / "benchmarks" / "README.md").read_text("utf-8")
    plain = [name for name in benchmark_names() if not name.startswith("transfer_")]
    assert [name for name in [*plain, *REQUIRED, *OPTIONAL, *METRICS, *WINDOWS] if f"`{name}`" not in text] == []
