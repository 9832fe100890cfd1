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
from ecgtext_plugins.store.recipe_keys import (
    DESCRIPTIVE,
    FORMAT,
    KEYS,
    LABEL_SCHEME,
    LABEL_TABLE,
    NUMBER,
    RANGES,
    SECTIONS,
    WORDS,
)
from ecgtext_plugins.store.splits import SPLITS


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
    _check_expected(recipe["expected"] or {}, where)
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


def _check_expected(expected: Mapping[str, Any], where: str) -> None:
    """Check the figures: whole numbers, those of splits by split, and those of label sets by set and split."""
    sections = {"splits": expected.get("splits"), "labels": expected.get("labels")}
    sections |= {f"label_sets.{name}": counts for name, counts in (expected.get("label_sets") or {}).items()}
    for name, counts in sections.items():
        for key, value in _section_of_counts(counts, f"{where}: expected.{name}").items():
            if name != "labels":
                _one_of(str(key), SPLITS, f"{where}: a split in expected.{name}")
            if isinstance(value, bool) or not isinstance(value, int):
                raise BadRecipe(f"{where}: expected.{name}.{key} is {value!r}: expected a whole number; correct it")


def _section_of_counts(counts: Any, what: str) -> Mapping[str, Any]:
    if counts is not None and not isinstance(counts, Mapping):
        raise BadRecipe(f"{what} is {counts!r}: expected a mapping of names to whole numbers, or null; correct it")
    return counts or {}


def _check_subsets(recipe: dict[str, Any], where: str) -> None:
    for value in (recipe["subsets"] or {"percentages": []})["percentages"]:
        if isinstance(value, bool) or not isinstance(value, NUMBER) or not 0 < value <= 100:
            raise BadRecipe(
                f"{where}: subsets.percentages holds {value!r}: expected numbers above 0 up to 100; correct it"
            )
