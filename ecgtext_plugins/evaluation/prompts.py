"""Prompts of classes: shipped sets by concept, a user's own JSON, frames around them, and their digest.

A dataset's codes are looked up in manifests/benchmarks/prompts/codes.yaml, vocabulary by vocabulary, as the same
letters mean different things in different datasets; the concept found has a text in each set (names.yaml, expert.yaml).
Texts of shipped sets are lower-cased, as D-BETA (``example.ipynb``) and MERL (``zeroshot_val.py``) do with theirs.
"""

import hashlib
import json
from collections.abc import Hashable, Iterable, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ecgtext_plugins.errors import BadPrompts, BadRecipe
from ecgtext_plugins.recipes import recipes_root

FOLDER = "manifests/benchmarks/prompts"
PROMPT_SETS = ("names", "expert")

Prompts = dict[str, list[str]]


def concepts_of(vocabulary: str) -> dict[str, str]:
    """Return what each code of a vocabulary (``csn``, ``ptbxl_sub``) means.

    Raises
    ------
    BadPrompts
        When there is no such vocabulary.
    """
    vocabularies = _shipped("codes")
    if vocabulary not in vocabularies:
        raise BadPrompts(f"there is no vocabulary '{vocabulary}': expected {_one_of(vocabulary, vocabularies)}")
    return vocabularies[vocabulary]


def shipped_prompts(prompt_set: str, vocabulary: str, codes: Iterable[str]) -> Prompts:
    """Return the texts of `codes` in a shipped set.

    Parameters
    ----------
    prompt_set : str
        ``names`` (plain names) or ``expert`` (a sentence that describes the ECG).
    vocabulary : str
        Whose codes they are.

    Raises
    ------
    BadPrompts
        When the set or vocabulary is unknown, or has no text for a code.
    """
    if prompt_set not in PROMPT_SETS:
        raise BadPrompts(f"there is no prompt set '{prompt_set}': expected {_one_of(prompt_set, PROMPT_SETS)}")
    concepts = concepts_of(vocabulary)
    texts = _shipped(prompt_set)
    prompts = {}
    for code in codes:
        if code not in concepts:
            raise BadPrompts(f"vocabulary {vocabulary} has no code '{code}': expected {_one_of(code, concepts)}")
        if concepts[code] not in texts:
            raise BadPrompts(f"prompt set {prompt_set} has no text for {concepts[code]} (class {code}); add it")
        prompts[code] = texts[concepts[code]]
    return {code: [text.lower() for text in listed] for code, listed in check_prompts(prompts, prompt_set).items()}


def read_prompts(path: str | Path) -> Prompts:
    """Read a user's JSON {class: text or list of texts}; texts stay as they are written.

    Raises
    ------
    BadPrompts
        When it is no such JSON, or has a class twice.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
    except (OSError, ValueError) as error:
        raise BadPrompts(f"prompts {path} cannot be read as JSON: {error}; expected {{class: text}}") from error
    return check_prompts(values, str(path))


def check_prompts(values: object, source: str) -> Prompts:
    """Check a mapping of classes to texts and make every text a list; `source` names it in errors.

    Raises
    ------
    BadPrompts
        Naming the first class whose prompt is neither a text nor a list of texts.
    """
    if not isinstance(values, dict) or not values:
        raise BadPrompts(f"prompts of {source} are {type(values).__name__}, expected {{class: text or list of texts}}")
    prompts = {}
    for name, texts in values.items():
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not texts or not all(isinstance(t, str) and t.strip() for t in texts):
            raise BadPrompts(f"{source}: prompt of class '{name}' is {texts!r}, expected a text or a list of texts")
        prompts[str(name)] = texts
    return prompts


def load_templates(name: str) -> list[str]:
    """Return shipped frames by name: ``plain``, ``report``, ``ecg`` or ``ensemble``.

    Raises
    ------
    BadPrompts
        When there are none of that name.
    """
    shipped = _shipped("templates")
    if name not in shipped:
        raise BadPrompts(f"there are no templates '{name}': expected {_one_of(name, shipped)}")
    return list(shipped[name])


def framed(prompts: Prompts, templates: Sequence[str]) -> Prompts:
    """Put every text of every class into every template, in whose place of ``{}`` it comes.

    Raises
    ------
    BadPrompts
        When there is no template, or one doesn't have ``{}`` once.
    """
    for template in templates:
        if not isinstance(template, str) or template.count("{}") != 1:
            raise BadPrompts(f"template {template!r}: expected a text with {{}} once, where the class's text comes")
    if not templates:
        raise BadPrompts("no template is given: expected at least one, such as {}")
    return {
        name: [frame.replace("{}", text) for text in texts for frame in templates] for name, texts in prompts.items()
    }


def prompts_sha256(prompts: Prompts) -> str:
    """Return the SHA-256 of classes and texts in their order, as UTF-8 JSON without spaces."""
    content = json.dumps(list(prompts.items()), ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(content.encode("utf-8")).hexdigest()


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        repeated = [key for place, key in enumerate(keys) if key in keys[:place]]
        if repeated:
            raise yaml.constructor.ConstructorError(None, None, f"key '{repeated[0]}' is there twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path, what: str = "file") -> Any:
    """Read a YAML whose mappings have no key twice; `what` says in errors what it is.

    Raises
    ------
    BadRecipe
        When it cannot be read.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadRecipe(f"{what} {path} cannot be read as YAML: {' '.join(str(error).split())}; mend it") from error


@cache
def _shipped(stem: str) -> dict[str, Any]:
    return read_yaml(recipes_root() / FOLDER / f"{stem}.yaml", "prompts")


def _one_of(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = get_close_matches(name, known, n=1)
    return ", ".join(known) + (f"; did you mean {near[0]}?" if near else "")


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"class '{repeated[0]}' occurs twice")
    return dict(pairs)
