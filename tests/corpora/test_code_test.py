import csv

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from ecgtext_plugins.corpora.lead_order import lead_order
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.readers import READERS, open_corpus
from ecgtext_plugins.corpora.tracing_records import strip_padding
from ecgtext_plugins.errors import BadRawData, BadRecipe, BadRecord
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.recipe import load_recipe, resolve_recipe
from tests.downloads import code_test as download

READER = READERS["code_test"]


def recipe_of(**options):
    recipe = load_recipe("code_test")
    return resolve_recipe({**recipe, "options": {**recipe["options"], **options}}, "test")


def records_of(raw, **options):
    recipe = recipe_of(**options)
    corpus = open_corpus(recipe, raw)
    return [READER.read_entry(RawFolder(raw), entry, recipe) for entry in corpus.entries(0, len(corpus.record_ids))]


def edit_hdf5(raw, change):
    with h5py.File(raw / "ecg_tracings.hdf5", "a") as file:
        tracings = file["tracings"][()]
        del file["tracings"]
        change(file, tracings)


@pytest.fixture
def raw(tmp_path):
    download.write_download(tmp_path)
    return tmp_path


def test_tracings_tables_and_leads_by_name(tmp_path):
    rows = download.write_download(tmp_path, 7, seed=3)
    records = records_of(tmp_path)
    assert [record.entry.record_id for record in records] == [row["id"] for row in rows]
    for row, record in zip(rows, records, strict=True):
        entry = record.entry
        np.testing.assert_array_equal(record.signal, row["signal"].astype(np.float32))
        assert (record.native_rate, record.step_uv, record.counts, record.missing_leads) == (400.0, None, None, 0)
        assert (entry.age, entry.sex, entry.patient_id, entry.split) == (row["age"], row["sex"], row["id"], "test")
        assert entry.report is None
        gold = zip(download.LABELS, row["gold_standard"], strict=True)
        assert entry.labels == tuple(label for label, there in gold if there)


def test_parts_of_the_list_are_the_same_entries(raw):
    corpus = open_corpus(recipe_of(), raw)
    assert corpus.entries(2, 5) == corpus.entries(0, 6)[2:5]
    assert corpus.label_names == list(download.LABELS) and corpus.published_subsets == {}
    assert [name for _, name in corpus.table_files] == ["attributes.csv", "annotations/gold_standard.csv"]


def test_the_folder_above_data_will_do(tmp_path):
    rows = download.write_download(tmp_path / "data")
    np.testing.assert_array_equal(records_of(tmp_path)[1].signal, rows[1]["signal"].astype(np.float32))


def test_another_annotator_and_qualified_labels(tmp_path):
    rows = download.write_download(tmp_path, seed=5)
    found = [record.entry.labels for record in records_of(tmp_path, annotator="dnn")]
    for row, labels in zip(rows, found, strict=True):
        assert [label in labels for label in download.LABELS] == [bool(there) for there in row["dnn"]]
    recipe = resolve_recipe({**recipe_of(), "labels": {"scheme": ["code_test"]}}, "test")
    corpus = open_corpus(recipe, tmp_path)
    assert corpus.label_names == [f"code_test/{label}" for label in download.LABELS]
    assert {label for entry in corpus.entries(0, 6) for label in entry.labels} <= set(corpus.label_names)
    assert open_corpus({**recipe, "labels": None}, tmp_path).entries(0, 1)[0].labels == ()


def test_padding_stays_if_so_asked(tmp_path):
    rows = download.write_download(tmp_path)
    record = records_of(tmp_path, strip_padding=False)[0]
    assert record.signal.shape == (12, 4096)
    np.testing.assert_array_equal(record.signal[:, 581:3515], rows[0]["signal"].astype(np.float32))
    assert not record.signal[:, :581].any() and not record.signal[:, 3515:].any()


def test_strip_padding_keeps_what_any_lead_holds():
    values = np.zeros((12, 10))
    values[3, 2], values[7, 6] = 1.0, np.nan
    assert strip_padding(values).shape == (12, 5)
    assert strip_padding(np.zeros((12, 10))).shape == (12, 0)


@pytest.mark.parametrize(("unit", "factor"), [("mV", 1.0), ("1e-4V", 0.1), ("uV", 0.001)])
def test_units(raw, unit, factor):
    plain, scaled = records_of(raw)[0].signal, records_of(raw, unit=unit)[0].signal
    np.testing.assert_allclose(scaled, plain * factor, rtol=1e-6)


def test_every_order_of_the_augmented_leads_is_found(tmp_path):
    for number, order in enumerate([("aVR", "aVL", "aVF"), ("aVF", "aVR", "aVL"), ("aVR", "aVF", "aVL")]):
        leads = ("I", "II", "III", *order, *download.CANONICAL[6:])
        rows = download.write_download(tmp_path / str(number), 4, leads=leads)
        assert lead_order(RawFolder(tmp_path / str(number)), "ecg_tracings.hdf5", None, "CODE-test") == leads
        for row, record in zip(rows, records_of(tmp_path / str(number)), strict=True):
            np.testing.assert_array_equal(record.signal, row["signal"].astype(np.float32))


def test_an_order_that_the_tracings_contradict_is_refused(raw):
    readme = ["DI", "DII", "DIII", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"]
    assert len(records_of(raw, leads=list(download.STORED))) == 6
    with pytest.raises(BadRawData, match="in the order I, II, III, aVL, aVF, aVR, as .* options.leads says DI, DII"):
        records_of(raw, leads=readme)


def test_tracings_that_tell_no_order_need_one(raw):
    rng = np.random.default_rng(0)
    edit_hdf5(raw, lambda file, tracings: file.create_dataset("tracings", data=rng.standard_normal(tracings.shape)))
    with pytest.raises(BadRawData, match="in no order of aVR, aVL and aVF better.*options.leads"):
        records_of(raw)
    assert records_of(raw, leads=list(download.CANONICAL))[0].signal.shape == (12, 4096)


def test_a_dead_lead_does_not_hide_the_order(raw):
    def kill(file, tracings):
        tracings[0, :, 3] = 0
        tracings[1] = 0
        file["tracings"] = tracings

    edit_hdf5(raw, kill)
    corpus = open_corpus(recipe_of(), raw)
    assert corpus.entries(0, 1)[0].leads == download.STORED
    with pytest.raises(BadRecord, match="test0001 is zero throughout") as caught:
        READER.read_entry(RawFolder(raw), corpus.entries(1, 2)[0], recipe_of())
    assert caught.value.reason == "flat_signal"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file, tracings: file.create_dataset("signals", data=tracings), "no dataset tracings .it has signals"),
        (lambda file, tracings: file.create_group("tracings"), "no dataset tracings"),
        (lambda file, old: file.create_dataset("tracings", data=old[:, :, :11]), r"\(6, 4096, 11\): expected"),
        (lambda file, old: file.create_dataset("tracings", data=old[0]), r"\(4096, 12\): expected numbers"),
        (lambda file, old: file.create_dataset("tracings", data=old[:5]), "has 6 rows: expected 5, one for each"),
        (lambda file, old: file.create_dataset("tracings", data=old[:0]), "in no order of aVR"),
    ],
)
def test_hdf5_of_another_form(raw, change, said):
    edit_hdf5(raw, change)
    with pytest.raises(BadRawData, match=said):
        open_corpus(recipe_of(), raw)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_told_in_a_sentence(raw, share):
    content = (raw / "ecg_tracings.hdf5").read_bytes()
    (raw / "ecg_tracings.hdf5").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadRawData, match="ecg_tracings.hdf5 cannot be opened as HDF5.*download it again"):
        open_corpus(recipe_of(), raw)


def test_tables_that_do_not_fit(raw):
    gold = raw / "annotations" / "gold_standard.csv"
    lines = gold.read_text().splitlines(keepends=True)
    gold.write_text("".join(lines[:-1]))
    with pytest.raises(BadRawData, match="gold_standard.csv has 5 rows: expected 6"):
        open_corpus(recipe_of(), raw)
    gold.write_text("".join(lines).replace("1dAVb", "AVb"))
    with pytest.raises(BadRawData, match="no column 1dAVb .*is it AVb"):
        open_corpus(recipe_of(), raw)
    gold.write_text("".join(lines[:-1]) + "0,0,maybe,0,0,0\n")
    with pytest.raises(BadRawData, match="'maybe' in the column LBBB"):
        open_corpus(recipe_of(), raw)
    with pytest.raises(BadRawData, match="annotations/nobody.csv"):
        open_corpus(recipe_of(annotator="nobody"), raw)
    gold.write_text("".join(lines))
    (raw / "attributes.csv").unlink()
    with pytest.raises(BadRawData, match="attributes.csv"):
        open_corpus(recipe_of(), raw)
    with pytest.raises(BadRawData, match="is not CODE-test: neither ecg_tracings.hdf5 nor data/"):
        open_corpus(recipe_of(), raw / "annotations")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"unit": "mv"}, "options.unit is 'mv': .* did you mean mV"),
        ({"leads": ["I", "II"]}, "options.leads has 2 leads: expected all of I, II"),
        ({"leads": [*download.STORED[:11], "V7"]}, "'V7', which is no lead"),
        ({"leads": [*download.STORED[:11], "v5"]}, "'V5' more than once"),
        ({"annotator": "../gold_standard"}, "options.annotator is '../gold_standard'"),
        ({"anotator": "dnn"}, "did you mean options.annotator"),
    ],
)
def test_options_that_cannot_be(options, said):
    with pytest.raises(BadRecipe, match=said):
        recipe_of(**options)


def test_a_store_keeps_all_for_testing(tmp_path):
    rows = download.write_download(tmp_path / "raw")
    result = build_store(recipe_of(), tmp_path / "raw", tmp_path / "store")
    records = pq.read_table(result.store.folder / "records.parquet").to_pydict()
    assert records["record_id"] == [row["id"] for row in rows] and set(records["split"]) == {"test"}
    assert records["n_samples"][:3] == [3668, 5000, 5000]
    with open(tmp_path / "store" / "manifests" / "test.tsv", newline="") as handle:
        assert len(list(csv.reader(handle))) == 2 + 6
