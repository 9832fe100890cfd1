import functools
import http.server
import pickle
import sys
import threading
from pathlib import Path

import fsspec
import numpy as np
import pytest

from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables, is_under, safe_name
from ecgtext_plugins.corpora.readers import READERS, open_corpus
from ecgtext_plugins.errors import BadRawData, BadRecord
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.recipe import resolve_recipe
from tests import builders
from tests.downloads import code15, code_test


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files; has no notion of parts of them, and answers a request for one with the whole file."""

    def log_message(self, *_):
        pass


class PartsHandler(QuietHandler):
    """Serves parts of files, as most servers do."""

    def do_GET(self):
        wanted, path = self.headers.get("Range"), Path(self.translate_path(self.path))
        if wanted is None or not path.is_file():
            super().do_GET()
            return
        content = path.read_bytes()
        start, _, stop = wanted.removeprefix("bytes=").partition("-")
        part = content[int(start) : int(stop) + 1 if stop else None]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {start}-{int(start) + len(part) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(part)

    def end_headers(self):
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()


@pytest.fixture(params=["local", "file", "memory", "http", "http with parts"])
def place(request, tmp_path):
    """Yield a function that makes a local folder reachable in one of several ways."""
    if request.param == "local":
        yield str
    elif request.param == "file":
        yield lambda folder: f"file://{folder}"
    elif request.param == "memory":
        memory = fsspec.filesystem("memory")
        yield functools.partial(into_memory, memory, f"/{tmp_path.name}")
        memory.rm(f"/{tmp_path.name}", recursive=True)
    else:
        pytest.importorskip("aiohttp")
        handler = PartsHandler if "parts" in request.param else QuietHandler
        handler = functools.partial(handler, directory=str(tmp_path))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            yield lambda folder: f"http://127.0.0.1:{server.server_port}/{folder.relative_to(tmp_path)}"
            server.shutdown()


def into_memory(memory, root, folder):
    for path in folder.rglob("*"):
        if path.is_file():
            memory.pipe_file(f"{root}/{path.relative_to(folder)}", path.read_bytes())
    return f"memory:/{root}"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "raw" / "files" / "p 1").mkdir(parents=True)
    (tmp_path / "raw" / "table.csv").write_bytes(b"id,text\n1,a\n")
    (tmp_path / "raw" / "files" / "p 1" / "a.hea").write_bytes(b"header")
    (tmp_path / "raw" / "files" / "b.hea").write_bytes(b"")
    return tmp_path / "raw"


def test_every_way_reads_alike(folder, place):
    raw = RawFolder(place(folder))
    assert raw.exists() and raw.is_file("table.csv") and not raw.is_file("none.csv")
    assert raw.size("table.csv") == 12 and raw.size("files/p 1/a.hea") == 6
    assert raw.read("table.csv") == b"id,text\n1,a\n"
    assert raw.read("table.csv", 3, 4) == b"text" and raw.read("table.csv", 8) == b"1,a\n"
    assert raw.read("table.csv", 0, 100) == b"id,text\n1,a\n" and raw.read("table.csv", 8, 100) == b"1,a\n"
    assert raw.names(".hea") == ["files/b.hea", "files/p 1/a.hea"]
    with raw.open("table.csv") as handle:
        assert (handle.read(3), handle.readline(), handle.read()) == (b"id,", b"text\n", b"1,a\n")
    assert raw.sha256("table.csv") == RawFolder(folder).sha256("table.csv")
    with raw.local_copies(["files/p 1/a.hea"]) as copies:
        assert (copies / "files" / "p 1" / "a.hea").read_bytes() == b"header"
    again = pickle.loads(pickle.dumps(raw))
    assert again.read("table.csv", 0, 2) == b"id" and str(again) == str(raw) and repr(raw).startswith("RawFolder(")


def test_every_way_fails_alike(folder, place):
    raw = RawFolder(place(folder))
    for fails in (raw.open, raw.size, raw.read, raw.sha256):
        with pytest.raises(FileNotFoundError):
            fails("none.csv").close()
    assert not RawFolder(f"{raw}/nowhere").exists()


def same_entries(one, other):
    for left, right in zip(one, other, strict=True):
        assert repr(left) == repr(right)  # NaN is not itself


def test_mimic_read_from_anywhere_is_the_same(tmp_path, place):
    builders.write_mimic_tree(tmp_path / "raw", 5)
    recipe, raw = resolve_recipe(builders.demo_recipe(), "test"), RawFolder(place(tmp_path / "raw"))
    local, remote = open_corpus(recipe, tmp_path / "raw"), open_corpus(recipe, raw)
    same_entries(local.entries(0, 5), remote.entries(0, 5))
    read = READERS["mimic_iv_ecg"].read_entry
    for entry in local.entries(0, 5):
        assert read(raw, entry, recipe).checksum == read(RawFolder(tmp_path / "raw"), entry, recipe).checksum


def test_a_store_built_from_memory_is_the_same(tmp_path):
    builders.write_mimic_tree(tmp_path / "raw", 7)
    (tmp_path / "raw" / "files" / "p1000" / "p10000000" / "s40000000" / "40000000.dat").unlink()
    recipe, memory = resolve_recipe(builders.demo_recipe(), "test"), fsspec.filesystem("memory")
    try:
        build_store(recipe, into_memory(memory, "/mimic", tmp_path / "raw"), tmp_path / "remote")
    finally:
        memory.rm("/mimic", recursive=True)
    build_store(recipe, tmp_path / "raw", tmp_path / "local")
    assert builders.tree_digest(tmp_path / "remote") == builders.tree_digest(tmp_path / "local")


def test_hdf5_is_read_from_anywhere(tmp_path, place, request):
    if request.node.callspec.params["place"] == "http":
        pytest.skip("HDF5 needs a server that sends parts of files")
    rows = code15.write_download(tmp_path / "code15", 4, parts=2)
    recipe = resolve_recipe(code15_recipe("code15"), "test")
    raw = RawFolder(place(tmp_path / "code15"))
    entries = {entry.record_id: entry for entry in open_corpus(recipe, raw).entries(0, 4)}
    for row in rows:
        record = READERS["code15"].read_entry(raw, entries[str(row["exam_id"])], recipe)
        np.testing.assert_array_equal(record.signal, row["signal"])


def code15_recipe(name):
    split = {"by": "patient", "fractions": {"test": 1.0}}
    return {"name": name, "reader": name, "sample_rate": 500, "split": split}


def test_a_server_that_sends_no_parts_is_told(tmp_path, request):
    pytest.importorskip("aiohttp")
    code_test.write_download(tmp_path, 2)
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(BadRawData, match="ecg_tracings.hdf5 cannot be opened as HDF5"):
            open_corpus(resolve_recipe(code15_recipe("code_test"), "test"), f"http://127.0.0.1:{server.server_port}")
        server.shutdown()


@pytest.mark.parametrize(
    ("url", "module", "said"),
    [
        ("nothing://bucket/data", None, "nothing://bucket/data cannot be reached .*Protocol not known: nothing"),
        ("http://127.0.0.1:9/data", "aiohttp", "cannot be reached .*aiohttp.*install the package that it names"),
        ("s3://bucket/data", "s3fs", "cannot be reached .*s3fs"),
        ("gs://bucket/data", "gcsfs", "cannot be reached .*(gcsfs|google-cloud-storage)"),
    ],
)
def test_what_is_missing_for_a_url_is_named(monkeypatch, url, module, said):
    if module is not None:
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)
        for name in ("http", "s3", "gs"):
            monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, name, raising=False)
    with pytest.raises(BadRawData, match=said):
        RawFolder(url).exists()


def test_a_server_that_is_not_there_is_an_os_error():
    pytest.importorskip("aiohttp")
    with pytest.raises(OSError):
        RawFolder("http://127.0.0.1:9/data").read("table.csv")


def test_whatever_a_remote_file_raises_is_an_os_error(folder, monkeypatch):
    memory = fsspec.filesystem("memory")
    raw = RawFolder(into_memory(memory, "/odd", folder))
    handle = raw.open("table.csv")

    def fail(*_):
        raise RuntimeError("token expired")

    monkeypatch.setattr(type(memory.store["/odd/table.csv"]), "read", fail)
    with pytest.raises(OSError, match="RuntimeError: token expired"):
        handle.read()
    monkeypatch.undo()
    memory.rm("/odd", recursive=True)


def test_tables_are_looked_for_in_order_and_compressed_ones_will_do(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    tables = Tables((RawFolder(tmp_path / "first"), RawFolder(tmp_path / "second")))
    (tmp_path / "second" / "a.csv").write_text("")
    (tmp_path / "second" / "b.csv.gz").write_text("")
    assert str(tables.find("a.csv")[0]) == str(tmp_path / "second")
    (tmp_path / "first" / "a.csv").write_text("")
    assert str(tables.find("a.csv")[0]) == str(tmp_path / "first")
    assert tables.find("b.csv")[1] == "b.csv.gz"
    with pytest.raises(BadRawData, match="no table c.csv in .*first or .*second: .*--tables"):
        tables.find("c.csv")


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", ".", "a\tb", "a\nb", "a\0b", "\u202eb"])
def test_unsafe_names(name):
    with pytest.raises(BadRecord, match="record 1: its path is") as caught:
        safe_name(name, "record 1")
    assert caught.value.reason == "unsafe_path"


def test_safe_names():
    assert safe_name("files/./p 1//a", "record 1") == "files/p 1/a"
    assert is_under("files/p1/a", {"p1"}) and is_under("files/p1/a", {"files/p1"})
    assert not is_under("files/p1/a", {"a"}) and not is_under("files/p10/a", {"files/p1"})
