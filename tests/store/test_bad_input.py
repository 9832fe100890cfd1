"""One build over a corpus in which every record has a fault of its own: each is kept or told, and counts add up."""

import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest

from ecgtext_plugins.errors import BadRawData, BadStore
from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.recipe import resolve_recipe
from tests import builders

N = 1000


def edited(old, new):
    def edit(place):
        path = place.with_suffix(".hea")
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new))

    return edit


def data_of(change):
    def edit(place):
        path = place.with_suffix(".dat")
        path.write_bytes(change(path.read_bytes()))

    return edit


def written(change=lambda counts: counts, **options):
    """Write the record anew, with other counts or in another form."""

    def edit(place):
        counts = change(np.array(GOOD, copy=True))
        order = options.pop("order", LEADS)
        builders.write_record(place.parent, place.name, counts, **{"order": order, **options})

    return edit


def removed(suffix):
    return lambda place: place.with_suffix(suffix).unlink()


def flip(data):
    return data[:777] + bytes([data[777] ^ 16]) + data[778:]


def at(leads, samples, value):
    def change(counts):
        counts[leads, samples] = value
        return counts

    return change


def clipped(counts):
    counts[9] = np.minimum(counts[9].astype(int) * 4, 300)
    return counts


def with_comment(data):
    def edit(place):
        path = place.with_suffix(".hea")
        path.write_bytes(data(path.read_bytes()))

    return edit


GOOD = builders.ecg_counts(np.random.default_rng(8), N)
SHORT_GAP, LONG_GAP = at(7, slice(300, 310), -32768), at(7, slice(300, 400), -32768)
ELEVEN = tuple(lead for lead in builders.MIMIC_LEADS if lead != "V3")
LOWER = tuple(lead.lower() for lead in LEADS)
TURNED = LEADS[::-1]
# name: (fault, reason of the failure or None where the record is kept)
TABLE = {
    "a good record": (lambda place: None, None),
    "one flipped byte": (data_of(flip), "checksum"),
    "half of the .dat": (data_of(lambda data: data[: len(data) // 2]), "truncated"),
    "one frame less": (data_of(lambda data: data[:-24]), "truncated"),
    "cut in a sample": (data_of(lambda data: data[:-1]), "truncated"),
    "an empty .dat": (data_of(lambda data: b""), "truncated"),
    "bytes too many": (data_of(lambda data: data + b"12"), "size_mismatch"),
    "no .dat": (removed(".dat"), "missing_signal_file"),
    "no .hea": (removed(".hea"), "missing_header"),
    "an empty .hea": (with_comment(lambda data: b""), "header"),
    "rate 0": (edited(b" 12 500 ", b" 12 0 "), "sampling_rate"),
    "rate 499.99": (edited(b" 12 500 ", b" 12 499.99 "), None),
    "gain 0": (edited(b" 200(0)/mV", b" 0(0)/mV"), "gain"),
    "microvolts": (written(gain=0.2, units="uV"), None),
    "an unknown unit": (edited(b"/mV", b"/mmHg"), "unit"),
    "11 leads": (written(leads=ELEVEN), "missing_leads"),
    "a lead twice": (edited(b"0 aVL\n", b"0 aVF\n"), "duplicate_lead"),
    "lower-case leads": (written(leads=LOWER, order=LOWER), None),
    "another order of leads": (written(leads=TURNED), None),
    "flat": (written(at(slice(None), slice(None), 5)), "flat_signal"),
    "one flat lead": (written(at(8, slice(None), 5)), None),
    "nothing but missing samples": (written(at(slice(None), slice(None), -32768)), "missing_samples"),
    "a gap of 20 ms": (written(SHORT_GAP), "missing_samples"),
    "2 samples": (written(lambda counts: counts[:, :2]), "too_short"),
    "CRLF": (with_comment(lambda data: data.replace(b"\n", b"\r\n")), None),
    "a comment that is not UTF-8": (with_comment(lambda data: data + b"# na\xefve\n"), None),
    "10^12 samples": (edited(b" 500 1000\n", b" 500 1000000000000\n"), "truncated"),
    "a clipped lead": (written(clipped), None),
    "swapped limb leads": (written(lambda counts: counts[[1, 0, *range(2, 12)]]), None),
}
PATHS = {
    "a path upwards": "files/../../secret",
    "an absolute path": "/etc/passwd",
    "a path with a tab": "files/a\tb",
    "a path with a line break": "files/a\nb",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Write the corpus; return its folder and the record id of each fault."""
    raw = tmp_path_factory.mktemp("faults")
    rows, ids = [], {}
    for number, (name, (fault, _)) in enumerate(TABLE.items()):
        study, subject = str(40_000_000 + number), str(10_000_000 + number)
        path = f"files/p{subject[:4]}/p{subject}/s{study}/{study}"
        place = builders.write_record(raw / f"files/p{subject[:4]}/p{subject}/s{study}", study, GOOD)
        fault(place)
        rows.append({"study_id": study, "subject_id": subject, "path": path, "findings": ["sinus_rhythm"]})
        ids[name] = study
    for number, (name, path) in enumerate(PATHS.items()):
        ids[name] = str(50_000_000 + number)
        rows.append({"study_id": ids[name], "subject_id": "1", "path": path, "findings": ["sinus_rhythm"]})
    builders.write_tables(raw, rows)
    return raw, ids


def build(raw, folder, **changes):
    return build_store(resolve_recipe(builders.demo_recipe(**changes), "test"), raw, folder).store


@pytest.fixture(scope="module")
def built(corpus, tmp_path_factory):
    return build(corpus[0], tmp_path_factory.mktemp("store") / "data")


def test_every_record_is_kept_or_told_and_counts_add_up(corpus, built):
    ids = {study: name for name, study in corpus[1].items()}
    failures = {ids[row["record_id"]]: row for row in pq.read_table(built.folder / "failures.parquet").to_pylist()}
    expected = {name: reason for name, (_, reason) in TABLE.items() if reason} | dict.fromkeys(PATHS, "unsafe_path")
    assert {name: row["reason"] for name, row in failures.items()} == expected
    for row in failures.values():
        assert row["record_id"] in row["message"] and "expected" in row["message"], row
    counts = built.corpus["counts"]
    assert counts == {"found": len(ids), "kept": len(ids) - len(expected), "failed": len(expected)}
    assert {ids[name] for name in built.column("record_id")} == set(TABLE) - set(expected)


@pytest.mark.parametrize(
    "name",
    [
        "a good record",
        "microvolts",
        "lower-case leads",
        "another order of leads",
        "CRLF",
        "a comment that is not UTF-8",
    ],
)
def test_what_is_only_written_differently_comes_out_right(corpus, built, name):
    (row,) = built.rows_of([corpus[1][name]])
    np.testing.assert_array_equal(built.signal_mv(row), np.float32(0.005) * GOOD)


def test_an_odd_rate_is_resampled(corpus, built):
    (row,) = built.rows_of([corpus[1]["rate 499.99"]])
    assert built.column("native_rate")[row] == 499.99 and built.column("n_samples")[row] == 1000
    assert np.abs(built.signal_mv(row) - np.float32(0.005) * GOOD).max() < 0.05


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [("one flat lead", "flat_leads", 1 << 8), ("a clipped lead", "clipped_leads", 1 << 9)],
)
def test_marks_name_the_lead(corpus, built, name, column, value):
    marked = {built.column("record_id")[row] for row in np.flatnonzero(built.column(column))}
    assert marked == {corpus[1][name]}
    assert built.column(column)[built.rows_of([corpus[1][name]])[0]] == value


def test_swapped_limb_leads_are_marked_and_nothing_else_is(corpus, built):
    wrong = {built.column("record_id")[row] for row in np.flatnonzero(built.column("limb_error_mv") > 0.05)}
    assert wrong == {corpus[1]["swapped limb leads"]}


def test_gaps_by_the_recipe(corpus, tmp_path):
    study = corpus[1]["a gap of 20 ms"]
    marked = build(corpus[0], tmp_path / "mark", checks={"missing_samples": "mark", "max_missing_share": 0.01})
    (row,) = marked.rows_of([study])
    assert (marked.counts(row) == -32768).sum() == 10 and marked.column("longest_gap")[row] == np.float32(0.02)
    repaired = build(corpus[0], tmp_path / "repair", checks={"missing_samples": "repair"})
    (row,) = repaired.rows_of([study])
    assert (repaired.counts(row) != -32768).all() and repaired.column("repaired_samples")[row] == 10


def test_a_checksum_may_be_marked(corpus, tmp_path):
    marked = build(corpus[0], tmp_path / "mark", checks={"checksum": "mark"})
    wrong = {marked.column("record_id")[row] for row in np.flatnonzero(~marked.column("checksum_ok"))}
    assert wrong == {corpus[1]["one flipped byte"]} and marked.corpus["marks"]["wrong_checksum"] == 1


def test_what_a_header_claims_is_not_allocated(corpus, tmp_path):
    tracemalloc.start()
    build(corpus[0], tmp_path / "data")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_a_record_listed_twice_is_no_corpus(tmp_path):
    rows = builders.write_mimic_tree(tmp_path / "raw", 4)
    builders.write_tables(tmp_path / "raw", [*rows, rows[1]])
    with pytest.raises(BadRawData, match=f"more than once.*{rows[1]['study_id']}"):
        build(tmp_path / "raw", tmp_path / "data")


def test_a_patient_in_two_official_splits_is_refused(tmp_path):
    from tests.downloads import ptbxl

    ptbxl.write_download(tmp_path / "raw", n_records=24, seed=0)
    table = tmp_path / "raw" / "ptbxl_database.csv"
    header, *lines = table.read_text().splitlines(keepends=True)
    place = header.split(",").index("patient_id")
    one_patient = [",".join([*line.split(",")[:place], "7.0", *line.split(",")[place + 1 :]]) for line in lines]
    table.write_text("".join([header, *one_patient]))
    recipe = resolve_recipe(
        builders.demo_recipe(reader="ptbxl", labels={"scheme": "super"}, split={"by": "official"}), "test"
    )
    with pytest.raises(BadStore, match=r"1 patients are in two splits \(7 in "):
        build_store(recipe, tmp_path / "raw", tmp_path / "data")
