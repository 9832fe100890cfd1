"""The rules that come with the package, and errors about bad ones."""

import shutil

import networkx as nx
import pytest
import yaml

from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.text.labeler.entity_graph import EntityGraph
from ecgtext_plugins.text.labeler.phrases import expand
from ecgtext_plugins.text.labeler.rules import FILES, SHIPPED, load_rules


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        shutil.copy(SHIPPED / f"{name}.yaml", tmp_path)
    return tmp_path


def test_graph_has_no_cycle_and_labels_are_in_it():
    rules = load_rules()
    assert nx.is_directed_acyclic_graph(rules.graph.graph) and len(rules.graph) > 100
    assert all(label in rules.graph for label in rules.labels)


def test_certainties_are_the_best_path():
    graph = EntityGraph({"a": {"b": 0.5, "c": 1.0}, "b": {"d": 1.0}, "c": {"d": 0.75}, "d": {}})
    assert graph.above("a") == {"a": 1.0, "b": 0.5, "c": 1.0, "d": 0.75}
    assert graph.is_kind("a", "c") and not graph.is_kind("a", "d") and graph.is_kind("a", "a")


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ("1st degree atrioventricular block", "Atrioventricular block"),
        ("Anteroseptal infarction", "Infarction"),
        ("Sinus tachycardia", "Sinus rhythm"),
        ("Sinus tachycardia", "Tachycardia"),
        ("Bifascicular block", "Right bundle branch block"),
        ("Dual chamber pacing", "Electronic pacemaker"),
        ("Supraventricular tachycardia with aberrancy", "Tachycardia"),
    ],
)
def test_kinds(narrow, wide):
    graph = load_rules().graph
    assert graph.is_kind(narrow, wide) and not graph.is_kind(wide, narrow)


def test_notation():
    assert expand("[a|b (c|d)] x") == ["a x", "b c x", "b d x", "x"]
    with pytest.raises(ValueError, match="expected"):
        expand("(a|b")
    with pytest.raises(ValueError, match="expected"):
        expand("a|b)")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("entities", {"Infarction": {"is_a": ["Nothing"]}}, ["'Infarction'", "'Nothing'"]),
        ("entities", {"Infarction": {"is_a": ["Septal infarction"]}}, ["cycle", "Septal infarction"]),
        ("entities", {"New": {"isa": []}}, ["'New'", "'isa'"]),
        ("entities", {"New": {"phrases": ["sinus rhythm"]}}, ["'New'", "means Sinus rhythm already"]),
        ("entities", {"New": {"phrases": ["(a"]}}, ["'New'", "'(a'"]),
        ("entities", {"New": {"phrases": ["()"]}}, ["'New'", "no word"]),
        ("entities", {"New": {"suggests": {"Infarction": 2}}}, ["'New'", "certainty 2"]),
        ("entities", {"New": []}, ["'New'"]),
        ("labels", ["Sinus rhythm", "Zebra"], ["'Zebra'"]),
        ("descriptors", {"new": {"before": "often", "phrases": ["xyz"]}}, ["'new'", "'often'"]),
        ("descriptors", {"new": {"phrases": ["xyz"]}}, ["'new'", "before or after"]),
        ("descriptors", {"new": {"before": 1, "phrases": ["xyz"], "only": ["Zebra"]}}, ["'new'", "'Zebra'"]),
        ("descriptors", {"new": {"before": 1, "phrases": ["xyz"], "instead": {"Zebra": 1}}}, ["'new'", "'Zebra'"]),
        ("connectives", {"new": {"reach": "far", "phrases": ["xyz"]}}, ["'new'", "'far'"]),
        ("templates", {"compound": {"Zebra": {"all": [["Infarction"], ["Infarction"]]}}}, ["'Zebra'"]),
        ("templates", {"attached": {"Infarction": [{"first": "Infarction", "then": "Zebra"}]}}, ["'Zebra'"]),
        ("templates", {"other": {}}, ["'other'"]),
        ("spelling", {"x": 1}, ["'x'"]),
        ("context", ["sinus rhythm"], ["means Sinus rhythm already"]),
        ("context", [True], ["True"]),
    ],
)
def test_bad_entry_is_named(folder, name, change, words):
    path = folder / f"{name}.yaml"
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(content | change if isinstance(change, dict) else change, sort_keys=False))
    with pytest.raises(BadConfig) as caught:
        load_rules(folder)
    assert all(word in str(caught.value) for word in [*words, f"{name}.yaml"]), caught.value


def test_missing_broken_and_doubled(folder):
    (folder / "context.yaml").write_text("- [a")
    with pytest.raises(BadConfig, match=r"context\.yaml cannot be read as YAML"):
        load_rules(folder)
    (folder / "context.yaml").unlink()
    with pytest.raises(BadConfig, match=r"context\.yaml cannot be read"):
        load_rules(folder)
    shutil.copy(SHIPPED / "context.yaml", folder)
    with open(folder / "entities.yaml", "a") as handle:
        handle.write("Infarction:\n  phrases: [xyz]\n")
    with pytest.raises(BadConfig, match="'Infarction' is there twice"):
        load_rules(folder)
