import hashlib
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecgtext_plugins.cli.main import main
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.checksums import write_checksums
from ecgtext_plugins.store.reader import RecordStore
from ecgtext_plugins.store.recipe import resolve_recipe
from ecgtext_plugins.store.verification import verify_download, verify_signals, verify_store
from tests import builders


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    rows = builders.write_mimic_tree(folder / "raw", 24, seed=2)
    (folder / "raw" / rows[3]["path"]).with_suffix(".dat").unlink()
    build_store(resolve_recipe(builders.demo_recipe(), "test"), folder / "raw", folder / "data")
    return folder


@pytest.fixture
def folder(pristine, tmp_path):
    shutil.copytree(pristine, tmp_path / "copy")
    return tmp_path / "copy"


def kinds(folder):
    return {finding.kind: finding for finding in verify_store(RecordStore.open(folder / "data"))}


def rewrite(folder, change):
    """Change the rows of records.parquet, as if the build had written them so."""
    path = folder / "data" / "records.parquet"
    table = pq.read_table(path)
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema), path)
    write_checksums(folder / "data", {})


def test_a_store_as_built_has_nothing_wrong(folder, capsys):
    assert kinds(folder) == {}
    command = ["manifest", "verify", str(folder / "data"), "--raw", str(folder / "raw"), "--json"]
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["errors"] == 0 and [finding["kind"] for finding in said["findings"]] == ["sums"]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("signals/shard-00001.npy", flip, "is not the file that the build wrote"),
        ("signals/shard-00001.npy", lambda path: path.write_bytes(path.read_bytes()[:-24]), "is not the file"),
        ("manifests/valid.tsv", lambda path: path.unlink(), "is missing"),
        ("manifests/more.tsv", lambda path: path.write_text("..\nrecord_id\tn_samples\n"), "was not written"),
        ("reports.parquet", flip, "is not the file"),
    ],
)
def test_changed_files_are_named(folder, capsys, name, change, message):
    change(folder / "data" / name)
    finding = kinds(folder)["file"]
    assert name in finding.message and message in finding.message and finding.is_error
    assert main(["manifest", "verify", str(folder / "data")]) == 1
    assert name in capsys.readouterr().out


def test_an_unreadable_table_is_a_finding(folder):
    (folder / "data" / "records.parquet").write_bytes(b"PAR1")
    assert {"file", "table"} <= set(kinds(folder))


def test_rows_must_be_as_many_as_were_kept(folder):
    rewrite(folder, lambda rows: rows[:-1])
    assert "records.parquet has 22 rows: expected 23" in kinds(folder)["counts"].message


def test_ids_must_be_there_once(folder):
    rewrite(folder, lambda rows: [*rows[:-1], rows[0]])
    assert rows_named(folder) in kinds(folder)["duplicate_id"].message


def rows_named(folder):
    return pq.read_table(folder / "data" / "records.parquet")["record_id"][0].as_py()


def test_copies_of_a_signal_are_an_error_where_splits_share_them(folder):
    def copied(rows):
        first, other = rows[0], next(row for row in rows if row["split"] != rows[0]["split"])
        return [{**row, "checksum": first["checksum"]} if row is other else row for row in rows]

    rewrite(folder, copied)
    finding = kinds(folder)["duplicate_signal"]
    assert finding.is_error and "2 records are 1 signals (1 of these in several splits" in finding.message

    def within(rows):
        first = rows[0]
        other = next(row for row in rows[1:] if row["split"] == first["split"])
        return [
            {**row, "checksum": str(n)} | ({"checksum": "x"} if row in (first, other) else {})
            for n, row in enumerate(rows)
        ]

    rewrite(folder, within)
    finding = kinds(folder)["duplicate_signal"]
    assert not finding.is_error and "(0 of these in several splits" in finding.message


def test_a_patient_in_two_manifests_is_named(folder):
    train, valid = (folder / "data" / "manifests" / f"{split}.tsv" for split in ("train", "valid"))
    one = train.read_text().splitlines()[2]
    valid.write_text(valid.read_text() + one + "\n")
    assert "patients are in both" in kinds(folder)["patients"].message


def test_a_damaged_manifest_is_told(folder):
    (folder / "data" / "manifests" / "train.tsv").write_text("..\nrecord_id\tn_samples\nnobody\t1000\n")
    assert "names record nobody" in kinds(folder)["manifest"].message


def test_other_figures_than_expected_are_a_note(folder):
    path = folder / "data" / "corpus.json"
    corpus = json.loads(path.read_text())
    corpus["recipe"]["expected"] = {"found": 25}
    path.write_text(json.dumps(corpus))
    finding = kinds(folder)["expected"]
    assert not finding.is_error and finding.message == "found is 24: the recipe expects 25"


def test_a_changed_recording_is_told(folder):
    store = RecordStore.open(folder / "data")
    record_id, path = store.column("record_id")[5], folder / "raw" / store.column("source_path")[5]
    assert list(verify_signals(store, RawFolder(folder / "raw"), None, 0)) == []
    counts = builders.ecg_counts(np.random.default_rng(99), 1000)
    builders.write_record(path.parent, path.name, counts)
    (finding,) = verify_signals(store, RawFolder(folder / "raw"), None, 0)
    assert record_id in finding.message and "another signal" in finding.message
    path.with_suffix(".dat").unlink()
    (finding,) = verify_signals(store, RawFolder(folder / "raw"), None, 0)
    assert record_id in finding.message and "the store has it" in finding.message
    done = []
    list(verify_signals(store, RawFolder(folder / "raw"), None, 7, done.append))
    assert len(done) == 7


def test_the_downloads_own_sums(folder):
    raw = folder / "raw"
    names = sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256((raw / name).read_bytes()).hexdigest()} {name}" for name in names]
    (raw / "SHA256SUMS.txt").write_text("\n".join(lines) + "\n")
    assert list(verify_download(RawFolder(raw))) == []
    flip(raw / names[4])
    (raw / names[7]).unlink()
    (raw / "SHA256SUMS.txt").write_text("\n".join([*lines, "not a digest"]) + "\n")
    found = [finding.message for finding in verify_download(RawFolder(raw))]
    assert len(found) == 3 and f"line {len(lines) + 1} is 'not a digest'" in found[0]
    assert any("1 files" in message and "missing" in message and names[7] in message for message in found)
    assert any("1 files" in message and "different" in message and names[4] in message for message in found)


def test_tables_need_raw(folder, capsys):
    assert main(["manifest", "verify", str(folder / "data"), "--tables", str(folder)]) == 1
    assert "--tables is given without --raw" in capsys.readouterr().err
