import csv

import numpy as np
import pyarrow as pa
import pytest

from ecgtext_plugins.corpora.label_sets import LabelSets
from ecgtext_plugins.corpora.merl_sets import MerlSets
from ecgtext_plugins.corpora.merl_tables import MERL, MerlTable
from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables
from ecgtext_plugins.corpora.readers import open_corpus
from ecgtext_plugins.errors import BadRawData
from ecgtext_plugins.store.recipe import load_recipe, resolve_recipe
from tests.downloads import merl, ptbxl

SIZES = {  # train, valid, test, 1 %, 10 %: reference/dbeta.md 6.1 and 6.3
    "merl_super": (17084, 2146, 2158, 170, 1708),
    "merl_sub": (17084, 2146, 2158, 170, 1708),
    "merl_form": (7197, 901, 880, 71, 719),
    "merl_rhythm": (16832, 2100, 2098, 168, 1683),
    "merl": (4950, 551, 1376, 49, 495),
    "merl_published": (16546, 1860, 4620, 165, 1654),
    "merl_corrected": (16546, 1860, 4620, 165, 1654),
}
CLASSES = {
    "merl_super": "HYP NORM MI CD STTC",
    "merl_sub": "AMI LAFB/LPFB LVH STTC IMI SEHYP CRBBB WPW LAO/LAE NORM AVB RAO/RAE ISC LMI ISCI ISCA NST CLBBB ILBBB "
    "IRBBB PMI RVH IVCD",
    "merl_form": "PAC DIG HVOLT STD LPR QWAVE VCLVH NDT TAB LOWT ABQRS LNGQT PRC(S) NT STE NST PVC INVT LVOLT",
    "merl_rhythm": "SVARR BIGU STACH SARRH SBRAD TRIGU AFIB SR SVTAC PSVT AFLT PACE",
    "merl": "AFIB VPC NORM 1AVB CRBBB STE PAC CLBBB STD",
    "merl_published": "AQW UW SR WPW 2AVB AT VB ARS STTC SA STE VPB TWO STTU ALS APB 2AVB1 PRIE CCR CR AF AVB QTIE "
    "LBBB VEB SVT RBBB 1AVB STDD MI AFIB TWC PWC ERV RVH LVH ST JEB",
}
CLASSES["merl_corrected"] = CLASSES["merl_published"]
TEST_POSITIVES = {
    "merl_super": dict(HYP=262, NORM=963, MI=550, CD=496, STTC=521),
    "merl_form": {"PRC(S)": 1, "TAB": 3, "STE": 3, "HVOLT": 6},
    "merl_rhythm": dict(TRIGU=2, PSVT=2, SVTAC=3),
    "merl": dict(zip(CLASSES["merl"].split(), (250, 143, 184, 155, 357, 38, 120, 49, 162), strict=True)),
    "merl_published": {"VB": 169, "AVB": 169, "AF": 987, "ST": 1281, "SA": 536, "CR": 50, "2AVB": 4},
    "merl_corrected": {"VB": 0, "AVB": 39, "AF": 690, "ST": 1030, "SA": 395, "CR": 12, "2AVB": 3},
}
POSITIVES = {
    "merl_published": {"VB": 916, "AVB": 913, "AF": 4753, "ST": 6338, "SA": 2828, "CR": 216, "2AVB": 38},
    "merl_corrected": {"VB": 3, "AVB": 176, "AF": 3340, "ST": 5154, "SA": 2107, "CR": 75, "2AVB": 22},
}
WITHOUT_POSITIVE = {  # classes without one in the 1 % and 10 % subsets: reference/dbeta.md 6.3
    **{"merl_sub": (1, 0), "merl_form": (4, 1), "merl_rhythm": (4, None), "merl": (1, None)},
    **{"merl_published": (7, None)},
}


@pytest.fixture(scope="module")
def real(shared):
    tables = Tables((RawFolder(shared / "data" / "merl_splits"),))
    return {scheme: MerlTable(tables, scheme) for scheme in MERL}


def matrix(table: MerlTable, ids) -> np.ndarray:
    place = {name: index for index, name in enumerate(table.names)}
    found = np.zeros((len(ids), len(place)), dtype=int)
    for row, labels in enumerate(table.of(ids)):
        found[row, [place[label] for label in labels]] = 1
    return found


@pytest.mark.parametrize("scheme", SIZES)
def test_real_sizes_classes_and_positives(real, scheme):
    table = real[scheme]
    splits = table.splits.to_pylist()
    assert tuple(splits.count(name) for name in ("train", "valid", "test")) == SIZES[scheme][:3]
    assert table.names == CLASSES[scheme].split()
    assert len(set(table.ids.to_pylist())) == len(splits)
    found = matrix(table, table.ids)
    of_test = found[np.array(splits) == "test"].sum(axis=0)
    for name, count in TEST_POSITIVES.get(scheme, {}).items():
        assert of_test[table.names.index(name)] == count, name
    for name, count in POSITIVES.get(scheme, {}).items():
        assert found.sum(axis=0)[table.names.index(name)] == count, name


@pytest.mark.parametrize("scheme", SIZES)
def test_recipes_expect_what_the_real_tables_say(real, scheme):
    """Sizes and counts of the shipped recipes, from the tables themselves."""
    name = {"merl": "merl_cpsc2018"}.get(scheme, "merl_ptbxl" if scheme in CLASSES and "csn" not in scheme else "")
    name = f"merl_csn_{scheme[5:]}" if scheme in ("merl_published", "merl_corrected") else name
    expected, table = load_recipe(name)["expected"], real[scheme]
    sizes = (expected["label_sets"] or {scheme: expected["splits"]})[scheme]
    assert tuple(sizes[split] for split in ("train", "valid", "test")) == SIZES[scheme][:3]
    prefix = f"{scheme}/" if expected["label_sets"] else ""
    counts = dict(zip(table.names, matrix(table, table.ids).sum(axis=0).tolist(), strict=True))
    stated = {key.removeprefix(prefix): count for key, count in expected["labels"].items() if key.startswith(prefix)}
    assert stated == counts


def test_the_other_recipes_expect_the_same(real):
    """The benchmark's label sets and CPSC's classes are MERL's, as test_ptbxl and test_cpsc2018 show."""
    expected = load_recipe("ptbxl")["expected"]
    for name in ("super", "sub", "form", "rhythm"):
        sizes = expected["label_sets"][name]
        assert tuple(sizes[split] for split in ("train", "valid", "test")) == SIZES[f"merl_{name}"][:3]
    table = real["merl_super"]
    counts = dict(zip(table.names, matrix(table, table.ids).sum(axis=0).tolist(), strict=True))
    assert {label.removeprefix("super/"): count for label, count in expected["labels"].items()} == counts
    assert load_recipe("cpsc2018")["expected"]["labels"] == load_recipe("merl_cpsc2018")["expected"]["labels"]


def test_real_sub_classes_are_read_by_name(real, shared):
    """The columns of val and test stand elsewhere than train's; each row's own list tells what is meant."""
    table, place = real["merl_sub"], 0
    labels = table.of(table.ids)
    for file in ("train", "val", "test"):
        path = shared / "data" / "merl_splits" / "ptbxl" / "sub_class" / f"ptbxl_sub_class_{file}.csv"
        with open(path, newline="") as handle:
            for row in csv.DictReader(handle):
                listed = {each.strip("'_") for each in row["sub_class"].strip("[]").split(", ")}
                assert set(labels[place]) == listed
                place += 1
    assert place == len(labels)


def test_real_wrong_columns_are_exactly_seven(real):
    published, corrected = (matrix(real[scheme], real[scheme].ids) for scheme in ("merl_published", "merl_corrected"))
    wrong = np.flatnonzero((published != corrected).any(axis=0))
    assert {real["merl_published"].names[place] for place in wrong} == set(POSITIVES["merl_corrected"])
    assert (published >= corrected).all()  # a name inside another is all that went wrong


@pytest.mark.parametrize("scheme", SIZES)
def test_real_subsets(real, scheme, shared):
    table = real[scheme]
    small, large, whole = table.subset(1), table.subset(10), table.subset(100)
    assert (len(small), len(large), len(whole)) == (*SIZES[scheme][3:], SIZES[scheme][0])
    assert whole == table.ids.to_pylist()[: SIZES[scheme][0]]
    # scikit-learn draws a permutation and gives the part after the test rows to train: the rule written out
    shuffled = np.random.RandomState(42).permutation(len(whole))
    first = len(whole) - len(small)
    assert small == [whole[row] for row in shuffled[first : first + len(small)]]
    for subset, absent in zip((small, large), WITHOUT_POSITIVE.get(scheme, (None, None)), strict=True):
        if absent is not None:
            assert (matrix(table, pa.array(subset)).sum(axis=0) == 0).sum() == absent


def test_real_union_of_the_ptbxl_sets(real, shared):
    """All records of PTB-XL 1.0.3, in the splits of its folds, without a contradiction."""
    recipe = load_recipe("merl_ptbxl")
    sets = MerlSets(Tables((RawFolder(shared / "data" / "merl_splits"),)), recipe, LabelSets(recipe))
    splits = sets.splits(sets._ids)
    assert {name: splits.count(name) for name in set(splits)} == recipe["expected"]["splits"]
    assert list(sets.published_subsets) == [
        f"{scheme}/train_{percentage}pct" for scheme in recipe["labels"]["scheme"] for percentage in (1, 10)
    ]
    assert len(sets.files) == 12


# --- synthetic tables ---


def recipe_of(scheme="merl_super", **changes):
    changed = {**load_recipe("merl_ptbxl"), "labels": {"scheme": scheme}, "subsets": None, **changes}
    return resolve_recipe(changed, "test")


@pytest.fixture
def download(tmp_path):
    """A download of 60 records and MERL's super_class and rhythm tables for them."""
    rows = ptbxl.write_download(tmp_path / "raw", 60, seconds=0.02)
    labels = {row["ecg_id"]: [merl.SUPER[index % 5]] for index, row in enumerate(rows)}
    merl.write_ptbxl(tmp_path / "tables", rows, "super_class", labels)
    merl.write_ptbxl(tmp_path / "tables", rows, "rhythm", {row["ecg_id"]: ["SR"] for row in rows}, merl.RHYTHM)
    return tmp_path


def opened(download, scheme="merl_super", **changes):
    return open_corpus(recipe_of(scheme, **changes), download / "raw", download / "tables")


def table_path(download, split="train", name="super_class"):
    return download / "tables" / "ptbxl" / name / f"ptbxl_{name}_{split}.csv"


def test_subsets_of_a_corpus(download):
    corpus = opened(download, subsets={"percentages": [2.5, 10], "method": "published"})
    assert list(corpus.published_subsets) == ["train_2.5pct", "train_10pct"]
    train = {entry.record_id for entry in corpus.entries(0, 60) if entry.split == "train"}
    assert len(train) == 48 and set(corpus.published_subsets["train_10pct"]) < train
    assert [len(ids) for ids in corpus.published_subsets.values()] == [1, 4]
    assert opened(download, subsets=None).published_subsets == {}
    assert opened(download, subsets={"percentages": [10], "method": "nested"}).published_subsets == {}
    with pytest.raises(BadRawData, match="0.1 % of the 48 training records of merl_super cannot be drawn"):
        opened(download, subsets={"percentages": [0.1], "method": "published"})


def test_the_user_s_folder_comes_before_the_download(download, tmp_path):
    (download / "raw" / "ptbxl").mkdir()
    assert len(opened(download).record_ids) == 60
    with pytest.raises(BadRawData, match="no table ptbxl/super_class/ptbxl_super_class_train.csv in"):
        open_corpus(recipe_of(), download / "raw")


def test_an_extra_column_of_val_or_test_does_no_harm(download):
    before = opened(download).entries(0, 60)
    path = table_path(download, "val")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([f"note,{lines[0]}", *(f"x,{line}" for line in lines[1:])]) + "\n")
    assert opened(download).entries(0, 60) == before


@pytest.mark.parametrize("form", ["utf-8-sig", "semicolons"])
def test_tolerated_forms(download, form):
    before = opened(download, "merl_rhythm").entries(0, 60)
    for split in merl.SPLITS:
        path = table_path(download, split, "rhythm")
        text = path.read_text()
        path.write_text(text.replace(",", ";") if form == "semicolons" else text, encoding="utf-8-sig")
    assert opened(download, "merl_rhythm").entries(0, 60) == before


def test_bad_tables(download):
    path = table_path(download, "test")
    good = path.read_text()

    def refused(text, message, scheme="merl_super"):
        path.write_text(text)
        with pytest.raises(BadRawData, match=message):
            opened(download, scheme)
        path.write_text(good)

    lines = good.splitlines()
    refused(good.replace("NORM", "NORMAL", 1), r"super_class_test.csv has no column NORM .*is it NORMAL\?")
    refused(lines[0] + "\n", "super_class_test.csv lists no record")
    refused("\n".join([lines[0], lines[1][:-1] + "2", *lines[2:]]), "has '2' in the column HYP: expected 0 or 1")
    refused("\n".join([lines[0], lines[1][:-1], *lines[2:]]), "has '' in the column HYP")
    refused("\n".join([*lines, lines[1]]), "records in MERL's tables of merl_super are there more than once")
    of_train = table_path(download).read_text().splitlines()[1]
    refused("\n".join([*lines, of_train]), "records in MERL's tables of merl_super are there more than once .*00001")
    refused(good.replace("ecg_id", "id", 1), "has no column ecg_id")
    refused("\n".join([lines[0], "," + lines[1].partition(",")[2]]), "super_class_test.csv has a row without ecg_id")
    path.unlink()
    with pytest.raises(BadRawData, match="no table ptbxl/super_class/ptbxl_super_class_test.csv"):
        opened(download)
    path.write_text(good)
    opened(download)


def test_ids_that_the_download_lacks(download):
    path = table_path(download, "test")
    path.write_text(path.read_text() + "21000,1.0,10,x,y,[],0,0,0,0,1\n")
    with pytest.raises(BadRawData, match=r"ptbxl_database.csv lacks 1 of the 61 records of MERL's tables \(21000\)"):
        opened(download)


def test_two_sets_that_disagree_about_a_split(download):
    """A record of train in one set and of test in another."""
    train, test = table_path(download, "train", "rhythm"), table_path(download, "test", "rhythm")
    header, first, *others = train.read_text().splitlines()
    train.write_text("\n".join([header, *others]))
    test.write_text(test.read_text() + first + "\n")
    with pytest.raises(BadRawData, match="different splits of MERL's merl_super, merl_rhythm .*00001"):
        opened(download, ["merl_super", "merl_rhythm"])
    assert len(opened(download, "merl_rhythm").record_ids) == 60


def test_a_train_table_without_or_with_double_labels(download):
    path = table_path(download)
    good = path.read_text()
    path.write_text("\n".join(line.rsplit(",", 5)[0] for line in good.splitlines()))
    with pytest.raises(BadRawData, match="has the label columns none: expected one a class"):
        opened(download)
    path.write_text(good.replace("MI", "NORM", 1))
    with pytest.raises(BadRawData, match="NORM"):
        opened(download)


def test_excluded_records_are_left_out_without_complaint(download):
    corpus = opened(download, exclude_sources=["records500/01000"])
    assert 0 < len(corpus.record_ids) < 60
    assert all(int(record) < 1000 for record in corpus.record_ids.to_pylist())
