"""Benchmark recipes: which classes of which corpus are scored, on which split, by which prompts."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgtext_plugins.errors import BadPrompts, BadRecipe
from ecgtext_plugins.evaluation._benchmark_keys import (
    METRICS,
    WINDOWS,
    Source,
    check_choice,
    check_keys,
    check_name,
    check_splits,
    read_leads,
    read_notes,
    read_published,
    read_sources,
    read_weights_file,
    unknown,
)
from ecgtext_plugins.evaluation.prompts import (
    PROMPT_SETS,
    Prompts,
    check_prompts,
    framed,
    load_templates,
    read_prompts,
    read_yaml,
    shipped_prompts,
)
from ecgtext_plugins.evaluation.transfer import Groups, Transfer, read_groups
from ecgtext_plugins.recipes import BENCHMARKS, find_recipe, recipes_root


@dataclass(frozen=True)
class Benchmark:
    """A benchmark recipe.

    Attributes
    ----------
    sources : tuple of Source
        Recipes that fit, the best one first.
    split : str
        ``all``, or names of splits joined by commas.
    metric, window : str
        Keys of METRICS and WINDOWS.
    classes : dict of str to tuple of str
        Classes in their order, each with the codes of the label set that are OR-ed into it; empty for identification.
    prompts : dict of str to list of str
        At least one text for each class, or for each class of `transfer.source` that is used.
    transfer : Transfer or None
    vocabulary : str or None
        Whose codes the prompts' classes are; None for benchmarks whose recipe has its own texts.
    prompt_set : str
        A shipped set, a file, or ``own``: the recipe's.
    templates : str
        Name, or JSON file, of the frames that are around the texts.
    leads : tuple of str
        Lead subsets that it is measured with unless others are asked for: keys of PRESETS.
    weights_file : str or None
        The Challenge's weights.csv.
    published : dict
        Figures of papers x 100: {model: {zero_shot: x, linear_probe: {1: x, 10: y, 100: z}, fine_tuning: {leads: x}}}.
        They have zero-shot by other prompts: MERL by those of its CKEPE, D-BETA by GPT-4o's.
    notes : tuple of str
        What to know of its figures.
    center_prompts : bool
        Take the mean over the classes off each class's prompt embedding, so that what all prompts share does not count:
        not published for D-BETA, and off unless the recipe says so.
    """

    name: str
    version: int
    description: str
    sources: tuple[Source, ...]
    split: str
    metric: str
    prompts: Prompts
    classes: Groups
    center_prompts: bool = False
    window: str = "whole"
    transfer: Transfer | None = None
    vocabulary: str | None = None
    prompt_set: str = "own"
    templates: str = "plain"
    leads: tuple[str, ...] = ("12",)
    weights_file: str | None = None
    citation: str = ""
    published: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """``classification``, ``transfer`` or ``identification``."""
        if self.metric == "accuracy":
            return "identification"
        return "classification" if self.transfer is None else "transfer"

    @property
    def recipes(self) -> list[str]:
        """The names of the recipes that fit, the best one first."""
        return [source.recipe for source in self.sources]


def benchmark_names() -> list[str]:
    """Return the names of the shipped benchmarks."""
    return sorted(path.stem for path in (recipes_root() / BENCHMARKS).glob("*.yaml"))


def load_benchmark(name_or_path: str) -> Benchmark:
    """Read a shipped benchmark by name, or any by path.

    Raises
    ------
    BadRecipe
        When there is none, or its keys or values are not those of a benchmark.
    BadPrompts
        When a prompt is not a text or a list of texts, or a class has none.
    """
    path = find_recipe(name_or_path, BENCHMARKS)
    values = read_yaml(path, "benchmark")
    where = f"benchmark {path}"
    check_keys(where, values)
    for key in ("name", "description", "split", "metric", "window", "vocabulary", "citation"):
        if not isinstance(values.get(key, ""), str):
            raise BadRecipe(f"{where} has {key}: {values[key]}, expected a text; mend it")
    if not isinstance(values["version"], int) or isinstance(values["version"], bool):
        raise BadRecipe(f"{where} has version: {values['version']}, expected a whole number; mend it")
    if not isinstance(values.get("center_prompts", False), bool):
        raise BadRecipe(f"{where} has center_prompts: {values['center_prompts']}, expected true or false")
    check_name(where, values["name"])
    check_choice(where, "metric", values["metric"], METRICS)
    check_choice(where, "window", values.get("window", "whole"), WINDOWS)
    check_splits(where, values["split"])
    given = {key: values[key] for key in ("name", "version", "description", "split", "metric")}
    given |= {key: values[key] for key in ("window", "center_prompts", "citation") if key in values}
    return Benchmark(
        **given,
        **_classes_and_prompts(values, where),
        sources=read_sources(values["recipe"], where),
        leads=read_leads(values.get("leads", [12]), where),
        weights_file=read_weights_file(values.get("weights_file"), values["metric"], path, where),
        published=read_published(values.get("published", {}), where),
        notes=read_notes(values.get("notes", []), where),
    )


def with_prompts(benchmark: Benchmark, prompts: str | Path) -> Benchmark:
    """Replace the prompts by a shipped set (``names``, ``expert``) or a JSON file {class: text or list of texts}.

    Raises
    ------
    BadPrompts
        When there is no such set or file, the file is no such JSON, names an unknown class, or lacks one of the
        benchmark's; when a set is asked for and the benchmark names no vocabulary.
    """
    if str(prompts) in PROMPT_SETS:
        if benchmark.vocabulary is None:
            raise BadPrompts(
                f"benchmark {benchmark.name} names no vocabulary, so it has no prompt set {prompts}: expected a JSON "
                "file, or vocabulary in the recipe"
            )
        texts = shipped_prompts(str(prompts), benchmark.vocabulary, benchmark.prompts)
        return dataclasses.replace(benchmark, prompts=texts, prompt_set=str(prompts), templates="plain")
    texts = read_prompts(prompts)
    for name in texts:
        if name not in benchmark.prompts:
            raise BadPrompts(
                f"prompts {prompts} name {unknown(name, list(benchmark.prompts), f'benchmark {benchmark.name}')}"
            )
    missing = [name for name in benchmark.prompts if name not in texts]
    if missing:
        raise BadPrompts(
            f"prompts {prompts} lack {len(missing)} of the {len(benchmark.prompts)} classes of benchmark "
            f"{benchmark.name}: {', '.join(missing)}; add a text for each"
        )
    ordered = {name: texts[name] for name in benchmark.prompts}
    return dataclasses.replace(benchmark, prompts=ordered, prompt_set=str(prompts), templates="plain")


def with_templates(benchmark: Benchmark, name: str) -> Benchmark:
    """Put frames around every text: shipped (``report``, ``ecg``, ``ensemble``), or of a JSON file; texts are averaged.

    Raises
    ------
    BadPrompts
        When there are no such frames, or the benchmark has some already.
    """
    if benchmark.templates != "plain":
        raise BadPrompts(f"benchmark {benchmark.name} has templates {benchmark.templates} already: expected plain ones")
    return dataclasses.replace(benchmark, prompts=framed(benchmark.prompts, load_templates(name)), templates=name)


def check_labels(benchmark: Benchmark, source: Source, label_names: list[str], store_folder: str | Path) -> None:
    """Check that a store, built by the recipe of `source`, knows every code of the benchmark.

    Raises
    ------
    BadPrompts
        Naming the first class that it doesn't know, and the known ones.
    """
    for codes in benchmark.classes.values():
        for name in map(source.label, codes):
            if name not in label_names:
                raise BadPrompts(
                    f"benchmark {benchmark.name} has {unknown(name, label_names, f'store {store_folder}')}"
                )


def _classes_and_prompts(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Read `classes`, `transfer`, `vocabulary` and `prompts`, which depend on one another."""
    if values["metric"] == "accuracy":
        unfit = [key for key in ("classes", "prompts", "transfer", "vocabulary") if key in values]
        if unfit:
            raise BadRecipe(f"{where} has metric: accuracy and {unfit[0]}: identification has no classes; remove it")
        return {"classes": {}, "prompts": {}}
    prompts, vocabulary = values.get("prompts", "expert"), values.get("vocabulary")
    if "classes" not in values and not isinstance(prompts, dict):
        raise BadRecipe(f"{where} lacks classes; expected a list of codes, or {{class: code or codes}}")
    if isinstance(prompts, dict):
        prompts = check_prompts(prompts, where.removeprefix("benchmark "))
    classes = read_groups(values.get("classes") or list(prompts), f"{where}: classes")
    transfer = None
    if "transfer" in values:
        transfer, vocabulary = _read_transfer(values["transfer"], classes, where)
    wanted = transfer.used if transfer else list(classes)
    if isinstance(prompts, dict):
        lacking = sorted(set(wanted) ^ set(prompts))
        if lacking:
            raise BadPrompts(f"{where}: class {lacking[0]} is in only one of classes and prompts: expected both")
        return {"classes": classes, "prompts": prompts, "transfer": transfer, "vocabulary": vocabulary}
    if not isinstance(prompts, str) or vocabulary is None:
        raise BadPrompts(
            f"prompts of {where} are {type(prompts).__name__}, expected {{class: text or list of texts}}, or one of "
            f"{', '.join(PROMPT_SETS)} and a vocabulary"
        )
    texts = shipped_prompts(prompts, vocabulary, wanted)
    return {
        **{"classes": classes, "prompts": texts, "transfer": transfer, "vocabulary": vocabulary},
        "prompt_set": prompts,
    }


def _read_transfer(values: object, categories: Groups, where: str) -> tuple[Transfer, str | None]:
    """Read `transfer`; return also the vocabulary of its source."""
    if not isinstance(values, dict) or set(values) != {"source", "classes"} or not isinstance(values["source"], str):
        raise BadRecipe(f"{where} has transfer: {values!r}, expected source (a benchmark) and classes; mend it")
    transfer = Transfer(values["source"], read_groups(values["classes"], f"{where}: transfer.classes"))
    source = load_benchmark(transfer.source)
    if source.task != "classification":
        raise BadRecipe(f"{where} has transfer.source {source.name}, expected a benchmark of classification")
    if list(transfer.classes) != list(categories):
        raise BadRecipe(
            f"{where} has transfer.classes {', '.join(transfer.classes)}, expected the same as in classes: "
            f"{', '.join(categories)}"
        )
    for name in transfer.used:
        if name not in source.classes:
            raise BadRecipe(f"{where} has {unknown(name, list(source.classes), f'benchmark {source.name}')}")
    return transfer, source.vocabulary
