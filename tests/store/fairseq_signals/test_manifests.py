import numpy as np
import pytest

from ecgtext_plugins.errors import BadManifest
from ecgtext_plugins.store.fairseq_signals.manifests import is_fairseq_signals, parse_manifest


def write(folder, lines, newline="\n", name="train.tsv"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(newline.join([*lines, ""]).encode())
    return folder / name


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("root", ["{}", "\t{}/", "{}/"])
def test_plain_with_both_first_lines(tmp_path, root, newline):
    path = write(tmp_path / "m", [root.format(tmp_path), "a/x_0.mat\t2500", "a/x_1.mat\t2400"], newline)
    manifest = parse_manifest(path)
    assert is_fairseq_signals(path)
    assert (manifest.kind, manifest.root, manifest.paths) == ("plain", tmp_path, ["a/x_0.mat", "a/x_1.mat"])
    assert manifest.sizes.tolist() == [2500, 2400] and manifest.lines.tolist() == [2, 3] and len(manifest) == 2
    assert manifest.sizes.dtype == np.int64 and manifest.pairs is None and manifest.classes is None


def test_identification(tmp_path):
    path = write(tmp_path, ["/data", "12_a.mat\t2500\t0", "12_b.mat\t2500\t0", "9_c.mat\t2500\t1"])
    manifest = parse_manifest(path)
    assert is_fairseq_signals(path) and manifest.kind == "identification" and manifest.classes.tolist() == [0, 0, 1]


def test_cmsc_pairs_as_the_loader_of_fairseq_signals_takes_them(tmp_path):
    """Consecutive pairs; an odd last window is left out, and a line with one window has none."""
    lines = ["/data", "mat", "x\t2500\t0\t0,1", "x\t2500\t0\t2,3", "y\t2500\t0\t7", "z\t2400\t0\t0,1,4"]
    path = write(tmp_path, lines)
    manifest = parse_manifest(path)
    assert is_fairseq_signals(path) and manifest.kind == "cmsc"
    assert manifest.paths == ["x_0.mat", "x_1.mat", "x_2.mat", "x_3.mat", "z_0.mat", "z_1.mat"]
    assert manifest.pairs.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert manifest.sizes.tolist() == [2500] * 4 + [2400] * 2 and manifest.lines.tolist() == [3, 3, 4, 4, 6, 6]
    empty = parse_manifest(write(tmp_path, ["/data", "mat"], name="empty.tsv"))
    assert empty.kind == "cmsc" and empty.pairs.shape == (0, 2)


def test_relative_folders_from_the_manifest_or_from_where_one_is(tmp_path, monkeypatch):
    (tmp_path / "data" / "segmented").mkdir(parents=True)
    (tmp_path / "data" / "segmented" / "x_0.mat").touch()
    lines = ["../segmented", "x_0.mat\t2500"]
    path = write(tmp_path / "data" / "manifests", lines)
    assert parse_manifest(path).root == tmp_path / "data" / "segmented"
    elsewhere = write(tmp_path / "other", ["data/segmented", "x_0.mat\t2500"])
    assert parse_manifest(elsewhere).root == tmp_path / "other" / "data" / "segmented"
    monkeypatch.chdir(tmp_path)
    assert parse_manifest(elsewhere).root == tmp_path / "data" / "segmented"
    beside = write(tmp_path / "data" / "segmented", ["\t", "x_0.mat\t2500"])
    assert parse_manifest(beside).root == tmp_path / "data" / "segmented"


def test_dbetas_form_without_a_folder(tmp_path):
    path = write(tmp_path, ["x.mat\t5000", "y.mat\t5000"])
    assert is_fairseq_signals(path)
    with pytest.raises(BadManifest, match="line 1 .* names no folder, as D-BETA's manifests do, .* add it as first"):
        parse_manifest(path)
    (tmp_path / "x.mat").touch()
    manifest = parse_manifest(path)
    assert (manifest.root, manifest.paths, manifest.lines.tolist()) == (tmp_path, ["x.mat", "y.mat"], [1, 2])


@pytest.mark.parametrize(
    ("lines", "number", "expected"),
    [
        (["/d", "x.mat"], 2, "name.mat<TAB>samples"),
        (["/d", "x.mat\t1\t2\t3\t4"], 2, "name.mat<TAB>samples"),
        (["/d", "x.mat\t10", "y.mat"], 3, "name.mat<TAB>samples"),
        (["/d", "x.mat\t10", "y.mat\t10\t1\t0,1\t8"], 3, "name.mat<TAB>samples"),
        (["/d", "x.mat\t10", "", "y.mat\t10"], 3, "name.mat<TAB>samples"),
        (["/d", "x.mat\tlong"], 2, "name.mat<TAB>samples"),
        (["/d", "x.mat\t-5"], 2, "name.mat<TAB>samples"),
        (["/d", "x.mat\t10\t0", "y.mat\t10"], 3, "class index"),
        (["/d", "x.mat\t10\tBob", "y.mat\t10\t1"], 2, "class index"),
        (["/d", "x.mat\t10", "y.npy\t10"], 3, "name.mat"),
        (["/d", "mat", "x\t10\t0\t0,1", "y\t10\t0"], 4, "stem<TAB>samples"),
        (["/d", "mat", "x\t10\t0\t0,one"], 3, "stem<TAB>samples"),
    ],
)
def test_bad_lines_are_named(tmp_path, lines, number, expected):
    path = write(tmp_path, lines)
    assert is_fairseq_signals(path)
    with pytest.raises(BadManifest, match=rf"train.tsv line {number} is .*{expected}"):
        parse_manifest(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["/d", "x.mat\t10", "y.mat\t10", "x.mat\t10"], "line 4 lists x.mat, which line 2 lists too"),
        (["/d", "mat", "x\t10\t0\t0,1", "x\t10\t0\t1,2"], "line 4 lists x_1.mat, which line 3 lists too"),
        (["/d", "hdf5", "x\t10\t0\t0,1"], "line 2 is the extension 'hdf5'"),
        (["/d\tfoo", "x.mat\t10"], "line 1 is '/d.tfoo': expected the folder"),
        ([], "line 1 is '': expected the folder"),
    ],
)
def test_other_refusals(tmp_path, lines, message):
    with pytest.raises(BadManifest, match=message):
        parse_manifest(write(tmp_path, lines))


def test_unreadable_manifests(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"/d\nx.mat\t10\n\xff\xfe\n")
    for name in ("a.tsv", "none.tsv"):
        with pytest.raises(BadManifest, match=f"{name} cannot be read"):
            parse_manifest(tmp_path / name)
    assert not is_fairseq_signals(tmp_path / "none.tsv")


@pytest.mark.parametrize(
    "lines",
    [
        ["..", "record_id\tn_samples", "40000000\t700"],
        ["..", "record_id\tn_samples\tstart", "40000000\t700\t0"],
        ["..", "record_id\tn_samples"],
        [".."],
        [],
        ["..", "id\tlength"],
    ],
)
def test_our_own_manifests_are_not_taken_for_theirs(tmp_path, lines):
    assert not is_fairseq_signals(write(tmp_path, lines))


def test_a_byte_order_mark_is_no_part_of_the_folder(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_bytes(b"\xef\xbb\xbf/data\nx.mat\t10\n\n")
    assert str(parse_manifest(path).root) == "/data"
