"""The table of negatives: build, skip, refuse, draw."""

import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ecgtext_plugins.errors import BadNegatives, TextEncoderUnavailable
from ecgtext_plugins.negatives import build
from ecgtext_plugins.negatives.build import NegativesOptions
from ecgtext_plugins.negatives.embedding import embed_texts
from ecgtext_plugins.negatives.table import NegativesTable
from ecgtext_plugins.text.encoders import load_text_encoder, load_tokenizer
from ecgtext_plugins.text.scratch import build_scratch_text_encoder

REPORTS = [f"{rhythm} {finding}" for rhythm in ("sinus rhythm", "atrial fibrillation") for finding in
           ("normal ecg", "left bundle branch block", "low voltage", "st elevation")]  # fmt: skip
SIZES = {"vocab_size": 150, "d_model": 8, "num_layers": 1, "num_heads": 2, "d_ff": 16}


class FakeStore:
    """What the builder needs of a RecordStore: records 0..9, of which the first six are in the train manifest."""

    report_of_record = np.array([3, 1, 6, 1, 4, -1, 0, 2, 5, 7])
    train_rows = np.arange(6)

    def __init__(self, folder: Path):
        self.folder, self.reports_fingerprint, self.n_reports = folder, "ab" * 32, len(REPORTS)

    def column(self, name):
        assert name == "report_id"
        return self.report_of_record

    def report_text(self, report_id):
        return REPORTS[report_id]


def build_negatives(folder, encoder, rebuild=False, **options):
    return build.build_negatives(folder, encoder, NegativesOptions(**options), rebuild=rebuild)


def tables(store):
    """Names of the files beside the vectors."""
    return sorted(path.name for path in (store.folder / "negatives").iterdir() if not path.name.startswith("vectors-"))


def forbid_embedding(monkeypatch):
    def embed(*args):
        raise AssertionError("embeds again")

    monkeypatch.setattr(build, "embed_texts", embed)


@pytest.fixture
def store(tmp_path, monkeypatch):
    store = FakeStore(tmp_path)
    monkeypatch.setattr(build.RecordStore, "open", lambda folder: store)
    monkeypatch.setattr(
        build, "read_manifest", lambda path: SimpleNamespace(path=path, store=store, rows=store.train_rows)
    )
    build_scratch_text_encoder(REPORTS, tmp_path / "text_encoder", **SIZES)
    return store


def test_table_equals_brute_force_over_the_train_reports(store):
    meta, built = build_negatives(store.folder, "scratch", k=2)
    assert built
    encoder, tokenizer = (load(store.folder / "text_encoder") for load in (load_text_encoder, load_tokenizer))
    vectors = embed_texts(encoder, tokenizer, REPORTS).astype(np.float64)
    table = NegativesTable.open(store.folder / "negatives", store).table
    assert table.shape == (8, 2) and table.dtype == np.int32
    for report in range(8):
        others = [candidate for candidate in (1, 3, 4, 6) if candidate != report]
        expected = sorted(others, key=lambda candidate: vectors[report] @ vectors[candidate])[:2]
        assert table[report].tolist() == expected
    assert (meta["k"], meta["k_asked"], meta["n_reports"], meta["n_candidates"]) == (2, 2, 8, 4)
    assert json.loads((store.folder / "negatives" / "meta.json").read_text()) == meta
    assert tables(store) == ["farthest.npy", "meta.json"]
    kept = np.load(store.folder / "negatives" / f"vectors-{meta['vectors_key']}.npy")
    np.testing.assert_array_equal(kept, vectors.astype(np.float32))
    assert meta["precision"] == "float32" and meta["search"] == "exact" and meta["recall"] is None


def test_asking_for_more_than_there_are_keeps_all_others(store):
    meta, _ = build_negatives(store.folder, "scratch", k=64)
    assert (meta["k"], meta["k_asked"]) == (3, 64)
    table = NegativesTable.open(store.folder / "negatives", store).table
    for report, row in enumerate(table):
        assert report not in row and set(row) <= {1, 3, 4, 6} and len(set(row)) == 3


def test_same_inputs_are_skipped_others_rebuilt(store):
    build_negatives(store.folder, "scratch", k=2)
    table = store.folder / "negatives" / "farthest.npy"
    before, stamp = table.read_bytes(), table.stat().st_mtime_ns
    assert build_negatives(store.folder, "scratch", k=2)[1] is False
    assert table.stat().st_mtime_ns == stamp
    assert build_negatives(store.folder, "scratch", k=2, rebuild=True)[1] is True
    assert table.read_bytes() == before
    assert build_negatives(store.folder, "scratch", k=1)[1] is True
    build_scratch_text_encoder(REPORTS, store.folder / "text_encoder", seed=9, **SIZES)
    meta, built = build_negatives(store.folder, "scratch", k=1)
    assert built
    store.train_rows = np.arange(4)
    assert build_negatives(store.folder, "scratch", k=1)[0] != meta
    store.reports_fingerprint = "cd" * 32
    assert build_negatives(store.folder, "scratch", k=1)[1] is True


def test_the_same_encoder_under_another_name_is_the_same_input(store):
    build_negatives(store.folder, "scratch", k=2)
    assert build_negatives(store.folder, str(store.folder / "text_encoder"), k=2)[1] is False


def test_damaged_or_half_written_tables(store):
    folder = store.folder / "negatives"
    build_negatives(store.folder, "scratch", k=2)
    whole = (folder / "farthest.npy").read_bytes()
    (folder / "farthest.npy").write_bytes(whole[:40])
    with pytest.raises(BadNegatives, match="farthest.npy cannot be read"):
        NegativesTable.open(folder, store)
    np.save(folder / "farthest.npy", np.zeros((8, 5), dtype=np.int32))
    with pytest.raises(BadNegatives, match=r"holds int32 \(8, 5\), expected int32 \(8, 2\)"):
        NegativesTable.open(folder, store)
    (folder / "farthest.npy").unlink()
    assert build_negatives(store.folder, "scratch", k=2)[1] is True
    assert (folder / "farthest.npy").read_bytes() == whole
    (folder / "meta.json").write_text("{")
    with pytest.raises(BadNegatives, match="meta.json is not JSON"):
        NegativesTable.open(folder, store)
    (folder / "meta.json").write_text('{"format": 99}')
    with pytest.raises(BadNegatives, match="has format 99, expected 1"):
        NegativesTable.open(folder, store)


def test_missing_and_foreign_tables_name_the_command(store):
    with pytest.raises(BadNegatives, match=f"`ecgtext negatives build {store.folder} --text-encoder NAME`"):
        NegativesTable.open(store.folder / "negatives", store)
    build_negatives(store.folder, "scratch", k=2)
    store.reports_fingerprint = "cd" * 32
    with pytest.raises(BadNegatives, match="built for reports abab.* has reports cdcd.* --text-encoder scratch`"):
        NegativesTable.open(store.folder / "negatives", store)


@pytest.mark.parametrize("reports", [[2, 2, 2], [2, -1], [-1], []])
def test_fewer_than_two_reports(store, reports):
    store.report_of_record, store.train_rows = np.array(reports, dtype=np.int64), np.arange(len(reports))
    found = len({report for report in reports if report >= 0})
    with pytest.raises(BadNegatives, match=f"train.tsv has {found} unique reports, .* at least 2 are needed"):
        build_negatives(store.folder, "scratch")
    assert not (store.folder / "negatives").exists()


def test_bad_arguments(store, tmp_path):
    with pytest.raises(BadNegatives, match="table of 0 farthest"):
        build_negatives(store.folder, "scratch", k=0)
    with pytest.raises(TextEncoderUnavailable, match="is not there"):
        build_negatives(store.folder, str(tmp_path / "nothing"))


def test_band_is_added_and_kept_without_embedding_again(store, monkeypatch):
    first, _ = build_negatives(store.folder, "scratch", k=2)
    farthest = store.folder / "negatives" / "farthest.npy"
    stamp = farthest.stat().st_mtime_ns
    with pytest.raises(BadNegatives, match=f"have no band: .*build {store.folder} --text-encoder scratch --band 0.5"):
        NegativesTable.open(store.folder / "negatives", store).band  # noqa: B018
    forbid_embedding(monkeypatch)
    meta, built = build_negatives(store.folder, "scratch", k=2, band=(0.5, 1.0), seed=3)
    assert built and meta == first | {"band": {"low": 0.5, "high": 1.0, "seed": 3}}
    assert farthest.stat().st_mtime_ns == stamp
    opened = NegativesTable.open(store.folder / "negatives", store)
    vectors = np.load(store.folder / "negatives" / f"vectors-{meta['vectors_key']}.npy").astype(np.float64)
    for report, row in enumerate(opened.band):
        others = [candidate for candidate in (1, 3, 4, 6) if candidate != report]
        similar = vectors[others] @ vectors[report]
        assert set(row) <= {other for other, s in zip(others, similar, strict=True) if s >= np.median(similar) - 1e-6}
    for same in ({"band": (0.5, 1.0), "seed": 3}, {}, {"seed": 7}):
        assert build_negatives(store.folder, "scratch", k=2, **same) == (meta, False)
    assert build_negatives(store.folder, "scratch", k=2, band=(0.5, 1.0), seed=4)[1] is True
    np.save(store.folder / "negatives" / "band.npy", np.zeros((8, 5), dtype=np.int32))
    with pytest.raises(BadNegatives, match=r"band.npy holds int32 \(8, 5\), expected int32 \(8, 2\)"):
        NegativesTable.open(store.folder / "negatives", store)


def test_a_band_of_other_inputs_goes(store, caplog):
    build_negatives(store.folder, "scratch", k=2, band=(0.0, 1.0))
    meta, built = build_negatives(store.folder, "scratch", k=1)
    assert built and meta["band"] is None and tables(store) == ["farthest.npy", "meta.json"]
    assert "give --band to build it again" in caplog.text


def test_hub_cap_and_precision_are_inputs(store):
    free, _ = build_negatives(store.folder, "scratch", k=2)
    capped, built = build_negatives(store.folder, "scratch", k=2, hub_cap=4)
    assert built and capped["hub_cap"] == 4 and capped["vectors_key"] == free["vectors_key"]
    table = np.load(store.folder / "negatives" / "farthest.npy")
    np.testing.assert_array_equal(np.bincount(table.ravel())[[1, 3, 4, 6]], 4)
    assert build_negatives(store.folder, "scratch", k=2, hub_cap=4) == (capped, False)
    half, built = build_negatives(store.folder, "scratch", k=2, bf16=True)
    assert built and half["precision"] == "bfloat16" and half["vectors_key"] != free["vectors_key"]
    assert len(list((store.folder / "negatives").glob("vectors-*.npy"))) == 1


def test_build_killed_in_the_search_does_not_embed_again(store, monkeypatch):
    expected, _ = build_negatives(store.folder, "scratch", k=2, rebuild=True)
    before = (store.folder / "negatives" / "farthest.npy").read_bytes()

    def killed(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build, "farthest_candidates", killed)
        with pytest.raises(KeyboardInterrupt):
            build_negatives(store.folder, "scratch", k=2, rebuild=True)
    assert (store.folder / "negatives" / "farthest.npy").read_bytes() == before  # still whole
    (store.folder / "negatives" / "meta.json").unlink()
    forbid_embedding(monkeypatch)
    assert build_negatives(store.folder, "scratch", k=2) == (expected, True)
    assert (store.folder / "negatives" / "farthest.npy").read_bytes() == before


def test_approximate_search_writes_its_recall(store):
    meta, _ = build_negatives(store.folder, "scratch", k=2, approximate="always")
    assert meta["search"] == "ivf" and meta["recall"] == 1.0  # one cell
    assert build_negatives(store.folder, "scratch", k=2)[0]["search"] == "exact"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seed": -1}, "seed -1 is negative"),
        ({"approximate": "often"}, "approximate 'often': expected one of auto, never, always"),
        ({"approximate": "always", "hub_cap": 8}, "a hub cap needs the exact search"),
        ({"band": (0.9, 0.5)}, "band 0.9,0.5 is no range of quantiles"),
        ({"k": 2, "hub_cap": 3}, "but 8 reports need 2 each; give --hub-cap 4 or more"),
    ],
)
def test_options_that_do_not_fit(store, options, sentence):
    with pytest.raises(BadNegatives, match=sentence):
        build_negatives(store.folder, "scratch", **options)
    assert not (store.folder / "negatives").exists()


def test_pickles_without_its_content(store):
    build_negatives(store.folder, "scratch", k=2)
    table = NegativesTable.open(store.folder / "negatives", store)
    data = pickle.dumps(table)
    assert b"ndarray" not in data and b"memmap" not in data
    np.testing.assert_array_equal(pickle.loads(data).table, table.table)
    assert isinstance(table.table, np.memmap)
