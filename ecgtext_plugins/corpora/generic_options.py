"""The options of the reader `generic`: how a user's own table and files are to be understood."""

from typing import Any

from ecgtext_plugins.corpora.array_records import PER_MILLIVOLT
from ecgtext_plugins.corpora.option_checks import check_leads, check_table, check_word
from ecgtext_plugins.corpora.wfdb_header import RATES
from ecgtext_plugins.errors import BadRecipe

SCHEME = "table"
NULL = type(None)
OPTIONS: dict[str, tuple[tuple[type, ...], Any]] = {
    "table": ((str,), ...),  # CSV with a row a record
    "format": ((str,), ...),  # one of FORMATS
    "columns": ((dict,), ...),  # what stands in which column: COLUMNS
    "extension": ((str, NULL), None),  # put behind the paths of the table, such as .npy
    "leads": ((list, NULL), None),  # npy, mat: lead names in the order of the array
    # mat: its variable; csv, parquet: {lead: column}, or null where the columns are called like leads
    "key": ((str, dict, NULL), None),
    "layout": ((str,), "auto"),  # npy, mat: one of LAYOUTS
    "rate": ((int, float, NULL), None),  # Hz of all arrays
    "unit": ((str, NULL), None),  # of all arrays, one of UNITS
    "gain": ((int, float, NULL), None),  # counts a millivolt, for unit counts
    "label_separator": ((str,), ";"),
    "label_names": ((list, NULL), None),  # null: those found in the table
}
FORMATS = {
    "wfdb": (".hea", ".dat", ".mat"),
    "npy": (".npy",),
    "mat": (".mat",),
    "csv": (".csv", ".csv.gz", ".tsv", ".txt"),
    "parquet": (".parquet", ".pq"),
}  # and how their files' names end
LAYOUTS = ("auto", "leads_first", "samples_first")
UNITS = (*PER_MILLIVOLT, "counts")
COLUMNS = {
    "path": (str,),
    "id": (str, NULL),  # without: the path's last part without extension
    "patient": (str, NULL),  # without: each record is of another patient
    "report": (str, list, NULL),  # a list: joined with the recipe's reports.separator
    "labels": (str, list, NULL),  # one column of separated labels, or columns of 0 and 1, called like the labels
    "age": (str, NULL),
    "sex": (str, NULL),
    "recorded_at": (str, NULL),
    "device": (str, NULL),
    "split": (str, NULL),
    "rate": (str, NULL),  # instead of options.rate
    "unit": (str, NULL),  # instead of options.unit
}
_OF_ARRAYS = ("leads", "key", "rate", "unit", "gain")


def check(recipe: dict[str, Any], where: str) -> None:
    """Raise BadRecipe for options that contradict each other, the format, or the recipe's labels and split."""
    options = recipe["options"]
    check_table(options["table"], f"{where}: options.table")
    check_word(options["format"], FORMATS, f"{where}: options.format")
    check_word(options["layout"], LAYOUTS, f"{where}: options.layout")
    if options["layout"] != "auto" and options["format"] not in ("npy", "mat"):
        raise BadRecipe(f"{where}: options.layout is given, but only npy and mat have one: expected auto; remove it")
    columns = _check_columns(options["columns"], where)
    _check_labels(recipe, columns, where)
    if recipe["split"]["by"] == "official" and columns["split"] is None:
        raise BadRecipe(f"{where}: split.by is official: expected options.columns.split to say which; give that column")
    if options["format"] == "wfdb":
        given = [f"options.{name}" for name in _OF_ARRAYS if options[name] is not None]
        given += [f"options.columns.{name}" for name in ("rate", "unit") if columns[name] is not None]
        if given:
            raise BadRecipe(
                f"{where}: {given[0]} is given, but headers of format wfdb say it: expected null; remove it"
            )
        return
    _check_leads(options, where)
    _check_numbers(options, columns, where)


def completed_columns(columns: dict[str, Any]) -> dict[str, Any]:
    """Return `columns` with every key of COLUMNS."""
    return {name: columns.get(name) for name in COLUMNS}


def _check_columns(columns: dict[str, Any], where: str) -> dict[str, Any]:
    for name, value in columns.items():
        check_word(name, COLUMNS, f"{where}: a key of options.columns")
        texts = value if isinstance(value, list) else [value]
        if (
            not isinstance(value, COLUMNS[name])
            or not texts
            or not all(text is None or (isinstance(text, str) and text) for text in texts)
        ):
            several = " or a list of them" if list in COLUMNS[name] else ""
            raise BadRecipe(
                f"{where}: options.columns.{name} is {value!r}: expected the name of a column{several}; correct it"
            )
        if len(set(texts)) < len(texts):
            raise BadRecipe(f"{where}: options.columns.{name} names a column twice: expected each once; correct it")
    if columns.get("path") is None:
        raise BadRecipe(f"{where}: options.columns.path is missing: expected the column with the files' paths; add it")
    return completed_columns(columns)


def _check_labels(recipe: dict[str, Any], columns: dict[str, Any], where: str) -> None:
    """Compare the mapped label columns with the recipe's `labels`."""
    labels, names, mapped = recipe["labels"], recipe["options"]["label_names"], columns["labels"]
    asked = labels is not None and "scheme" in labels
    if asked != (mapped is not None):
        raise BadRecipe(
            f"{where}: options.columns.labels is {mapped!r} while labels is {labels!r}: expected both columns.labels "
            f"and labels: {{scheme: {SCHEME}}}, or neither; correct one"
        )
    if names is not None and (mapped is None or isinstance(mapped, list)):
        raise BadRecipe(
            f"{where}: options.label_names is given: expected null, as labels are "
            f"{'not mapped' if mapped is None else 'called like their columns'}; remove it"
        )
    if names is not None and (
        not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names)
    ):
        raise BadRecipe(f"{where}: options.label_names is {names!r}: expected a list of distinct texts; correct it")
    if not recipe["options"]["label_separator"]:
        raise BadRecipe(f"{where}: options.label_separator is empty: expected a text such as ';'; give one")


def _check_leads(options: dict[str, Any], where: str) -> None:
    """Check what says which lead is where in an array or table."""
    leads, key, form = options["leads"], options["key"], options["format"]
    if form in ("npy", "mat"):
        if leads is None:
            raise BadRecipe(
                f"{where}: options.leads is null: expected the lead names in the order of the arrays; give them"
            )
        check_leads(leads, f"{where}: options.leads")
        if isinstance(key, str) != (form == "mat") or isinstance(key, dict):
            expected = "the name of the files' variable" if form == "mat" else "null"
            raise BadRecipe(f"{where}: options.key is {key!r}: expected {expected} with format {form}; correct it")
        return
    if leads is not None:
        raise BadRecipe(
            f"{where}: options.leads is given, but in format {form} columns are leads by name: expected null; give "
            "options.key a mapping of lead to column where they are called otherwise"
        )
    if isinstance(key, str):
        raise BadRecipe(f"{where}: options.key is {key!r}: expected null or a mapping of lead to column; correct it")
    if key is not None:
        check_leads(list(key), f"{where}: options.key")
        bad = [column for column in key.values() if not isinstance(column, str) or not column]
        if bad:
            raise BadRecipe(f"{where}: options.key has the column {bad[0]!r}: expected its name as text; correct it")


def _check_numbers(options: dict[str, Any], columns: dict[str, Any], where: str) -> None:
    """Check rate, unit and gain: each said once."""
    for name, example in (("rate", "500"), ("unit", "mV")):
        if (options[name] is None) == (columns[name] is None):
            said = "neither" if options[name] is None else "each"
            raise BadRecipe(
                f"{where}: of options.{name} and options.columns.{name} {said} is given: expected one, such as "
                f"{name}: {example}; correct it"
            )
    rate = options["rate"]
    if rate is not None and not RATES[0] <= rate <= RATES[1]:
        raise BadRecipe(f"{where}: options.rate is {rate}: expected {RATES[0]:g} to {RATES[1]:g} Hz; correct it")
    if options["unit"] is not None:
        check_word(options["unit"], UNITS, f"{where}: options.unit")
    gain = options["gain"]
    counts = options["unit"] == "counts" or columns["unit"] is not None
    if (gain is not None and not (counts and 0 < gain < 1e9)) or (gain is None and options["unit"] == "counts"):
        raise BadRecipe(
            f"{where}: options.gain is {gain}: expected the counts a millivolt, above 0, with unit counts, and else "
            "null; correct it"
        )
