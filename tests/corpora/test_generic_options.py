import pytest

from ecgtext_plugins.errors import BadRecipe
from ecgtext_plugins.store.recipe import load_recipe, resolve_recipe
from tests.corpora.reading_generic import FORMS, recipe_of

OFFICIAL = {"split": {"by": "official", "fractions": None}}


@pytest.mark.parametrize(
    ("columns", "changes", "options", "said"),
    [
        ({}, {}, {"table": "../records.csv"}, "options.table is '../records.csv': expected a path inside"),
        ({}, {}, {"table": "/records.csv"}, "options.table is '/records.csv'"),
        ({}, {}, {"format": "np"}, "options.format is 'np': expected wfdb, npy.*did you mean npy"),
        ({}, {}, {"layout": "lead_first"}, "did you mean leads_first"),
        ({}, {}, {**FORMS["csv"], "layout": "leads_first"}, "options.layout is given, but only npy and mat"),
        ({"patients": "p"}, {}, {}, "options.columns is 'patients': .*did you mean patient"),
        ({"path": None}, {}, {}, "options.columns.path is None: expected the name of a column;"),
        ({"report": 7}, {}, {}, "options.columns.report is 7: expected the name of a column or a list of them"),
        ({"report": []}, {}, {}, "options.columns.report is .. *: expected"),
        ({"report": ["a", "a"]}, {}, {}, "names a column twice"),
        ({"age": ["a"]}, {}, {}, "options.columns.age is .'a'.: expected the name of a column;"),
        ({"labels": None}, {}, {}, "options.columns.labels is None while labels is .'scheme': 'table'."),
        ({}, {"labels": None}, {}, "options.columns.labels is 'labels' while labels is None"),
        ({"labels": ["AF"]}, {}, {"label_names": ["AF"]}, "label_names is given: expected null"),
        ({}, {}, {"label_names": ["AF", "AF"]}, "label_names is .'AF', 'AF'.: expected a list of distinct texts"),
        ({}, {}, {"label_separator": ""}, "label_separator is empty"),
        ({}, OFFICIAL, {}, "split.by is official: expected options.columns.split"),
        ({}, {}, {"format": "wfdb"}, "options.leads is given, but headers of format wfdb"),
        ({"rate": "hz"}, {}, FORMS["wfdb"], "options.columns.rate is given, but headers of format wfdb"),
        ({}, {}, {"leads": None}, "options.leads is null: expected the lead names"),
        ({}, {}, {"leads": ["I", "i"]}, "options.leads has 'I' more than once"),
        ({}, {}, {"leads": ["I", "MCL1"]}, "options.leads has 'MCL1', which is no lead"),
        ({}, {}, {"leads": []}, "options.leads has 0 leads"),
        ({}, {}, {"key": "ecg"}, "options.key is 'ecg': expected null with format npy"),
        ({}, {}, {"format": "mat"}, "options.key is None: expected the name of the files' variable"),
        ({}, {}, {"format": "csv"}, "options.leads is given, but in format csv"),
        ({}, {}, {**FORMS["csv"], "key": "ecg"}, "options.key is 'ecg': expected null or a mapping"),
        ({}, {}, {**FORMS["csv"], "key": {"lead7": "c"}}, "options.key has 'lead7', which is no lead"),
        ({}, {}, {**FORMS["csv"], "key": {"V1": 7}}, "options.key has the column 7"),
        ({"rate": "hz"}, {}, {}, "of options.rate and options.columns.rate each is given"),
        ({}, {}, {"unit": None}, "of options.unit and options.columns.unit neither is given"),
        ({}, {}, {"rate": 5}, "options.rate is 5: expected 20 to 20000 Hz"),
        ({}, {}, {"unit": "mv"}, "options.unit is 'mv': .*did you mean mV"),
        ({}, {}, {"unit": "counts"}, "options.gain is None: expected the counts a millivolt"),
        ({}, {}, {"unit": "counts", "gain": 0}, "options.gain is 0"),
        ({}, {}, {"gain": 200}, "options.gain is 200: .*with unit counts, and else null"),
        ({}, {}, {"leads": "I"}, "options.leads is 'I': expected a list"),
    ],
)
def test_recipes_that_contradict_themselves(columns, changes, options, said):
    with pytest.raises(BadRecipe, match=said):
        recipe_of(columns, changes, **options)


def test_options_without_default():
    recipe = load_recipe("generic")
    for name in ("table", "format", "columns"):
        options = {key: value for key, value in recipe["options"].items() if key != name}
        with pytest.raises(BadRecipe, match=f"options.{name} is missing"):
            resolve_recipe({**recipe, "options": options}, "test")
    with pytest.raises(BadRecipe, match="options.columns.path is missing"):
        resolve_recipe({**recipe, "options": {**recipe["options"], "columns": {"id": "x", "labels": "y"}}}, "test")
