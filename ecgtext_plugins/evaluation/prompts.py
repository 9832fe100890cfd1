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

from ecgtext_plugins.corpora.report_text import clean_report
from ecgtext_plugins.errors import BadPrompts, BadRecipe
from ecgtext_plugins.recipes import recipes_root

FOLDER = "manifests/benchmarks/prompts"
PROMPT_SETS = ("names", "expert")
MAX_WORDS = 512  # of a prompt: a sentence, not a document

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
        When there is no such file, it is no such JSON, or has a class twice.
    """
    absent = (
        f"prompts {path} cannot be read, for no such file is there: expected a JSON file {{class: text}}, or a shipped "
        f"set, {_one_of(str(path), PROMPT_SETS)}"
    )
    return check_prompts(_read_json(path, "prompts", "{class: text}", absent), str(path))


def check_prompts(values: object, source: str) -> Prompts:
    """Check a mapping of classes to texts and make every text a list; `source` names it in errors.

    Raises
    ------
    BadPrompts
        Naming the first class whose prompt is neither a text nor a list of texts, or has more than 512 words.
    """
    if not isinstance(values, dict) or not values:
        raise BadPrompts(f"prompts of {source} are {type(values).__name__}, expected {{class: text or list of texts}}")
    prompts = {}
    for name, texts in values.items():
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not texts or not all(isinstance(t, str) and t.strip() for t in texts):
            raise BadPrompts(f"{source}: prompt of class '{name}' is {texts!r}, expected a text or a list of texts")
        for text in texts:
            _check_length(text, f"{source}: prompt of class '{name}'")
        prompts[str(name)] = texts
    return prompts


def load_templates(name_or_path: str | Path) -> list[str]:
    """Return frames: shipped by name (``plain``, ``report``, ``ecg``, ``ensemble``), or a JSON file's list of texts.

    Raises
    ------
    BadPrompts
        When there are none of that name and no such file; when it is no list of texts that have ``{}`` once each.
    """
    name, shipped = str(name_or_path), _shipped("templates")
    if name in shipped:
        return list(shipped[name])
    absent = (
        f"there are no templates '{name}', and no such file is there: expected a JSON list of texts, or one of the "
        f"shipped {_one_of(name, shipped)}"
    )
    values = _read_json(name, "templates", '["ecg showing {}"]', absent)
    if not isinstance(values, list):
        raise BadPrompts(f'templates {name} are {type(values).__name__}, expected a list, such as ["ecg showing {{}}"]')
    _check_templates(values, f"templates {name}: ")
    return values


def framed(prompts: Prompts, templates: Sequence[str]) -> Prompts:
    """Put every text of every class into every template, in whose place of ``{}`` it comes.

    Raises
    ------
    BadPrompts
        When there is no template, or one doesn't have ``{}`` once.
    """
    _check_templates(templates)
    texts_in_frames = {
        name: [frame.replace("{}", text) for text in texts for frame in templates] for name, texts in prompts.items()
    }
    return check_prompts(texts_in_frames, "templates") if prompts else {}


def prompt_notes(prompts: Prompts, model: Any = None) -> list[str]:
    """Say what prompts cannot do: texts of two classes that are the same, and texts that the model does not read whole.

    Parameters
    ----------
    prompts : dict of str to list of str
    model : LoadedModel, optional
        Its ``tokenizer`` and ``max_text_tokens`` say what it reads; without a tokenizer only equal texts are told.
    """
    of_text: dict[str, list[str]] = {}
    for name, texts in prompts.items():
        for text in dict.fromkeys(map(clean_report, texts)):
            of_text.setdefault(text, []).append(name)
    notes = [
        f"classes {', '.join(names)} have the same prompt '{text}', which cannot tell them apart"
        for text, names in of_text.items()
        if len(names) > 1
    ]
    tokenizer, limit = getattr(model, "tokenizer", None), getattr(model, "max_text_tokens", None)
    if tokenizer is None or limit is None:
        return notes
    for text, names in of_text.items():
        n_tokens = len(tokenizer(text, truncation=False, verbose=False)["input_ids"])
        if n_tokens > limit:
            which = f"a prompt of class {names[0]}, '{text[:60]}...',"
            notes.append(f"{which} has {n_tokens} tokens, of which the model reads {limit}")
    return notes


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


def _read_json(path: str | Path, what: str, expected: str, absent: str) -> Any:
    """Read a user's file; `absent` is the sentence for when there is none."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
    except FileNotFoundError:
        raise BadPrompts(absent) from None
    except (OSError, ValueError) as error:
        raise BadPrompts(f"{what} {path} cannot be read as JSON: {error}; expected {expected}") from error


def _check_templates(templates: Sequence[object], where: str = "") -> None:
    for template in templates:
        if not isinstance(template, str) or template.count("{}") != 1:
            raise BadPrompts(
                f"{where}template {template!r}: expected a text with {{}} once, where the class's text comes"
            )
        _check_length(template, f"{where}template")
    if not templates:
        raise BadPrompts(f"{where}no template is given: expected at least one, such as {{}}")


def _check_length(text: str, what: str) -> None:
    n_words = len(text.split())
    if n_words > MAX_WORDS:
        raise BadPrompts(f"{what} has {n_words:,} words, expected {MAX_WORDS} at most; shorten '{text[:40]}...'")


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
