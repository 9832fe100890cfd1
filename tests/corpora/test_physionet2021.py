import csv

import numpy as np
import pytest

from ecgtext_plugins.corpora.physionet2021 import diagnoses, read_entry
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.readers import open_corpus
from ecgtext_plugins.corpora.snomed import scored_labels, snomed_codes
from ecgtext_plugins.errors import BadRawData, BadRecord
from ecgtext_plugins.store.recipe import load_recipe
from tests import builders


def corpus_of(raw, **changes):
    return open_corpus({**load_recipe("physionet2021"), **changes}, raw)


def test_real_records(shared):
    raw = shared / "data" / "physionet2021"
    corpus = corpus_of(raw)
    entries = corpus.entries(0, 25)
    assert len(corpus.record_ids) == len(entries) == 25
    records = {entry.record_id: read_entry(RawFolder(raw), entry, {}) for entry in entries}
    record = records["E07500"]
    assert (record.entry.age, record.entry.sex, record.entry.patient_id) == (78.0, "M", "E07500")
    assert record.entry.source_path == "georgia/E07500"
    assert record.entry.report == "left atrial enlargement, sinus bradycardia" and record.entry.labels == ("SB",)
    assert {record.entry.sex for record in records.values()} == {"M", "F"}
    assert all(record.entry.report and record.native_rate == 500 for record in records.values())


def test_table_agrees_with_the_challenge_files(shared):
    folder = shared / "data" / "challenge2021"
    table = snomed_codes()
    expected = {}
    for name in ("scored", "unscored"):
        with open(folder / f"dx_mapping_{name}.csv", newline="") as handle:
            expected.update({row["SNOMEDCTCode"]: (row, name) for row in csv.DictReader(handle)})
    assert table.keys() == expected.keys() and len(table) == 133
    for code, (row, name) in expected.items():
        assert table[code].abbreviation == row["Abbreviation"]
        assert table[code].name == " ".join(row["Dx"].split())
        assert bool(table[code].label) == (name == "scored")
    with open(folder / "weights.csv", newline="") as handle:
        groups = [column.split("|") for column in next(csv.reader(handle))[1:]]
    assert len(scored_labels()) == 26
    for label, group in zip(scored_labels(), groups, strict=True):
        assert {table[code].label for code in group} == {label} == {table[group[0]].abbreviation}


def test_equivalent_codes_are_one_label_and_keep_their_names():
    report, labels = diagnoses("59118001, 63593006,713427006,,63593006", "record 1")
    assert report == "right bundle branch block, supraventricular premature beats, complete right bundle branch block"
    assert labels == ("CRBBB", "PAC")
    assert diagnoses("429622005", "record 1") == ("st depression", ())
    assert diagnoses("", "record 1") == (None, ())
    with pytest.raises(BadRecord, match="record 1.*'12345'") as caught:
        diagnoses("164889003,12345", "record 1")
    assert caught.value.reason == "unknown_code"


def test_sub_folders_comments_and_exclusions(tmp_path):
    counts = builders.ecg_counts(np.random.default_rng(0), 500)
    canonical = dict(leads=builders.MIMIC_LEADS, extension="mat", gain=1000)
    said = ["Age: NaN", "Sex: female", "Dx: 164889003", "Rx: Unknown"]
    builders.write_record(tmp_path / "training" / "ptb" / "g1", "S0001", counts, comments=said, **canonical)
    builders.write_record(tmp_path / "training" / "georgia", "E0001", counts, comments=["Age:61", "sex:M"], **canonical)
    corpus = corpus_of(tmp_path)
    records = [read_entry(RawFolder(tmp_path), entry, {}) for entry in corpus.entries(0, 2)]
    first, second = (record.entry for record in records)
    assert (first.record_id, first.age, first.sex, first.report, first.labels) == (
        "E0001",
        61.0,
        "M",
        None,
        (),
    )
    assert (second.record_id, second.sex, second.report, second.labels) == (
        "S0001",
        "F",
        "atrial fibrillation",
        ("AF",),
    )
    assert np.isnan(second.age)
    np.testing.assert_array_equal(records[0].signal, (counts / 1000).astype(np.float32))
    assert corpus_of(tmp_path, exclude_sources=["ptb"]).record_ids.to_pylist() == ["E0001"]


def test_linked_folders_are_read_once_and_loops_end(tmp_path):
    counts = builders.ecg_counts(np.random.default_rng(0), 500)
    builders.write_record(tmp_path / "elsewhere", "E0001", counts)
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "georgia").symlink_to(tmp_path / "elsewhere")
    (raw / "loop").symlink_to(raw)
    assert corpus_of(raw).record_ids.to_pylist() == ["E0001"]


def test_refusals(tmp_path):
    with pytest.raises(BadRawData, match="no .hea file"):
        corpus_of(tmp_path)
    counts = builders.ecg_counts(np.random.default_rng(0), 500)
    for folder in ("a", "b"):
        builders.write_record(tmp_path / folder, "E0001", counts)
    with pytest.raises(BadRawData, match="more than once .*E0001"):
        corpus_of(tmp_path)


def test_a_name_that_is_not_utf8_becomes_a_failure(tmp_path):
    (tmp_path / "a.hea").write_text("")
    with open(bytes(tmp_path) + b"/caf\xe9.hea", "w"):
        pass
    entries = corpus_of(tmp_path).entries(0, 2)
    assert [entry.record_id for entry in entries] == ["a", "caf\\udce9"]
    with pytest.raises(BadRecord) as caught:
        read_entry(RawFolder(tmp_path), entries[1], {})
    assert caught.value.reason == "missing_header"
