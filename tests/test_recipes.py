"""Finding recipes: by path, by name, and what is said when there is none."""

import pytest

from ecgtext_plugins.errors import BadRecipe
from ecgtext_plugins.recipes import BENCHMARKS, find_recipe, recipes_root


def test_by_name_and_by_path(tmp_path):
    shipped = find_recipe("demo")
    assert shipped == recipes_root() / "manifests" / "demo.yaml" == find_recipe("demo.yaml")
    assert find_recipe("demo", BENCHMARKS) == recipes_root() / BENCHMARKS / "demo.yaml"
    own = tmp_path / "own.yml"
    own.write_text("name: own")
    assert find_recipe(str(own)) == own


def test_none_says_what_it_is_and_which_is_near():
    with pytest.raises(BadRecipe, match=r"no recipe 'dmeo': .*in manifests \(.*ptbxl.*\); did you mean demo\?$"):
        find_recipe("dmeo")
    with pytest.raises(BadRecipe, match=r"no recipe 'nothing': .*\)$"):
        find_recipe("nothing")
    with pytest.raises(BadRecipe, match=r"no benchmark 'csn_corected': .*`ecgtext eval ls` lists; did you mean csn_c"):
        find_recipe("csn_corected", BENCHMARKS)
