import gzip

import pytest

from ecgtext_plugins.corpora.csv_tables import column_names, read_columns, refuse_duplicates
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.errors import BadRawData


def read(tmp_path, content, columns=("id", "text"), name="t.csv"):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return read_columns(RawFolder(tmp_path), name, columns).to_pydict()


PLAIN = {"id": ["1", "2"], "text": ["a", "b"]}


@pytest.mark.parametrize(
    "content",
    [
        "id,text\n1,a\n2,b\n",
        "id,text\r\n1,a\r\n2,b",
        "\ufeffid,text\n1,a\n2,b\n",
        "id;text\n1;a\n2;b\n",
        "\ufeffid;text\r\n1;a\r\n2;b\r\n",
        "id\ttext\n1\ta\n2\tb\n",
        '"id","text"\n"1","a"\n"2","b"\n',
        "text,more,id\na,,1\nb,x,2\n",
        "id,text\n\n1,a\n\n2,b\n\n",
        'id,text,"a;b;c;d"\n1,a,\n2,b,\n',
        'id;text;"a,b,c,d"\n1;a;\n2;b;\n',
    ],
)
def test_forms_of_one_table(tmp_path, content):
    assert read(tmp_path, content) == PLAIN


def test_cells_survive_as_they_are(tmp_path):
    content = 'id,text\n007," a ""b"", c;\nd "\n1e5,nan\n,\nNaN,"=SUM(A1)"\n'
    assert read(tmp_path, content) == {
        "id": ["007", "1e5", "", "NaN"],
        "text": [' a "b", c;\nd ', "nan", "", "=SUM(A1)"],
    }


def test_compressed_tables(tmp_path):
    content = b"id,text\n1,a\n2,b\n"
    assert read(tmp_path, gzip.compress(content), name="t.csv.gz") == PLAIN
    assert column_names(RawFolder(tmp_path), "t.csv.gz") == ["id", "text"]
    with pytest.raises(BadRawData, match="t.csv.gz is not a readable CSV table"):
        read(tmp_path, content, name="t.csv.gz")
    with pytest.raises(BadRawData, match="t.csv.gz is not a readable CSV table"):
        read(tmp_path, gzip.compress(content * 1000)[:-20], name="t.csv.gz")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,words\n1,a\n", r"no column text .it has id, words.: expected id, text"),
        ("id,texts\n1,a\n", "no column text .*; is it texts"),
        ("ID,text\n1,a\n", "no column id"),
        ("id,text,text\n1,a,b\n", "has the column text more than once"),
        ("id,text;more\n1,a;b\n", "which commas and semicolons divide alike: expected one separator"),
        ("id,text\n1,a,b\n", "not a readable CSV table"),
        (b"id,text\n1,\xe4\n", "not a readable CSV table .*UTF-8"),
        ("id,text\n1,a\n".encode("utf-16"), "not a readable CSV table .*UTF-8"),
        ("", "its first line is empty"),
        ("\nid,text\n", "its first line is empty"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, content, said):
    with pytest.raises(BadRawData, match=said):
        read(tmp_path, content)


def test_a_column_twice_that_nobody_asks_for(tmp_path):
    assert read(tmp_path, "id,x,text,x\n1,,a,\n2,,b,\n") == PLAIN


def test_one_column_alone(tmp_path):
    assert read(tmp_path, "id\n1\n2\n", ["id"]) == {"id": ["1", "2"]}


def test_a_missing_table(tmp_path):
    for read_it in (column_names, lambda folder, name: read_columns(folder, name, ["id"])):
        with pytest.raises(BadRawData, match="no table .*none.csv"):
            read_it(RawFolder(tmp_path), "none.csv")


def test_duplicates_are_named(tmp_path):
    (tmp_path / "t.csv").write_text("id\n" + "\n".join("abcabd") + "\n")
    table = read_columns(RawFolder(tmp_path), "t.csv", ["id"])
    with pytest.raises(BadRawData, match=r"ids are there more than once \(2 of them: a, b\)"):
        refuse_duplicates(table["id"], "ids")
    refuse_duplicates(table["id"].slice(0, 3), "ids")
