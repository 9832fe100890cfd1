import math

import pytest

from ecgtext_plugins.corpora.header_comments import HeaderComments, age_of, header_comments
from ecgtext_plugins.corpora.label_sets import LabelSets

VOCABULARIES = {"a": ["x", "y"], "b": ["y", "z/z"]}


def sets(scheme):
    return LabelSets({"labels": None if scheme is None else {"scheme": scheme}})


def test_one_scheme_keeps_names_plain():
    one = sets("a")
    assert one.names(VOCABULARIES) == ["x", "y"]
    assert one.labels({"a": ["y"], "b": ["z/z"]}) == ("y",)
    assert one.completed((), "a", ["x"]) == ("x",) and one.completed(("x",), "b", ["y"]) == ("x",)
    assert one.name("a", "train_1pct") == "train_1pct"


def test_a_list_qualifies_them():
    both = sets(["b", "a"])
    assert both.names(VOCABULARIES) == ["b/y", "b/z/z", "a/x", "a/y"]
    assert both.labels({"a": ["x"], "b": ["y", "z/z"]}) == ("b/y", "b/z/z", "a/x")
    assert both.completed(("a/x", "a/y"), "b", ["z/z"]) == ("b/z/z", "a/x", "a/y")
    assert both.name("a", "train_1pct") == "a/train_1pct"
    assert sets(["a"]).names(VOCABULARIES) == ["a/x", "a/y"]


def test_no_labels():
    none = sets(None)
    assert none.schemes == [] and none.names({}) == [] and none.labels({"a": ["x"]}) == ()
    assert none.completed((), "a", ["x"]) == ()


@pytest.mark.parametrize(
    "lines, expected",
    [
        (["Age: 85", "Sex: Male", "Dx: 1,2"], HeaderComments(85.0, "M", "1,2")),
        (["age:7", "SEX : f", "dx:  3 "], HeaderComments(7.0, "F", "3")),
    ],
)
def test_header_comments(lines, expected):
    assert header_comments(["Rx: Unknown", *lines]) == expected


def test_header_comments_that_are_not_there():
    said = header_comments(["Age: NaN", "Sex: Unknown", "something else"])
    assert math.isnan(said.age) and (said.sex, said.dx, said.codes) == ("", "", ())
    assert HeaderComments(1.0, "", " 5, 6,,5").codes == ("5", "6")
    assert math.isnan(age_of("-3")) and math.isnan(age_of("inf")) and age_of("0.5") == 0.5
