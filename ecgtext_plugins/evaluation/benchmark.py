"""Benchmark recipes: which classes of which corpus are scored, on which split, by which prompts."""

import dataclasses
import json
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import yaml

from ecgtext_plugins.errors import BadPrompts, BadRecipe
from ecgtext_plugins.recipes import find_recipe

FOLDER = "manifests/benchmarks"
METRICS = ("auroc",)

Prompts = dict[str, list[str]]


@dataclass(frozen=True)
class Benchmark:
    """A benchmark recipe; `prompts` names the classes, each with at least one text.

    `center_prompts` takes the mean over the classes off each class's prompt embedding, so that what all prompts share
    does not count: not published for D-BETA, and off unless the recipe says so.
    """

    name: str
    version: int
    description: str
    recipe: str
    split: str
    metric: str
    prompts: Prompts
    center_prompts: bool = False


def load_benchmark(name_or_path: str) -> Benchmark:
    """Read a shipped benchmark by name, or any by path.

    Raises
    ------
    BadRecipe
        When there is none, or its keys or values are not those of a benchmark.
    BadPrompts
        When a prompt is not a text or a list of texts.
    """
    path = find_recipe(name_or_path, FOLDER)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadRecipe(f"benchmark {path} cannot be read as YAML: {' '.join(str(error).split())}; mend it") from error
    _check_keys(path, values)
    for key in ("name", "description", "recipe", "split", "metric"):
        if not isinstance(values[key], str):
            raise BadRecipe(f"benchmark {path} has {key}: {values[key]}, expected a text; mend it")
    if not isinstance(values.get("center_prompts", False), bool):
        raise BadRecipe(f"benchmark {path} has center_prompts: {values['center_prompts']}, expected true or false")
    if values["metric"] not in METRICS:
        raise BadRecipe(f"benchmark {path} has metric: {values['metric']}, expected one of {', '.join(METRICS)}")
    return Benchmark(**(values | {"prompts": _read_prompts(values["prompts"], str(path))}))


def with_prompts(benchmark: Benchmark, path: str | Path) -> Benchmark:
    """Replace the prompts by those of a JSON file {class: text or list of texts}.

    Raises
    ------
    BadPrompts
        When the file is no such JSON, names an unknown class, or lacks one of the benchmark's.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
    except (OSError, ValueError) as error:
        raise BadPrompts(f"prompts {path} cannot be read as JSON: {error}; expected {{class: text}}") from error
    prompts = _read_prompts(values, str(path))
    for name in prompts:
        if name not in benchmark.prompts:
            raise BadPrompts(
                f"prompts {path} name {_unknown(name, list(benchmark.prompts), f'benchmark {benchmark.name}')}"
            )
    missing = [name for name in benchmark.prompts if name not in prompts]
    if missing:
        raise BadPrompts(
            f"prompts {path} lack {len(missing)} of the {len(benchmark.prompts)} classes of benchmark "
            f"{benchmark.name}: {', '.join(missing)}; add a text for each"
        )
    return dataclasses.replace(benchmark, prompts={name: prompts[name] for name in benchmark.prompts})


def check_labels(benchmark: Benchmark, label_names: list[str], store_folder: str | Path) -> None:
    """Check that a store knows every class of the benchmark.

    Raises
    ------
    BadPrompts
        Naming the first class that it doesn't know, and the known ones.
    """
    for name in benchmark.prompts:
        if name not in label_names:
            raise BadPrompts(f"benchmark {benchmark.name} has {_unknown(name, label_names, f'store {store_folder}')}")


def _unknown(name: str, known: list[str], owner: str) -> str:
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"class '{name}', which {owner} does not have; its classes are {', '.join(known) or '(none)'}{hint}"


def _check_keys(path: Path, values: object) -> None:
    keys = [field.name for field in dataclasses.fields(Benchmark)]
    if not isinstance(values, dict):
        raise BadRecipe(
            f"benchmark {path} holds {type(values).__name__}, expected a mapping with keys {', '.join(keys)}"
        )
    for key in values:
        if key not in keys:
            near = get_close_matches(str(key), keys, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise BadRecipe(f"benchmark {path} has unknown key '{key}', expected {', '.join(keys)}{hint}")
    optional = {"center_prompts"}
    missing = [key for key in keys if key not in values and key not in optional]
    if missing:
        raise BadRecipe(f"benchmark {path} lacks {', '.join(missing)}; expected keys {', '.join(keys)}")


def _read_prompts(values: object, source: str) -> Prompts:
    if not isinstance(values, dict) or not values:
        raise BadPrompts(f"prompts of {source} are {type(values).__name__}, expected {{class: text or list of texts}}")
    prompts = {}
    for name, texts in values.items():
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not texts or not all(isinstance(t, str) and t.strip() for t in texts):
            raise BadPrompts(f"{source}: prompt of class '{name}' is {texts!r}, expected a text or a list of texts")
        prompts[str(name)] = texts
    return prompts


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"class '{repeated[0]}' occurs twice")
    return dict(pairs)
