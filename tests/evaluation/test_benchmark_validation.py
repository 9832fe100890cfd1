"""Benchmarks on small stores that their recipes build: what is missing is told, and an oracle scores 1."""

import json
import shutil

import pytest

from ecgtext_plugins.errors import BadStore
from ecgtext_plugins.evaluation import run_benchmark
from ecgtext_plugins.evaluation.benchmark import benchmark_names, load_benchmark, with_prompts
from ecgtext_plugins.evaluation.run_benchmark import check_recipe, label_matrix, run_zero_shot
from ecgtext_plugins.evaluation.validate_benchmark import build_command, validate
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.recipe import load_recipe
from tests.downloads import code_test, cpsc2018, csn, merl, physionet2021, ptbxl
from tests.evaluation.oracle import Oracle
from tests.evaluation.test_benchmark_definitions import CSN


def write_merl(raw, tables, dataset, argument, **options):
    merl.write_download(tables, **{argument: dataset.write_download(raw, **options)})


def write_identification(raw, tables):
    physionet2021.write_download(raw, 60, sources=("ptb-xl",), longest=5)
    rows = [{"ecg_id": str(number), "patient_id": f"{number // 2}.0"} for number in range(1, 61)]
    ptbxl.write_database(tables, rows)


DOWNLOADS = {
    "ptbxl": lambda raw, tables: ptbxl.write_download(raw, 60),
    "merl_ptbxl": lambda raw, tables: write_merl(raw, tables, ptbxl, "ptbxl_rows", n_records=60),
    "merl_cpsc2018": lambda raw, tables: write_merl(raw, tables, cpsc2018, "cpsc2018_rows", n_records=50),
    "merl_csn_published": lambda raw, tables: write_merl(raw, tables, csn, "csn_rows", n_records=60),
    "merl_csn_corrected": lambda raw, tables: write_merl(raw, tables, csn, "csn_rows", n_records=60),
    "code_test": lambda raw, tables: code_test.write_download(raw, 9),
    "physionet2021": lambda raw, tables: physionet2021.write_download(raw, 8, longest=10),
    "physionet2021_dx": lambda raw, tables: physionet2021.write_download(raw, 8, longest=10),
    "physionet2021_id": write_identification,
}
OTHERS = ("demo",)  # tests/cli builds it


def built(folder, name, write, percentage):
    """Write a dataset's raw files by `write(raw, tables)`, build its store with that subset of train; its folder."""
    (folder / "raw").mkdir()
    (folder / "tables").mkdir()
    write(folder / "raw", folder / "tables")
    recipe = load_recipe(name) | {"min_seconds": 0.5}
    if recipe["subsets"]:
        recipe["subsets"] |= {"percentages": [percentage]}
    tables = folder / "tables" if any((folder / "tables").iterdir()) else None
    build_store(recipe, folder / "raw", folder / "data", tables=tables)
    return folder / "data"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return the folder of a store of a recipe, built once; don't write into it."""
    folders = {}

    def build(name):
        if name not in folders:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(merl, "CSN", tuple(CSN))
                folders[name] = built(tmp_path_factory.mktemp(name), name, DOWNLOADS[name], 50)
        return folders[name]

    return build


def missing(benchmark, *folders):
    return [finding for finding in validate(benchmark, folders)[1] if finding.is_error]


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        (name, recipe)
        for name in benchmark_names()
        for recipe in load_benchmark(name).recipes
        if name not in OTHERS and recipe in DOWNLOADS
    ],
)
def test_nothing_is_missing_in_a_store_of_the_recipe(store, name, recipe):
    found, findings = validate(load_benchmark(name), [store(recipe)])
    assert found.corpus["recipe"]["name"] == recipe
    assert [finding for finding in findings if finding.is_error] == []
    (changed,) = (finding for finding in findings if finding.kind == "recipe")  # min_seconds: told, not refused
    assert "min_seconds 0.5 / 1" in changed.message and changed.command.endswith(f"--dest {found.folder} --rebuild")


def test_every_benchmark_is_validated():
    for name in benchmark_names():
        assert name in OTHERS or set(load_benchmark(name).recipes) <= set(DOWNLOADS)


@pytest.mark.parametrize("prompt_set", ["names", "expert"])
@pytest.mark.parametrize(
    "name", [name for name in benchmark_names() if name not in OTHERS and load_benchmark(name).vocabulary]
)
def test_an_oracle_scores_one(store, monkeypatch, name, prompt_set):
    """Labels, prompts and scores meet in the right columns; tables with columns in another order included."""
    benchmark = with_prompts(load_benchmark(name), prompt_set)
    oracle = Oracle(benchmark)
    monkeypatch.setattr(run_benchmark, "embed_manifest", lambda model, manifest, *rest: model.ecgs(manifest))
    result = run_zero_shot(oracle, benchmark, store(benchmark.recipes[0]))
    defined = {name: value for name, value in result["auroc"].items() if value is not None}
    assert set(defined.values()) == {1.0} and result["prompt_set"] == prompt_set
    json.dumps(result, allow_nan=False)


def test_labels_equal_those_of_the_download(store):
    """Of the sub-classes, whose columns stand in another order in test: MERL's own lists say what is meant."""
    folder = store("merl_ptbxl")
    benchmark = load_benchmark("ptbxl_sub")
    data = run_benchmark.RecordStore.open(folder)
    source = check_recipe(benchmark, data)
    manifest = run_benchmark.read_splits(data, "test", source.label_set)
    labels = merl.ptbxl_labels(ptbxl.write_download(folder.parent / "again", 60), "sub_class")
    matrix = label_matrix(benchmark, source, manifest)
    assert len(manifest) and len(manifest) < len(run_benchmark.read_splits(data, "all", source.label_set))
    for place, record in enumerate(manifest.record_ids):
        assert [name for name, there in zip(benchmark.classes, matrix[place], strict=True) if there] == [
            name for name in benchmark.classes if name in labels[str(int(record))]
        ]


@pytest.fixture
def copy(store, tmp_path):
    """Return a copy of a store to spoil."""
    return lambda name: shutil.copytree(store(name), tmp_path / name)


def test_no_store_and_no_fitting_store(store, tmp_path):
    (finding,) = missing(load_benchmark("csn"))
    assert finding.kind == "store" and "no store of recipe merl_csn_published" in finding.message
    tables = "--tables MERL/finetune/data_split"
    assert finding.command == f"ecgtext manifest build merl_csn_published --raw RAW {tables} --dest DATA"
    (finding,) = missing(load_benchmark("csn"), store("code_test"), tmp_path)
    assert f"({store('code_test')} of recipe code_test)" in finding.message
    found, findings = validate(load_benchmark("csn"), [tmp_path])
    assert found is None and "is not a finished record store" in findings[0].message
    with pytest.raises(BadStore, match="on merl_ptbxl or ptbxl; build one with `ecgtext manifest build merl_ptbxl"):
        check_recipe(load_benchmark("ptbxl_sub"), run_benchmark.RecordStore.open(store("code_test")))


def test_the_best_of_several_stores_is_taken(store):
    for folders in ([store("ptbxl"), store("merl_ptbxl")], [store("merl_ptbxl"), store("ptbxl")]):
        assert validate(load_benchmark("ptbxl_form"), folders)[0].folder == store("merl_ptbxl")
    assert validate(load_benchmark("ptbxl_all"), folders)[0].folder == store("ptbxl")


def change_corpus(folder, change):
    path = folder / "corpus.json"
    corpus = json.loads(path.read_text())
    change(corpus)
    path.write_text(json.dumps(corpus))


def test_label_set_and_class_that_are_not_there(copy):
    folder = copy("ptbxl")
    change_corpus(
        folder, lambda corpus: corpus.update(label_names=[n for n in corpus["label_names"] if "form" not in n])
    )
    (finding,) = missing(load_benchmark("ptbxl_form"), folder)
    assert finding.kind == "label set"
    assert "lacks label set form: it has super, sub, diagnostic, rhythm, all" in finding.message
    change_corpus(folder, lambda corpus: corpus["label_names"].remove("sub/_AVB"))
    (finding,) = missing(load_benchmark("ptbxl_sub"), folder)
    assert finding.kind == "classes" and "has no label sub/_AVB" in finding.message
    assert finding.command == f"ecgtext manifest build ptbxl --raw RAW --dest {folder} --rebuild"


def test_splits_that_are_not_there(copy):
    folder = copy("merl_ptbxl")
    (folder / "manifests" / "merl_form" / "test.tsv").unlink()
    (finding,) = missing(load_benchmark("ptbxl_form"), folder)
    assert finding.kind == "splits" and "split 'test'" in finding.message
    assert missing(load_benchmark("ptbxl_super"), folder) == []
    test = folder / "manifests" / "merl_super" / "test.tsv"
    test.write_text("\n".join(test.read_text().splitlines()[:2]) + "\n")
    (finding,) = missing(load_benchmark("ptbxl_super"), folder)
    assert finding.kind == "splits" and "lists no record" in finding.message


def test_patient_of_test_in_train(copy):
    folder = copy("merl_cpsc2018")
    train, test = (folder / "manifests" / f"{name}.tsv" for name in ("train", "test"))
    with open(test, "a") as handle:
        handle.write(train.read_text().splitlines()[2] + "\n")
    (finding,) = missing(load_benchmark("cpsc2018"), folder)
    assert finding.kind == "splits" and "1 patients are in both" in finding.message


def test_notes(store):
    notes = {finding.message for finding in validate(load_benchmark("code_test"), [store("code_test")])[1]}
    assert any("has no train or valid split: zero-shot only, no probe" in note for note in notes)
    findings = validate(load_benchmark("ptbxl_all"), [store("ptbxl")])[1]
    (undefined,) = (finding for finding in findings if "no record of split test carries" in finding.message)
    assert undefined.kind == "classes" and not undefined.is_error


def test_gallery_and_probe(copy):
    folder = copy("physionet2021_id")
    benchmark, place = load_benchmark("physionet2021_id"), folder / "manifests" / "identification"
    assert missing(benchmark, folder) == []
    probe = place / "test_probe.tsv"
    lines = probe.read_text().splitlines()
    probe.write_text("\n".join(lines[:-1]) + "\n")
    (finding,) = missing(benchmark, folder)
    assert "gallery and probe of split test are of different patients" in finding.message
    probe.unlink()
    (finding,) = missing(benchmark, folder)
    assert "has no manifests/identification/test_probe.tsv" in finding.message
    assert finding.command == (
        f"ecgtext manifest build physionet2021_id --raw RAW --tables PTBXL --dest {folder} --rebuild"
    )


def test_command_of_a_recipe_that_is_not_shipped():
    assert build_command("mine") == ""
