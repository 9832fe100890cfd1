import csv
import math

import numpy as np
import pytest
import scipy.io

from ecgtext_plugins.corpora.cpsc2018 import CLASSES, read_entry
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.readers import open_corpus
from ecgtext_plugins.errors import BadRawData, BadRecipe, BadRecord
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.recipe import load_recipe, resolve_recipe
from tests.downloads import cpsc2018, merl

ORDER = [found.label for found in CLASSES]
NAMES = {found.label: found.name for found in CLASSES}


def recipe_of(scheme="cpsc2018", **changes):
    labels = {"scheme": scheme} if scheme else None
    return resolve_recipe({**load_recipe("cpsc2018"), "labels": labels, **changes}, "test")


def read_all(raw, scheme="cpsc2018", tables=None, **changes):
    recipe = recipe_of(scheme, **changes)
    corpus = open_corpus(recipe, raw, tables)
    return corpus, [read_entry(RawFolder(raw), entry, recipe) for entry in corpus.entries(0, len(corpus.record_ids))]


def in_order(labels):
    return tuple(name for name in ORDER if name in labels)


@pytest.mark.parametrize("form", ["mat", "wfdb"])
def test_both_forms(tmp_path, form):
    rows = cpsc2018.write_download(tmp_path, form=form)
    corpus, records = read_all(tmp_path)
    assert corpus.label_names == ORDER == list(merl.CPSC)
    assert corpus.record_ids.to_pylist() == [row["record_id"] for row in rows]
    assert [name for _, name in corpus.table_files] == (["REFERENCE.csv"] if form == "mat" else [])
    column = ("mat", "wfdb").index(form)
    for record, row in zip(records, rows, strict=True):
        entry = record.entry
        assert entry.patient_id == row["record_id"] and (entry.age, entry.sex) == (row["age"], row["sex"][0])
        assert entry.labels == in_order(row["labels"])
        assert entry.codes == tuple(str(cpsc2018.CLASSES[name][column]) for name in row["labels"])
        assert entry.report == ", ".join(NAMES[name] for name in row["labels"])
        assert record.native_rate == 500 and record.missing_leads == 0
        np.testing.assert_array_equal(record.signal, row["signal"].astype(np.float32))
        assert (record.counts is None, record.step_uv) == ((True, None) if form == "mat" else (False, 1.0))


def test_forms_side_by_side_and_references_in_folders(tmp_path):
    first = cpsc2018.write_download(tmp_path / "a", 3, form="wfdb")
    (tmp_path / "b").mkdir()
    for row, name in zip(first, ("B1", "B2", "B3"), strict=True):
        cpsc2018.write_mat(tmp_path / "b" / f"{name}.mat", row["signal"])
        row["record_id"] = name
    cpsc2018.write_reference(tmp_path / "b" / "REFERENCE.csv", first)
    cpsc2018.write_reference(tmp_path / "c" / "reference.csv", first)  # the same rows again
    _, records = read_all(tmp_path)
    assert [record.entry.record_id for record in records] == ["A0001", "A0002", "A0003", "B1", "B2", "B3"]
    assert [record.entry.labels for record in records[:3]] == [record.entry.labels for record in records[3:]]
    first[0]["labels"] = ["STE"]
    cpsc2018.write_reference(tmp_path / "c" / "reference.csv", first)
    with pytest.raises(BadRawData, match="records with different classes in REFERENCE.csv .*B1"):
        read_all(tmp_path)


def test_a_reference_beside_the_download(tmp_path):
    rows = cpsc2018.write_download(tmp_path / "raw", 3)
    (tmp_path / "raw" / "REFERENCE.csv").rename(tmp_path / "REFERENCE.csv")
    with pytest.raises(BadRawData, match="no table REFERENCE.csv"):
        read_all(tmp_path / "raw")
    _, records = read_all(tmp_path / "raw", tables=tmp_path)
    assert [record.entry.labels for record in records] == [in_order(row["labels"]) for row in rows]
    corpus, records = read_all(tmp_path / "raw", scheme=None)  # nobody asks for labels
    assert corpus.label_names == [] and records[0].entry.report is None


def test_other_codes_stay_codes(tmp_path):
    rows = cpsc2018.write_download(tmp_path, 1, form="wfdb")
    header = tmp_path / "g1" / "A0001.hea"
    text = header.read_text()
    code = str(cpsc2018.CLASSES[rows[0]["labels"][0]][1])
    header.write_text(text.replace(f"Dx: {code}", f"Dx: 10370003,{code},999"))
    _, (record,) = read_all(tmp_path)
    assert record.entry.codes == ("10370003", code, "999") and record.entry.labels == tuple(rows[0]["labels"])
    assert record.entry.report == f"pacing rhythm, {NAMES[rows[0]['labels'][0]]}"


def test_rows_and_files_that_do_not_match(tmp_path):
    """Neither is left out silently: both become failures of the build."""
    rows = cpsc2018.write_download(tmp_path, 4)
    (tmp_path / "TrainingSet1" / "A0001.mat").unlink()
    cpsc2018.write_reference(tmp_path / "REFERENCE.csv", rows[:3])
    recipe = recipe_of()
    corpus = open_corpus(recipe, tmp_path)
    reasons = {}
    for entry in corpus.entries(0, 4):
        try:
            read_entry(RawFolder(tmp_path), entry, recipe)
        except BadRecord as error:
            reasons[entry.record_id] = error.reason
    assert reasons == {"A0001": "missing_signal_file", "A0004": "no_reference"}


def test_with_merl(tmp_path):
    rows = cpsc2018.write_download(tmp_path / "raw", 20)
    merl.write_icbeb(tmp_path / "tables", rows[:10])
    official = {"by": "official"}
    corpus, records = read_all(tmp_path / "raw", "merl", tmp_path / "tables", split=official)
    assert [record.entry.record_id for record in records] == [row["record_id"] for row in rows[:10]]
    splits = [{"val": "valid"}.get(name, name) for name in map(merl.split_of, range(10))]
    assert [record.entry.split for record in records] == splits
    assert [record.entry.labels for record in records] == [in_order(row["labels"]) for row in rows[:10]]
    corpus, records = read_all(tmp_path / "raw", ["cpsc2018", "merl"], tmp_path / "tables")
    for record, row in zip(records, rows, strict=False):
        both = [f"{scheme}/{name}" for scheme in ("cpsc2018", "merl") for name in in_order(row["labels"])]
        assert list(record.entry.labels) == both
    merl.write_icbeb(tmp_path / "tables", [*rows, {"record_id": "A6877", "labels": ["NORM"]}])
    with pytest.raises(BadRawData, match=r"lacks 1 of the 21 records of MERL's tables \(A6877\)"):
        read_all(tmp_path / "raw", "merl", tmp_path / "tables")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda text: text.replace("First_label", "Label"), "REFERENCE.csv has no column First_label"),
        (lambda text: text.replace("A0002,", "A0002,1"), r"First_label '1\d' for recording A0002: expected a class"),
        (lambda text: "\n".join([*text.splitlines(), "A0009,,,"]), "First_label '' for recording A0009"),
        (lambda text: "\n".join([*text.splitlines(), "A0002,1,2,3"]), "different classes in REFERENCE.csv .*A0002"),
        (lambda text: "", "REFERENCE.csv is not a readable CSV table"),
    ],
)
def test_bad_references(tmp_path, change, message):
    cpsc2018.write_download(tmp_path, 3)
    path = tmp_path / "REFERENCE.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(BadRawData, match=message):
        read_all(tmp_path)


def test_tolerated_references(tmp_path):
    cpsc2018.write_download(tmp_path, 4)
    _, before = read_all(tmp_path)
    path = tmp_path / "REFERENCE.csv"
    text = path.read_text()
    extra = "\n".join(f"{line},x" for line in text.splitlines())
    decimals = "\n".join(
        ",".join(f"{c}.0" if c.isdigit() else c for c in line.split(",")) for line in text.splitlines()
    )
    for form in (text.replace(",", ";"), extra, decimals, text.replace("\n", "\r\n")):
        path.write_text(form, encoding="utf-8-sig")
        _, after = read_all(tmp_path)
        assert [record.entry for record in after] == [record.entry for record in before]


def test_refusals(tmp_path):
    with pytest.raises(BadRawData, match="not CPSC 2018: no .mat and no .hea file"):
        read_all(tmp_path)
    cpsc2018.write_download(tmp_path, 3)
    with pytest.raises(BadRawData, match="exclude_sources .* leaves none"):
        read_all(tmp_path, exclude_sources=["TrainingSet1", "TrainingSet2", "TrainingSet3"])
    corpus, _ = read_all(tmp_path, exclude_sources=["TrainingSet2"])
    assert corpus.record_ids.to_pylist() == ["A0001", "A0003"]
    cpsc2018.write_mat(tmp_path / "copy" / "A0002.mat", np.zeros((12, 5)))
    with pytest.raises(BadRawData, match="record names .* more than once .*A0002"):
        read_all(tmp_path)
    with pytest.raises(BadRecipe, match="split.by is official, but labels.scheme holds no set of MERL"):
        recipe_of(split={"by": "official"})
    with pytest.raises(BadRecipe, match="subsets.method is published"):
        recipe_of(subsets={"percentages": [1], "method": "published"})


ECG = np.linspace(-1, 1, 240).reshape(12, 20)


@pytest.mark.parametrize(
    "variables, reason, message",
    [
        ({"val": ECG}, "mat_file", "no struct ECG: expected a MATLAB 5 file with a struct ECG"),
        ({"ECG": ECG}, "mat_file", "not a 1 x 1 struct"),
        ({"ECG": {"sex": "Male", "age": 5}}, "shape", "no array of numbers in ECG.data"),
        ({"ECG": {"data": ECG.T}}, "shape", "20 x 12 in ECG.data: expected 12 leads x samples"),
        ({"ECG": {"data": ECG[:8]}}, "shape", "8 x 20"),
        ({"ECG": {"data": np.zeros((12, 0))}}, "shape", "12 x 0"),
        ({"ECG": {"data": np.zeros((12, 4, 2))}}, "shape", "12 x 4 x 2"),
        ({"ECG": {"data": np.array([[1, "a"]] * 12, dtype=object)}}, "shape", "no array of numbers"),
        ({"ECG": {"data": ECG + 1j}}, "shape", "no array of numbers"),
        ({"ECG": {"data": "text"}}, "shape", "no array of numbers"),
        ({"ECG": {"data": ECG * 2000}}, "amplitude", "reaches 2000 mV"),
        ({"ECG": {"data": np.full((12, 3), np.inf)}}, "amplitude", "reaches inf mV"),
        ({"ECG": {"data": np.full((12, 3), 1e300)}}, "amplitude", "reaches inf mV"),
    ],
)
def test_hostile_recordings(tmp_path, variables, reason, message):
    cpsc2018.write_download(tmp_path, 3)
    scipy.io.savemat(tmp_path / "TrainingSet1" / "A0001.mat", variables)
    with pytest.raises(BadRecord, match=f"record A0001.*{message}") as caught:
        read_all(tmp_path)
    assert caught.value.reason == reason


def test_damaged_recordings(tmp_path):
    cpsc2018.write_download(tmp_path, 3)
    path = tmp_path / "TrainingSet1" / "A0001.mat"
    content = path.read_bytes()
    for damage in (b"", content[:100], content[:-10], content[:200], b"MATLAB 7.3 MAT-file".ljust(500)):
        path.write_bytes(damage)
        with pytest.raises(BadRecord) as caught:
            read_all(tmp_path)
        assert caught.value.reason == "mat_file"


def test_what_a_recording_may_lack(tmp_path):
    cpsc2018.write_download(tmp_path, 3)
    holed = ECG.copy()
    holed[3, 5] = np.nan
    scipy.io.savemat(tmp_path / "TrainingSet1" / "A0001.mat", {"ECG": {"data": holed, "age": np.nan, "sex": "?"}})
    cpsc2018.write_mat(tmp_path / "TrainingSet2" / "A0002.mat", (ECG * 100).astype(np.int16), age=[1, 2])
    _, records = read_all(tmp_path)
    assert math.isnan(records[0].entry.age) and records[0].entry.sex == ""
    assert np.isnan(records[0].signal).sum() == 1 and np.isnan(records[0].signal[3, 5])
    assert math.isnan(records[1].entry.age) and records[1].signal.dtype == np.float32


def test_real_recordings_equal_scipys(shared):
    raw = shared / "data" / "cpsc2018"
    corpus, records = read_all(raw, scheme=None)
    assert corpus.record_ids.to_pylist() == ["A1980", "A1981", "A1982"]
    assert [(record.entry.age, record.entry.sex) for record in records] == [(52, "M"), (48, "F"), (89, "M")]
    for record in records:
        data = scipy.io.loadmat(raw / f"{record.entry.record_id}.mat")["ECG"]["data"][0, 0]
        np.testing.assert_array_equal(record.signal, data.astype(np.float32))
        i, ii, iii, avr, avl, avf = record.signal[:6]  # the order I II III aVR aVL aVF, by Einthoven and Goldberger
        for identity in (ii - i - iii, avr + (i + ii) / 2, avl - i + ii / 2, avf - ii + i / 2):
            assert np.abs(identity).max() < 0.0011
    assert [record.signal.shape[1] for record in records] == [5000, 7950, 5000]


def test_classes_against_the_challenge_s_counts(shared):
    """MERL's class sizes are those that the Challenge tells for the codes in CPSC's headers."""
    of_code = {}
    for name in ("scored", "unscored"):
        with open(shared / "data" / "challenge2021" / f"dx_mapping_{name}.csv", newline="") as handle:
            of_code.update({row["SNOMEDCTCode"]: int(row["CPSC"]) for row in csv.DictReader(handle)})
    sizes = dict.fromkeys(ORDER, 0)
    for split in merl.SPLITS:
        with open(shared / "data" / "merl_splits" / "icbeb" / f"icbeb_{split}.csv", newline="") as handle:
            for row in csv.DictReader(handle):
                for name in ORDER:
                    sizes[name] += row[name] == "1"
    assert {found.label: of_code[found.code] for found in CLASSES} == sizes
    assert sum(of_code.values()) == sum(sizes.values())  # no other code is in use


@pytest.mark.parametrize("form", ["mat", "wfdb"])
def test_into_a_store(tmp_path, form):
    """Whatever the length, up to 10 s; rounded to a microvolt where the file holds no integers."""
    rows = cpsc2018.write_download(tmp_path / "raw", 12, form=form)
    long = np.concatenate([rows[0]["signal"]] * 11, axis=1)
    if form == "mat":
        cpsc2018.write_mat(tmp_path / "raw" / "TrainingSet1" / "A0001.mat", long)
        scipy.io.savemat(tmp_path / "raw" / "TrainingSet1" / "A0002.mat", {"ECG": {"data": long[:8]}})
    recipe = recipe_of(expected=None, subsets=None)
    store = build_store(recipe, tmp_path / "raw", tmp_path / "data").store
    assert store.corpus["failures"] == ({"shape": 1} if form == "mat" else {})
    by_id = {row["record_id"]: row["signal"] for row in rows}
    for row, record_id in enumerate(store.column("record_id")):
        expected = long[:, :5000] if form == "mat" and record_id == "A0001" else by_id[record_id]
        assert store.signal_mv(row).shape == expected.shape
        assert np.abs(store.signal_mv(row) - expected).max() < 0.0005001
    matrix = store.label_matrix(np.arange(len(store)), ORDER)
    assert matrix.sum(axis=1).tolist() == [len(row["labels"]) for row in rows if row["record_id"] in store_ids(store)]


def store_ids(store):
    return set(store.column("record_id"))
