import pytest

from ecgtext_plugins.checkpoints.label_names import read_label_names
from ecgtext_plugins.errors import BadCheckpoint


def test_label_def_and_texts(tmp_path):
    (tmp_path / "label_def.csv").write_text('name,pos_count_train\nAF,10\n"Block, first degree",3\n')
    assert read_label_names(tmp_path / "label_def.csv") == ["AF", "Block, first degree"]
    (tmp_path / "labels.txt").write_text("\ufeffAF\n\n Block, first degree \n", encoding="utf-8")
    assert read_label_names(tmp_path / "labels.txt") == ["AF", "Block, first degree"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "label\nAF\n", "have the columns label"),
        ("a.csv", "", "have the columns none"),
        ("a.csv", "name\nAF\nAF\n", "2 names, 1 of them different"),
        ("a.csv", "name,x\n,1\nAF,1\n", "none empty"),
        ("a.txt", "\n", "0 names"),
    ],
)
def test_bad_ones(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadCheckpoint, match=said):
        read_label_names(tmp_path / name)
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        read_label_names(tmp_path / "none.csv")
