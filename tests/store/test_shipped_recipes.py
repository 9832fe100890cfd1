"""The recipes in manifests/: complete, loadable, documented."""

import re
from pathlib import Path

import pytest
import yaml

from ecgtext_plugins.corpora.readers import READERS
from ecgtext_plugins.store.recipe import load_recipe
from ecgtext_plugins.store.recipe_keys import KEYS, SECTIONS

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
RECIPES = sorted(path.stem for path in MANIFESTS.glob("*.yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_every_key_stands_in_the_file(name):
    content = yaml.safe_load((MANIFESTS / f"{name}.yaml").read_text("utf-8"))
    assert content["name"] == name and load_recipe(name)["name"] == name
    assert list(KEYS) == sorted(content, key=list(KEYS).index)
    for section, keys in SECTIONS.items():
        if content[section] is not None:
            assert set(content[section]) == set(keys), section
    assert set(content["options"]) == set(READERS[content["reader"]].options)


def test_readme_names_every_recipe_and_key():
    text = (MANIFESTS / "README.md").read_text("utf-8")
    assert [name for name in RECIPES if f"`{name}`" not in text] == []
    named = set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)?)`", text))
    for section in re.findall(r"`([a-z_]+)\.[a-z_]+`", text):
        named |= {f"{section}.{key}" for key in re.findall(r"`\.([a-z_]+)`", text)}
    keys = {key for key in KEYS if key not in SECTIONS} | {
        f"{name}.{key}" for name in SECTIONS for key in SECTIONS[name]
    }
    assert sorted(keys - named) == []
