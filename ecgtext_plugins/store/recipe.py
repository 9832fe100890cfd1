"""Corpus recipes (manifests/*.yaml): loaded, checked, completed with defaults, and fingerprinted."""

import difflib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ecgtext_plugins.corpora.readers import READERS
from ecgtext_plugins.errors import BadRecipe
from ecgtext_plugins.recipes import find_recipe
from ecgtext_plugins.signals.filtering import check_filters
from ecgtext_plugins.store.splits import SPLITS

FORMAT = 2  # of the store; a change makes stores built before it unreadable
NUMBER = (int, float)
NULL = type(None)
# key: (types, default); a default of ... means required
KEYS: dict[str, tuple[tuple[type, ...], Any]] = {
    "name": ((str,), ...),
    "reader": ((str,), ...),
    "description": ((str,), ""),
    "licence": ((str,), ""),
    "citation": ((str,), ""),
    "options": ((dict,), {}),
    "sample_rate": (NUMBER, ...),
    "resampling": ((str,), "polyphase"),
    "seconds": ((*NUMBER, NULL), 10),
    "crop": ((str,), "first"),
    "pad": ((bool,), False),
    "min_seconds": (NUMBER, 1),
    "segments": ((dict, NULL), None),
    "filter": ((dict, NULL), None),
    "max_missing_leads": ((int,), 0),
    "derive_limb_leads": ((bool,), False),
    "checks": ((dict,), {}),
    "records_per_shard": ((int,), 500),
    "reports": ((dict,), {"required": True}),
    "labels": ((dict, NULL), None),
    "split": ((dict,), ...),
    "subsets": ((dict, NULL), None),
    "identification": ((bool,), False),
    "expected": ((dict, NULL), None),
    "exclude_sources": ((list,), []),
}
SECTIONS: dict[str, dict[str, tuple[tuple[type, ...], Any]]] = {
    "segments": {"seconds": (NUMBER, ...)},
    "filter": {
        "high_pass": ((*NUMBER, NULL), None),
        "low_pass": ((*NUMBER, NULL), None),
        "notch": ((*NUMBER, NULL), None),
        "order": ((int,), 2),
    },
    "checks": {
        "checksum": ((str,), "reject"),
        "missing_samples": ((str,), "reject"),
        "max_missing_share": (NUMBER, 0.0),
        "longest_gap": (NUMBER, 0.05),
        "flat_leads": ((str,), "mark"),
        "clipped_leads": ((str,), "mark"),
        "limb_leads": ((str,), "mark"),
        "limb_error_mv": (NUMBER, 0.05),
    },
    "reports": {
        "required": ((bool,), True),
        "separator": ((str,), " "),
        "punctuation": ((str,), "keep"),
        "min_words": ((int,), 0),
    },
    "split": {"by": ((str,), "patient"), "seed": ((int,), 0), "fractions": ((dict, NULL), None)},
    "subsets": {"percentages": ((list,), ...), "method": ((str,), "nested"), "seed": ((int,), 0)},
    "expected": {
        "found": ((int, NULL), None),
        "kept": ((int, NULL), None),
        "unique_reports": ((int, NULL), None),
        "splits": ((dict, NULL), None),
        "labels": ((dict, NULL), None),
        "label_sets": ((dict, NULL), None),
    },
}
# Keys whose value is one of a few words.
WORDS = {
    "resampling": ("polyphase", "linear"),
    "crop": ("first", "middle"),
    "checks.checksum": ("reject", "mark"),
    "checks.missing_samples": ("reject", "mark", "repair"),
    "checks.flat_leads": ("reject", "mark"),
    "checks.clipped_leads": ("reject", "mark"),
    "checks.limb_leads": ("reject", "mark"),
    "reports.punctuation": ("keep", "remove"),
    "split.by": ("patient", "official"),
    "subsets.method": ("nested", "published"),
}
LABEL_TABLE = {
    "file": ((str,), ...),
    "id": ((str,), "study_id"),
    "column": ((str,), "labels"),
    "names": ((list, str), ...),
}
LABEL_SCHEME = {"scheme": ((str, list), ...)}
DESCRIPTIVE = ("name", "description", "licence", "citation", "expected")  # change nothing in the data
# least, most
RANGES = {
    "sample_rate": (20, 5000),
    "seconds": (0.1, 86_400),
    "min_seconds": (0, 86_400),
    "segments.seconds": (0.1, 86_400),
    "max_missing_leads": (0, 11),
    "checks.max_missing_share": (0, 1),
    "checks.longest_gap": (0, 10),
    "checks.limb_error_mv": (0, 100),
    "filter.order": (1, 10),
    "records_per_shard": (1, 100_000),
    "reports.min_words": (0, 1000),
}


def load_recipe(name_or_path: str) -> dict[str, Any]:
    """Load a corpus recipe by shipped name or path; return it with every key.

    Raises
    ------
    BadRecipe
        When it is not there, is not YAML, or has an unknown key, a missing one, a wrong type or value.
    """
    path = find_recipe(str(name_or_path))
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadRecipe(f"recipe {path} cannot be read as YAML ({' '.join(str(error).split())}): correct it") from None
    return resolve_recipe(content, str(path))


def resolve_recipe(content: Any, source: str) -> dict[str, Any]:
    """Check a recipe's mapping and fill in defaults; `source` names it in errors (see :func:`load_recipe`)."""
    recipe = _section(content, KEYS, f"recipe {source}", "")
    where = f"recipe {source}"
    _one_of(recipe["reader"], READERS, f"{where}: reader")
    recipe["options"] = _section(recipe["options"], READERS[recipe["reader"]].options, where, "options.")
    for name, keys in SECTIONS.items():
        if recipe[name] is not None:
            recipe[name] = _section(recipe[name], keys, where, f"{name}.")
    for name, words in WORDS.items():
        value = _value(recipe, name)
        if value is not None:
            _one_of(value, words, f"{where}: {name}")
    for name, (least, most) in RANGES.items():
        value = _value(recipe, name)
        if value is not None and not least <= value <= most:
            raise BadRecipe(f"{where}: {name} is {value}: expected {least} to {most}; correct it")
    if recipe["seconds"] is not None and recipe["min_seconds"] > recipe["seconds"]:
        raise BadRecipe(
            f"{where}: min_seconds {recipe['min_seconds']} is above seconds {recipe['seconds']}: expected at most "
            "that; lower it"
        )
    if recipe["filter"] is not None:
        try:
            check_filters(float(recipe["sample_rate"]), **recipe["filter"])
        except ValueError as error:
            raise BadRecipe(f"{where}: filter: {error}") from None
    if recipe["pad"] and recipe["seconds"] is None:
        raise BadRecipe(f"{where}: pad is true while seconds is null: expected a length to pad to; give seconds")
    _check_labels(recipe, where)
    _check_split(recipe, where)
    _check_subsets(recipe, where)
    _check_texts(recipe["exclude_sources"], f"{where}: exclude_sources")
    READERS[recipe["reader"]].check(recipe, where)
    return recipe


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all values of a resolved recipe that decide the store's content, and of its format."""
    deciding = {key: value for key, value in recipe.items() if key not in DESCRIPTIVE}
    content = json.dumps({"format": FORMAT, "recipe": _plain(deciding)}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8")).hexdigest()


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Name the data-relevant keys in which two resolved recipes differ, with both values."""
    keys = [key for key in KEYS if key not in DESCRIPTIVE]
    return [
        f"{key} {one.get(key)!r} / {other.get(key)!r}" for key in keys if _plain(one.get(key)) != _plain(other.get(key))
    ]


def _value(recipe: Mapping[str, Any], dotted: str) -> Any:
    """Return the value of ``section.key``, None where the section is null."""
    for key in dotted.split("."):
        recipe = None if recipe is None else recipe[key]
    return recipe


def _plain(value: Any) -> Any:
    """Make 500 and 500.0 one value."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    exact = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
    return float(value) if exact else value


def _section(content: Any, keys: Mapping, where: str, prefix: str) -> dict[str, Any]:
    """Check one mapping of a recipe against `keys` and complete it."""
    if not isinstance(content, dict):
        raise BadRecipe(
            f"{where}: {prefix or 'it'} holds {type(content).__name__}: expected a mapping with {', '.join(keys)}; "
            "correct it"
        )
    for key in content:
        if key not in keys:
            near = difflib.get_close_matches(str(key), keys, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else "remove it"
            raise BadRecipe(f"{where}: unknown key {prefix}{key}: expected {', '.join(keys)}; {hint}")
    resolved = {}
    for key, (types, default) in keys.items():
        if key not in content and default is ...:
            raise BadRecipe(f"{where}: key {prefix}{key} is missing: expected {_names(types)}; add it")
        value = content.get(key, default)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise BadRecipe(f"{where}: {prefix}{key} is {value!r}: expected {_names(types)}; correct it")
        resolved[key] = value
    return resolved


def _names(types: tuple[type, ...]) -> str:
    words = {
        int: "a whole number",
        float: "a number",
        str: "text",
        dict: "a mapping",
        list: "a list",
        bool: "true or false",
    }
    if types == NUMBER:
        return words[float]
    return " or ".join(words.get(kind, "null") for kind in types)


def _one_of(value: str, known, what: str) -> None:
    if value not in known:
        near = difflib.get_close_matches(value, list(known), n=1)
        hint = f"did you mean {near[0]}?" if near else "use one of them"
        raise BadRecipe(f"{what} is '{value}': expected {', '.join(known)}; {hint}")


def _check_texts(values: list, what: str) -> None:
    bad = [value for value in values if not isinstance(value, str) or not value.strip() or ";" in value]
    if bad or len(set(values)) != len(values):
        raise BadRecipe(
            f"{what} has {bad[0] if bad else 'a value twice'!r}: expected a list of distinct texts; correct it"
        )


def _check_labels(recipe: dict[str, Any], where: str) -> None:
    """Complete and check `labels`, whose form depends on the reader."""
    labels, reader = recipe["labels"], READERS[recipe["reader"]]
    if labels is None:
        return
    if "scheme" in labels or not reader.label_tables:
        recipe["labels"] = _section(labels, LABEL_SCHEME, where, "labels.")
        if not reader.label_schemes:
            raise BadRecipe(
                f"{where}: labels.scheme is '{labels['scheme']}', but reader {recipe['reader']} has no schemes: "
                f"expected labels with {', '.join(LABEL_TABLE)}, or null; correct it"
            )
        schemes = [labels["scheme"]] if isinstance(labels["scheme"], str) else labels["scheme"]
        _check_texts(schemes, f"{where}: labels.scheme")
        for scheme in schemes:
            _one_of(scheme, reader.label_schemes, f"{where}: labels.scheme")
        return
    recipe["labels"] = _section(labels, LABEL_TABLE, where, "labels.")
    if isinstance(labels["names"], list):
        _check_texts(labels["names"], f"{where}: labels.names")
    for key in ("file", "names"):
        name = labels[key]
        if isinstance(name, str) and (Path(name).is_absolute() or ".." in Path(name).parts):
            raise BadRecipe(f"{where}: labels.{key} is '{name}': expected a path inside the raw folder; correct it")


def _check_split(recipe: dict[str, Any], where: str) -> None:
    split = recipe["split"]
    fractions = split["fractions"]
    if split["by"] == "official":
        if not READERS[recipe["reader"]].official_split:
            raise BadRecipe(
                f"{where}: split.by is official, but reader {recipe['reader']} knows no official split: expected "
                "patient; correct it"
            )
        if fractions is not None:
            raise BadRecipe(f"{where}: split.fractions is given beside split.by official: expected null; remove it")
        return
    for name, value in (fractions or {}).items():
        _one_of(str(name), SPLITS, f"{where}: a split in split.fractions")
        if isinstance(value, bool) or not isinstance(value, NUMBER) or not 0 <= value <= 1:
            raise BadRecipe(f"{where}: split.fractions.{name} is {value!r}: expected a number from 0 to 1; correct it")
    if not fractions or abs(sum(fractions.values()) - 1) > 1e-9:
        raise BadRecipe(
            f"{where}: split.fractions sum to {sum((fractions or {}).values()):g}: expected 1 over {', '.join(SPLITS)};"
            " correct them"
        )


def _check_subsets(recipe: dict[str, Any], where: str) -> None:
    for value in (recipe["subsets"] or {"percentages": []})["percentages"]:
        if isinstance(value, bool) or not isinstance(value, NUMBER) or not 0 < value <= 100:
            raise BadRecipe(
                f"{where}: subsets.percentages holds {value!r}: expected numbers above 0 up to 100; correct it"
            )
