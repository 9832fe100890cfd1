import csv
from collections import Counter

import numpy as np
import pytest

from ecgtext_plugins.corpora.condition_names import TABLE, condition_names
from ecgtext_plugins.corpora.csn import read_entry
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.readers import open_corpus
from ecgtext_plugins.errors import BadRawData, BadRecipe, BadRecord
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.recipe import load_recipe, resolve_recipe
from tests import builders
from tests.downloads import csn, merl

CODES = csn.codes()


def recipe_of(scheme="condition_names", **changes):
    labels = {"scheme": scheme} if scheme else None
    return resolve_recipe({**load_recipe("csn"), "labels": labels, **changes}, "test")


def read_all(raw, scheme="condition_names", tables=None, **changes):
    recipe = recipe_of(scheme, **changes)
    corpus = open_corpus(recipe, raw, tables)
    return corpus, [read_entry(RawFolder(raw), entry, recipe) for entry in corpus.entries(0, len(corpus.record_ids))]


def one_record(raw, dx, name="JS00001"):
    """Write a download of one recording whose header has `dx`."""
    raw.mkdir(parents=True, exist_ok=True)
    (raw / TABLE).write_text(csn.CONDITIONS)
    counts = builders.ecg_counts(np.random.default_rng(0), 500, 500, 1.0)
    csn.write_record(raw / "WFDBRecords" / "01" / "010", name, counts, ["Age: NaN", "Sex: Unknown", *dx])
    return counts


def test_download(tmp_path):
    rows = csn.write_download(tmp_path, 12)
    corpus, records = read_all(tmp_path)
    full = {line.split(",")[0]: line.split(",")[1] for line in csn.CONDITIONS.splitlines()}
    assert corpus.record_ids.to_pylist() == [row["record_id"] for row in rows]
    for record, row in zip(records, rows, strict=True):
        entry = record.entry
        assert (entry.patient_id, entry.source_path) == (row["record_id"], row["path"])
        assert (entry.age, entry.sex, entry.split) == (row["age"], row["sex"][0], "")
        assert entry.codes == tuple(CODES[each] for each in row["conditions"])
        assert entry.labels == tuple(name for name in corpus.label_names if name in row["conditions"])
        assert entry.report == ", ".join(full[each] for each in row["conditions"])
        np.testing.assert_array_equal(record.counts, row["counts"])
        assert record.checksum_error == "" and record.native_rate == 500


def test_vocabulary_is_the_first_acronym_of_each_code(tmp_path):
    one_record(tmp_path, [])
    corpus, (record,) = read_all(tmp_path)
    codes = list(dict.fromkeys(CODES.values()))
    assert len(CODES) == 63 and len(codes) == len(corpus.label_names) == 55
    assert corpus.label_names[:3] == ["1AVB", "2AVB", "2AVB1"]
    assert not {"MIBW", "LBBBB", "IVB", "SAAWR"} & set(corpus.label_names)
    assert (record.entry.report, record.entry.labels, record.entry.codes) == (None, (), ())
    assert np.isnan(record.entry.age) and record.entry.sex == ""


def test_codes_that_the_table_lacks(tmp_path):
    """They stay codes; the Challenge's table names most of them; no record is lost."""
    shared_code = CODES["MISW"]
    one_record(tmp_path, [f"Dx: 55827005,{shared_code}, 426177001,{shared_code},12345,Unknown"])
    _, (record,) = read_all(tmp_path)
    assert record.entry.codes == ("55827005", shared_code, "426177001", "12345", "Unknown")
    assert record.entry.labels == ("MI", "SB")
    assert record.entry.report == "left ventricular high voltage, myocardial infarction, Sinus Bradycardia"


def test_slices_and_exclusion(tmp_path):
    csn.write_download(tmp_path, 9)
    corpus, records = read_all(tmp_path)
    assert [e for start in range(0, 9, 4) for e in corpus.entries(start, min(9, start + 4))] == corpus.entries(0, 9)
    left, _ = read_all(tmp_path, exclude_sources=["WFDBRecords/01"])
    assert left.record_ids.to_pylist() == [f"JS{n:05d}" for n in range(5, 10)]


def test_with_merl(tmp_path):
    rows = csn.write_download(tmp_path / "raw", 30)
    rng = np.random.default_rng(1)
    for row in rows[:20]:
        row["conditions"] = [str(each) for each in rng.choice(merl.CSN, 2, replace=False)]
    rows[0]["conditions"] = ["1AVB", "STTC"]
    merl.write_chapman(tmp_path / "tables", rows[:20])
    both = ["merl_published", "merl_corrected", "condition_names"]
    corpus, records = read_all(tmp_path / "raw", both, tmp_path / "tables", split={"by": "official"})
    assert corpus.label_names[:26] == [f"{scheme}/{name}" for scheme in both[:2] for name in merl.CSN]
    assert len(records) == 20 and len({name for _, name in corpus.table_files}) == 1 + 3
    published = tuple(f"merl_published/{name}" for name in ("VB", "STTC", "AVB", "1AVB", "ST"))
    assert records[0].entry.labels[:7] == (*published, "merl_corrected/STTC", "merl_corrected/1AVB")
    for place, (record, row) in enumerate(zip(records, rows, strict=False)):
        said = ",".join(row["conditions"])
        published = [f"merl_published/{name}" for name in merl.CSN if name in said]
        corrected = [f"merl_corrected/{name}" for name in merl.CSN if name in row["conditions"]]
        assert list(record.entry.labels[: len(published + corrected)]) == published + corrected
        assert all(label.startswith("condition_names/") for label in record.entry.labels[len(published + corrected) :])
        assert record.entry.split == {"val": "valid"}.get(merl.split_of(place), merl.split_of(place))
    _, records = read_all(tmp_path / "raw", "merl_corrected", tmp_path / "tables")
    assert records[0].entry.labels == ("STTC", "1AVB")
    merl.write_chapman(tmp_path / "tables", [*rows, {"path": "WFDBRecords/46/460/JS45551", "conditions": ["SR"]}])
    with pytest.raises(BadRawData, match=r"lacks 1 of the 31 records of MERL's tables \(JS45551\)"):
        read_all(tmp_path / "raw", "merl_corrected", tmp_path / "tables")


def test_first_lines_that_are_one_are_separated(tmp_path):
    """As in JS01052 and JS23074 of the real download; what is lost stands elsewhere, and the checksums confirm it."""
    rows = csn.write_download(tmp_path, 2)
    header = tmp_path / f"{rows[0]['path']}.hea"
    csn.join_first_lines(header)
    assert header.read_text().splitlines()[0].startswith("JS00001 12 500 60000/mV 16 0 ")
    _, records = read_all(tmp_path)
    np.testing.assert_array_equal(records[0].counts, rows[0]["counts"])
    assert records[0].entry.codes == tuple(CODES[each] for each in rows[0]["conditions"])
    good = header.read_text()
    lines = good.splitlines()
    for damaged in (
        lines[0].replace(" I", ""),  # no name of the lead
        " ".join([*lines[0].split()[:-3], "77", "0", "I"]),  # a checksum that is not the signal's
        lines[0].replace("12 500", "12"),  # no sampling rate
        lines[0].replace("12 500", "11 500"),  # another number of leads
        lines[0].replace(" I", " II"),  # a lead twice
    ):
        header.write_text("\n".join([damaged, *lines[1:]]))
        with pytest.raises(BadRecord) as caught:
            read_all(tmp_path)
        assert caught.value.reason == "header", damaged
    header.write_text(good.replace("JS00001.mat 16+24 1000/mV 16 0", "JS00001.mat 16+24 500/mV 16 0", 1))
    with pytest.raises(BadRecord, match="record JS00001: .* header"):  # the others disagree about what is lost
        read_all(tmp_path)


def test_the_real_broken_line(tmp_path):
    """JS01052's first line, letter by letter, before eleven good ones."""
    rows = csn.write_download(tmp_path, 1, n_samples=5000)
    header = tmp_path / f"{rows[0]['path']}.hea"
    _, first, *others = header.read_text().splitlines()
    values = first.split()[5:]
    header.write_text("\n".join([f"JS01052 12 500 500000/mV 16 0 {' '.join(values)}", *others]))
    _, (record,) = read_all(tmp_path)
    np.testing.assert_array_equal(record.counts, rows[0]["counts"])


def test_bad_condition_tables(tmp_path):
    one_record(tmp_path, [])
    path = tmp_path / TABLE

    def refused(text, message):
        path.write_text(text)
        with pytest.raises(BadRawData, match=message):
            read_all(tmp_path)

    refused(csn.CONDITIONS.replace("Snomed_CT", "Code", 1), f"{TABLE} has no column Snomed_CT")
    refused(csn.CONDITIONS.replace("270492004", "27O492004"), "acronym '1AVB' and code '27O492004' in row 1")
    refused(csn.CONDITIONS.replace("\nSB,", "\n,"), "acronym '' and code '426177001'")
    refused(csn.CONDITIONS.replace("\nSB,", "\nSR,"), "55 codes and 54 acronyms")
    refused("Acronym Name,Full Name,Snomed_CT\n", "0 codes")
    path.unlink()
    with pytest.raises(BadRawData, match=f"not CSN: {TABLE} not found"):
        read_all(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        csn.CONDITIONS.replace("Acronym Name,Full Name", "AcronymName,FullName"),
        csn.CONDITIONS.replace(",", ";"),
        "\n".join(f"{line},note" for line in csn.CONDITIONS.splitlines()),
        "\ufeff" + csn.CONDITIONS.replace("\n", "\r\n"),
    ],
)
def test_tolerated_condition_tables(tmp_path, text):
    one_record(tmp_path / "plain", [])
    expected = condition_names(RawFolder(tmp_path / "plain"))
    one_record(tmp_path / "other", [])
    (tmp_path / "other" / TABLE).write_text(text, newline="")
    assert condition_names(RawFolder(tmp_path / "other")) == expected


def test_a_table_that_changes_is_read_again(tmp_path):
    one_record(tmp_path, [])
    assert "SB" in read_all(tmp_path)[0].label_names
    (tmp_path / TABLE).write_text(csn.CONDITIONS.replace("\nSB,", "\nSBRAD,"))
    assert "SBRAD" in read_all(tmp_path)[0].label_names


def test_refusals(tmp_path):
    (tmp_path / TABLE).write_text(csn.CONDITIONS)
    with pytest.raises(BadRawData, match="not CSN: no .hea file"):
        read_all(tmp_path)
    csn.write_download(tmp_path, 2)
    counts = builders.ecg_counts(np.random.default_rng(0), 500)
    csn.write_record(tmp_path / "copy", "JS00001", counts, [])
    with pytest.raises(BadRawData, match="record names .* more than once .*JS00001"):
        read_all(tmp_path)
    with pytest.raises(BadRecipe, match="split.by is official, but labels.scheme holds no set of MERL"):
        recipe_of(split={"by": "official"})


def test_real_headers(shared):
    """Ningbo's records of the Challenge are CSN's, with the header rewritten."""
    raw = shared / "data" / "physionet2021" / "ningbo"
    merl_codes = Counter()
    table = condition_names_of(csn.CONDITIONS)
    for path in sorted(raw.glob("*.hea")):
        dx = next(line for line in path.read_text().splitlines() if line.startswith("# Dx"))
        merl_codes.update(code in table for code in dx.split(": ")[1].split(","))
    assert merl_codes[True] > merl_codes[False] > 0


def condition_names_of(text):
    return {line.rsplit(",", 1)[1] for line in text.splitlines()[1:]}


def test_real_diagnoses_are_acronyms_of_the_table(shared):
    """MERL's tables name conditions as our vocabulary does: the first acronym of a code."""
    first = {}
    for acronym, code in CODES.items():
        first.setdefault(code, acronym)
    for split in merl.SPLITS:
        with open(shared / "data" / "merl_splits" / "chapman" / f"chapman_{split}.csv", newline="") as handle:
            for row in csv.DictReader(handle):
                assert set(row["diagnose"].split(",")) <= set(first.values())


def test_into_a_store(tmp_path):
    rows = csn.write_download(tmp_path / "raw", 12)
    csn.join_first_lines(tmp_path / "raw" / f"{rows[4]['path']}.hea")
    broken = tmp_path / "raw" / f"{rows[5]['path']}.hea"
    broken.write_text(broken.read_text().replace("JS00006 12 500 600", "JS00006 12 500"[:-4], 1))
    store = build_store(recipe_of(expected=None, subsets=None), tmp_path / "raw", tmp_path / "data").store
    kept = [row for row in rows if row["record_id"] != "JS00006"]
    assert store.corpus["failures"] == {"sampling_rate": 1}
    assert list(store.column("record_id")) == [row["record_id"] for row in kept]
    for place, row in enumerate(kept):
        np.testing.assert_array_equal(store.counts(place), row["counts"])
        matrix = store.label_matrix(np.array([place]), row["conditions"])
        assert matrix.all() and store.step_mv(place) == 0.001
