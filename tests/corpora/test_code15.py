import logging

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from ecgtext_plugins.corpora import hdf5_tracings
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.readers import READERS, open_corpus
from ecgtext_plugins.errors import BadRawData, BadRecord
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.recipe import load_recipe, resolve_recipe
from tests import builders
from tests.downloads import code15 as download

READER = READERS["code15"]


def recipe_of(options=None, **changes):
    recipe = load_recipe("code15")
    return resolve_recipe({**recipe, "options": {**recipe["options"], **(options or {})}, **changes}, "test")


def entries_of(raw, **changes):
    corpus = open_corpus(recipe_of(**changes), raw)
    return {entry.record_id: entry for entry in corpus.entries(0, len(corpus.record_ids))}


def read(raw, entry, **changes):
    return READER.read_entry(RawFolder(raw), entry, recipe_of(**changes))


def reasons(raw, **changes):
    found = {}
    for name, entry in entries_of(raw, **changes).items():
        try:
            read(raw, entry)
        except BadRecord as error:
            found[name] = error.reason
            assert name in error.message
    return found


def test_exams_are_found_in_their_files_by_id(tmp_path):
    rows = download.write_download(tmp_path, 10, seed=2)
    corpus = open_corpus(recipe_of(), tmp_path)
    assert corpus.record_ids.to_pylist() == sorted(str(row["exam_id"]) for row in rows)
    assert corpus.label_names == [*download.LABELS, "normal_ecg"]
    assert [name for _, name in corpus.table_files] == ["exams.csv"]
    entries = entries_of(tmp_path)
    for row in rows:
        entry = entries[str(row["exam_id"])]
        record = read(tmp_path, entry)
        np.testing.assert_array_equal(record.signal, row["signal"])
        assert (record.native_rate, record.step_uv, record.missing_leads) == (400.0, None, 0)
        assert (entry.patient_id, entry.age) == (str(row["patient_id"]), row["age"])
        assert (entry.sex, entry.split) == ("M" if row["is_male"] else "F", "")
        assert entry.labels == tuple(label for label in corpus.label_names if row[label])
    assert corpus.entries(3, 6) == [entries[name] for name in corpus.record_ids.to_pylist()[3:6]]


def test_the_filler_is_nobody(tmp_path):
    rows = download.write_download(tmp_path, 4)
    rows.append({**rows[0], "exam_id": 0})
    download.write_exams(tmp_path, rows)
    assert reasons(tmp_path) == {"0": "missing_row"}


def test_parts_that_are_not_there_reject_their_exams(tmp_path, caplog):
    rows = download.write_download(tmp_path, 9)
    (tmp_path / "exams_part1.hdf5").unlink()
    with caplog.at_level(logging.WARNING):
        found = reasons(tmp_path)
    gone = [str(row["exam_id"]) for row in rows if row["trace_file"] == "exams_part1.hdf5"]
    assert found == dict.fromkeys(gone, "missing_signal_file") and len(gone) == 3
    assert "exams_part1.hdf5 is not in" in caplog.text
    assert len(entries_of(tmp_path, exclude_sources=["exams_part1"])) == 6
    assert reasons(tmp_path, exclude_sources=["exams_part1.hdf5"]) == {}


def test_parts_in_folders_of_their_own(tmp_path):
    rows = download.write_download(tmp_path, 3)
    (tmp_path / "exams_part0").mkdir()
    (tmp_path / "exams_part0.hdf5").rename(tmp_path / "exams_part0" / "exams_part0.hdf5")
    assert reasons(tmp_path) == {}
    assert entries_of(tmp_path)[str(rows[0]["exam_id"])].source_path == "exams_part0/exams_part0.hdf5"
    download.write_part(tmp_path / "exams_part0.hdf5", rows[:1])
    with pytest.raises(BadRawData, match="names of HDF5 files .* more than once .*exams_part0.hdf5"):
        entries_of(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.6, 0.999])
def test_a_truncated_part_rejects_its_exams(tmp_path, share):
    rows = download.write_download(tmp_path, 6)
    path = tmp_path / "exams_part0.hdf5"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    broken = [str(row["exam_id"]) for row in rows if row["trace_file"] == "exams_part0.hdf5"]
    assert reasons(tmp_path) == dict.fromkeys(broken, "truncated")


def test_all_parts_truncated(tmp_path):
    download.write_download(tmp_path, 3, parts=1)
    (tmp_path / "exams_part0.hdf5").write_bytes(b"\x89HDF\r\n\x1a\nnothing")
    assert set(reasons(tmp_path).values()) == {"truncated"}


def replace(file, key, data):
    del file[key]
    file[key] = data


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda file: file.__delitem__("exam_id"), "hdf5_key"),
        (lambda file: file.__delitem__("tracings"), "hdf5_key"),
        (lambda file: file.move("tracings", "signal"), "hdf5_key"),
        (lambda file: replace(file, "exam_id", [1.5, 2.0, 0.0]), "shape"),
        (lambda file: replace(file, "exam_id", [[1, 2], [3, 0]]), "shape"),
        (lambda file: replace(file, "tracings", np.ones((3, 9, 11))), "shape"),
        (lambda file: replace(file, "tracings", np.ones((1, 9, 12))), "truncated"),
        (lambda file: (file.__delitem__("tracings"), file.create_dataset("tracings", (3, 1 << 40, 12), "f4")), "shape"),
        (lambda file: file["exam_id"].write_direct(np.array([1, 2, 0])), "missing_row"),
    ],
)
def test_a_part_of_another_form_rejects_its_exams(tmp_path, change, reason):
    rows = download.write_download(tmp_path, 6)
    with h5py.File(tmp_path / "exams_part2.hdf5", "a") as file:
        change(file)
    broken = sorted(row["exam_id"] for row in rows if row["trace_file"] == "exams_part2.hdf5")
    found = reasons(tmp_path)
    expected = dict.fromkeys(map(str, broken), reason)
    if reason == "truncated":  # its only row is still there
        found = {name: what for name, what in found.items() if what != "flat_signal"}
        expected.pop(str(broken[0]))
    assert found == expected


def test_one_exam_twice_in_a_part(tmp_path):
    download.write_download(tmp_path, 6)
    with h5py.File(tmp_path / "exams_part2.hdf5", "a") as file:
        file["exam_id"][:2] = 77
    with pytest.raises(BadRawData, match="exam_id in .*exams_part2.hdf5 are there more than once .*77"):
        entries_of(tmp_path)


def test_unsafe_file_names_are_not_read(tmp_path):
    rows = download.write_download(tmp_path / "raw", 3)
    for row, name in zip(rows, ("../x.hdf5", "/etc/x.hdf5", "a\tb.hdf5"), strict=True):
        row["trace_file"] = name
    download.write_exams(tmp_path / "raw", rows)
    assert set(reasons(tmp_path / "raw").values()) == {"unsafe_path"}


def test_table_of_another_form(tmp_path):
    rows = download.write_download(tmp_path, 3)
    lean = [column for column in download.COLUMNS if column not in ("normal_ecg", "age", "is_male", "death")]
    download.write_exams(tmp_path, rows, lean)
    assert open_corpus(recipe_of(), tmp_path).label_names == list(download.LABELS)
    entry = entries_of(tmp_path)[str(rows[0]["exam_id"])]
    assert np.isnan(entry.age) and entry.sex == ""
    download.write_exams(tmp_path, rows, [column for column in download.COLUMNS if column != "trace_file"])
    with pytest.raises(BadRawData, match="no column trace_file"):
        entries_of(tmp_path)
    download.write_exams(tmp_path, [*rows, rows[1]])
    with pytest.raises(BadRawData, match=f"exam_id .* more than once .*{rows[1]['exam_id']}"):
        entries_of(tmp_path)
    download.write_exams(tmp_path, [{**rows[0], "AF": "perhaps"}, *rows[1:]])
    with pytest.raises(BadRawData, match="'perhaps' in the column AF"):
        entries_of(tmp_path)
    download.write_exams(tmp_path, [])
    with pytest.raises(BadRawData, match="lists no exam"):
        entries_of(tmp_path)
    (tmp_path / "exams.csv").unlink()
    with pytest.raises(BadRawData, match="no table exams.csv"):
        entries_of(tmp_path)


def test_a_folder_without_parts(tmp_path):
    download.write_download(tmp_path, 3)
    for path in tmp_path.glob("*.hdf5"):
        path.unlink()
    with pytest.raises(BadRawData, match=r"no .hdf5 file .*unpack exams_part\*.zip"):
        entries_of(tmp_path)


def test_swapped_leads_are_found(tmp_path):
    rows = download.write_download(tmp_path, 3, parts=1)
    with h5py.File(tmp_path / "exams_part0.hdf5", "a") as file:
        file["tracings"][...] = file["tracings"][()][:, :, [0, 1, 2, 4, 5, 3, *range(6, 12)]]
    entry = entries_of(tmp_path)[str(rows[0]["exam_id"])]
    assert entry.leads[3:6] == ("aVL", "aVF", "aVR")
    np.testing.assert_array_equal(read(tmp_path, entry).signal, rows[0]["signal"])


def test_few_files_stay_open_and_none_after_a_replacement(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_tracings, "OPEN_FILES", 2)
    rows = download.write_download(tmp_path, 8, parts=4)
    entries = entries_of(tmp_path)
    for row in rows * 2:
        np.testing.assert_array_equal(read(tmp_path, entries[str(row["exam_id"])]).signal, row["signal"])
        assert len(hdf5_tracings._files) <= 2
    rows = download.write_download(tmp_path, 8, seed=9, parts=4)
    entries = entries_of(tmp_path)
    np.testing.assert_array_equal(read(tmp_path, entries[str(rows[0]["exam_id"])]).signal, rows[0]["signal"])


def test_a_store_from_some_parts_is_the_same_with_workers_and_resumed(tmp_path):
    rows = download.write_download(tmp_path / "raw", 8, parts=2)
    (tmp_path / "raw" / "exams_part1.hdf5").unlink()
    recipe = recipe_of(records_per_shard=3)
    one = build_store(recipe, tmp_path / "raw", tmp_path / "one").store
    two = build_store(recipe, tmp_path / "raw", tmp_path / "two", workers=2).store
    assert one.corpus["counts"] == {"found": 8, "kept": 4, "failed": 4}
    assert builders.tree_digest(tmp_path / "one") == builders.tree_digest(tmp_path / "two")
    failures = pq.read_table(two.folder / "failures.parquet").to_pydict()
    assert set(failures["reason"]) == {"missing_signal_file"}
    assert sorted(failures["record_id"]) == sorted(str(row["exam_id"]) for row in rows[1::2])
    assert not any(str(tmp_path) in message for message in failures["message"])
