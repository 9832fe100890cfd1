import pytest
import yaml

from ecgtext_plugins.errors import BadRecipe
from ecgtext_plugins.store.recipe import differences, fingerprint, load_recipe, resolve_recipe
from tests.builders import demo_recipe


@pytest.mark.parametrize("name", ["mimic_iv_ecg", "physionet2021", "demo"])
def test_shipped_recipes_load_and_spell_out_every_key(name):
    recipe = load_recipe(name)
    assert recipe["name"] == name
    from ecgtext_plugins.recipes import find_recipe
    from ecgtext_plugins.store.recipe_keys import KEYS

    assert set(yaml.safe_load(find_recipe(name).read_text())) == set(KEYS)


def test_defaults_are_filled_in_without_touching_the_argument():
    given = demo_recipe()
    recipe = resolve_recipe(given, "x")
    assert recipe["reports"]["required"] is True and recipe["checks"]["max_missing_share"] == 0.0
    assert given == demo_recipe()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_rte": 100}, "unknown key sample_rte.*did you mean sample_rate"),
        ({"zzz": 1}, "unknown key zzz.*remove it"),
        ({"reader": "mimic"}, "reader is 'mimic'.*expected .*mimic_iv_ecg"),
        ({"reader": "mimic_iv_ecgs"}, "did you mean mimic_iv_ecg"),
        ({"sample_rate": "100"}, "sample_rate is '100': expected a number"),
        ({"sample_rate": True}, "sample_rate is True"),
        ({"sample_rate": 0}, "sample_rate is 0: expected 20 to 5000"),
        ({"sample_rate": float("nan")}, "sample_rate is nan"),
        ({"seconds": -1}, "seconds is -1"),
        ({"seconds": 1, "min_seconds": 2}, "min_seconds 2 is above seconds 1"),
        ({"records_per_shard": 2.5}, "records_per_shard is 2.5: expected a whole number"),
        ({"reports": {"require": True}}, "unknown key reports.require.*did you mean reports.required"),
        ({"reports": {"required": "yes"}}, "reports.required is 'yes': expected true or false"),
        ({"labels": {"file": "a.csv"}}, "key labels.names is missing"),
        ({"labels": {"scheme": "x"}}, "has no schemes"),
        ({"labels": {"file": "../a.csv", "names": ["a"]}}, "labels.file is '../a.csv'"),
        ({"labels": {"file": "a.csv", "names": ["a", "a"]}}, "labels.names has"),
        ({"labels": {"file": "a.csv", "names": ["a", 3]}}, "labels.names has 3"),
        ({"reader": "physionet2021"}, "unknown key labels.file"),
        ({"reader": "physionet2021", "labels": {"scheme": "challenge2021"}}, "did you mean challenge2021_scored"),
        ({"split": {"fractions": {"train": 0.5, "valid": 0.4}}}, "sum to 0.9"),
        ({"split": {"fractions": {"training": 1.0}}}, "did you mean train"),
        ({"split": {"fractions": {"train": "all"}}}, "split.fractions.train is 'all'"),
        ({"split": {"fractions": {}}}, "sum to 0"),
        ({"split": {"by": "study", "fractions": {"train": 1}}}, "split.by is 'study'"),
        ({"split": {"by": "official"}}, "knows no official split"),
        ({"split": None}, "split is None: expected a mapping"),
        ({"expected": {"found": "many"}}, "expected.found is 'many'"),
        ({"expected": {"splits": {"training": 3}}}, "a split in expected.splits is 'training'.*did you mean train"),
        ({"expected": {"labels": {"NORM": "many"}}}, "expected.labels.NORM is 'many'"),
        ({"expected": {"label_sets": {"super": 3}}}, "expected.label_sets.super is 3"),
        ({"subsets": {"percentages": [0]}}, "subsets.percentages holds 0"),
        ({"subsets": {"percentages": [1], "method": "nest"}}, "did you mean nested"),
        ({"resampling": "linaer"}, "did you mean linear"),
        ({"checks": {"checksum": "ignore"}}, "checks.checksum is 'ignore'"),
        ({"checks": {"missing_sample": "mark"}}, "did you mean checks.missing_samples"),
        ({"filter": {"high_pass": 300}}, "filter: high_pass is 300 Hz"),
        ({"pad": True, "seconds": None}, "pad is true while seconds is null"),
        ({"segments": {"seconds": 0}}, "segments.seconds is 0"),
        ({"options": {"rate": 3}}, "unknown key options.rate"),
        ({"exclude_sources": ["a", 1]}, "exclude_sources has 1"),
    ],
)
def test_refusals_say_what_to_do(changes, message):
    with pytest.raises(BadRecipe, match=f"recipe x.*{message}"):
        resolve_recipe(demo_recipe(**changes), "x")


def test_missing_keys_and_files_that_are_no_recipes(tmp_path):
    recipe = demo_recipe()
    del recipe["sample_rate"]
    with pytest.raises(BadRecipe, match="key sample_rate is missing: expected a number"):
        resolve_recipe(recipe, "x")
    path = tmp_path / "bad.yaml"
    for content, message in [("a: [", "cannot be read as YAML"), ("", "NoneType"), ("- a", "list"), ("\x00", "YAML")]:
        path.write_text(content)
        with pytest.raises(BadRecipe, match=message):
            load_recipe(str(path))
    with pytest.raises(BadRecipe, match="no recipe 'nothing'"):
        load_recipe("nothing")


def test_fingerprint_follows_what_decides_the_data_only():
    base = resolve_recipe(demo_recipe(), "x")
    same = [{"name": "other"}, {"description": "d"}, {"expected": {"found": 3}}, {"sample_rate": 500.0}]
    other = [
        {"sample_rate": 250},
        {"seconds": 3},
        {"labels": None},
        {"checks": {"max_missing_share": 0.1}},
        {"records_per_shard": 6},
    ]
    for changes in same:
        assert fingerprint(resolve_recipe(demo_recipe(**changes), "y")) == fingerprint(base)
    prints = {fingerprint(resolve_recipe(demo_recipe(**changes), "y")) for changes in other}
    assert len(prints | {fingerprint(base)}) == len(other) + 1
    changed = resolve_recipe(demo_recipe(sample_rate=250), "y")
    assert differences(base, changed) == ["sample_rate 500 / 250"]
