"""The reader `generic` for tests: recipes from the template, entries and records from what they say."""

import pytest

from ecgtext_plugins.corpora.generic import READER
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.readers import open_corpus
from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.store.recipe import load_recipe, resolve_recipe
from tests.downloads import generic as download

LEADS = list(download.LEADS)
# What each format needs instead of the template's options.
FORMS = {
    "npy": {},
    "mat": {"format": "mat", "key": "ecg"},
    "mat73": {"format": "mat", "key": "ecg"},
    "csv": {"format": "csv", "leads": None},
    "parquet": {"format": "parquet", "leads": None},
    "wfdb": {"format": "wfdb", "leads": None, "rate": None, "unit": None},
}


def recipe_of(columns=None, changes=None, **options):
    recipe = load_recipe("generic")
    options = {**recipe["options"], **options}
    options["columns"] = {**options["columns"], **(columns or {})}
    return resolve_recipe({**recipe, "options": options, **(changes or {})}, "test")


def entries_of(raw, columns=None, changes=None, tables=None, **options):
    corpus = open_corpus(recipe_of(columns, changes, **options), raw, tables)
    return {entry.record_id: entry for entry in corpus.entries(0, len(corpus.record_ids))}


def read(raw, record_id="r000", columns=None, changes=None, **options):
    recipe = recipe_of(columns, changes, **options)
    return READER.read_entry(RawFolder(raw), entries_of(raw, columns, changes, **options)[record_id], recipe)


def reason(raw, said="", **arguments):
    with pytest.raises(BadRecord, match=f"record r000.*{said}") as caught:
        read(raw, **arguments)
    assert "RAW" not in caught.value.message
    return caught.value.reason
