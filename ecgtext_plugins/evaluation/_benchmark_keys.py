"""The keys of benchmark recipes (manifests/benchmarks/*.yaml), each read and checked."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ecgtext_plugins.data.lead_selection import PRESETS
from ecgtext_plugins.errors import BadRecipe
from ecgtext_plugins.store.splits import SPLITS

METRICS = {  # of the benchmark's own task; zero-shot is measured by AUROC in any case, for it has no threshold
    "auroc": "area under the ROC curve, mean over classes",
    "cinc_score": "metric of the PhysioNet/CinC Challenge 2021, of decisions at thresholds",
    "accuracy": "share of probes whose nearest gallery ECG is of the same patient",
}
WINDOWS = {
    "whole": "each record at its stored length",
    "first_2500": "the first 2,500 samples of 500 Hz (5 s) of each record, as MERL has it for CPSC 2018",
    "windows": "the windows that the store's manifests list, each one an ECG",
}
PUBLISHED = ("zero_shot", "linear_probe", "fine_tuning")
REQUIRED = ("name", "version", "description", "recipe", "split", "metric")
OPTIONAL = (
    *("prompts", "classes", "vocabulary", "window", "transfer", "leads", "center_prompts"),
    *("weights_file", "citation", "published", "notes"),
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # it names a folder below --out


@dataclass(frozen=True)
class Source:
    """A corpus recipe whose stores a benchmark can run on, and how the classes' codes are called there.

    `label_set` is the part before the slash of the store's labels (None where they have none); `labels` has those codes
    that are spelled differently.
    """

    recipe: str
    label_set: str | None
    labels: dict[str, str]

    def label(self, code: str) -> str:
        """Return the store's name of a code."""
        name = self.labels.get(code, code)
        return name if self.label_set is None else f"{self.label_set}/{name}"


def read_sources(values: object, where: str) -> tuple[Source, ...]:
    """Read `recipe`: a name, or {name: null or {label_set, labels}}, the best one first."""
    listed = {values: None} if isinstance(values, str) and values else values
    if not isinstance(listed, dict) or not listed:
        raise BadRecipe(f"{where} has recipe: {values!r}, expected a text, or {{recipe: {{label_set: ...}}}}; mend it")
    sources = []
    for recipe, options in listed.items():
        options = options or {}
        if not isinstance(options, dict) or set(options) - {"label_set", "labels"}:
            raise BadRecipe(f"{where} has recipe {recipe}: {options!r}, expected label_set and labels only; mend it")
        label_set, labels = options.get("label_set"), options.get("labels", {})
        texts = isinstance(labels, dict) and all(isinstance(text, str) for item in labels.items() for text in item)
        if not texts or not isinstance(label_set, str | None):
            raise BadRecipe(f"{where} has recipe {recipe}: {options!r}, expected label_set and labels: {{code: name}}")
        sources.append(Source(str(recipe), label_set, labels))
    return tuple(sources)


def read_leads(values: object, where: str) -> tuple[str, ...]:
    """Read `leads`: a list of numbers of leads, keys of PRESETS."""
    names = [str(value) for value in values] if isinstance(values, list) else []
    if not names or len(set(names)) < len(names) or set(names) - set(PRESETS):
        raise BadRecipe(f"{where} has leads: {values!r}, expected different ones of {', '.join(PRESETS)}; mend it")
    return tuple(names)


def read_weights_file(value: object, metric: str, path: Path, where: str) -> str | None:
    """Read `weights_file`: null, or the Challenge's weights.csv, relative to the recipe at `path`."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise BadRecipe(
            f"{where} has weights_file: {value!r}, expected the path of the Challenge's weights.csv, or null"
        )
    if metric == "accuracy":
        raise BadRecipe(f"{where} has metric: accuracy and weights_file: identification has no classes; remove it")
    return str(path.parent / value)


def read_published(values: object, where: str) -> dict[str, dict[str, Any]]:
    """Read `published`: {model: {zero_shot, linear_probe, fine_tuning: number, or {percentage or leads: number}}}."""
    kinds = [kind for of_model in values.values() for kind in of_model.items()] if _is_nested(values) else [("", None)]
    for kind, figures in kinds:
        figures = figures if isinstance(figures, dict) else {0: figures}
        numbers = [value for value in figures.values() if isinstance(value, int | float) and 0 <= value <= 100]
        if kind not in PUBLISHED or len(numbers) < len(figures) or not all(isinstance(key, int) for key in figures):
            raise BadRecipe(
                f"{where} has published: {values!r}, expected {{model: {{{' or '.join(PUBLISHED)}: a number from 0 to "
                "100, or one for each percentage or number of leads}}; mend it"
            )
    return values


def _is_nested(values: object) -> bool:
    return isinstance(values, dict) and all(isinstance(of_model, dict) for of_model in values.values())


def read_notes(value: object, where: str) -> tuple[str, ...]:
    """Read `notes`: a list of texts that go into results."""
    if not isinstance(value, list) or not all(isinstance(note, str) and note.strip() for note in value):
        raise BadRecipe(f"{where} has notes: {value!r}, expected a list of texts; mend it")
    return tuple(" ".join(note.split()) for note in value)


def check_name(where: str, name: str) -> None:
    """Refuse a name that is no plain name of a folder: results are written below it."""
    if not NAME.fullmatch(name):
        raise BadRecipe(
            f"{where} has name: {name!r}, expected a letter or digit, then letters, digits, _, . or -, for results are "
            "written to a folder of this name; mend it"
        )


def check_choice(where: str, key: str, value: str, known: Iterable[str]) -> None:
    """Refuse a value that is none of `known`."""
    if value not in known:
        raise BadRecipe(f"{where} has {key}: {value}, expected one of {', '.join(known)}")


def check_splits(where: str, split: str) -> None:
    """Refuse what is neither `all` nor names of splits."""
    names = [name.strip() for name in split.split(",")]
    if split != "all" and (set(names) - set(SPLITS) or len(set(names)) < len(names)):
        raise BadRecipe(f"{where} has split: {split}, expected all, or some of {', '.join(SPLITS)} joined by commas")


def check_keys(where: str, values: object) -> None:
    """Refuse an unknown key, and the lack of a required one."""
    keys = [*REQUIRED, *OPTIONAL]
    if not isinstance(values, dict):
        raise BadRecipe(f"{where} holds {type(values).__name__}, expected a mapping with keys {', '.join(keys)}")
    for key in values:
        if key not in keys:
            near = get_close_matches(str(key), keys, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise BadRecipe(f"{where} has unknown key '{key}', expected {', '.join(keys)}{hint}")
    missing = [key for key in REQUIRED if key not in values]
    if missing:
        raise BadRecipe(f"{where} lacks {', '.join(missing)}; expected keys {', '.join(keys)}")


def unknown(name: str, known: Sequence[str], owner: str) -> str:
    """Say in part of a sentence that `owner` has no class of that name, and which it has."""
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"class '{name}', which {owner} does not have; its classes are {', '.join(known) or '(none)'}{hint}"
