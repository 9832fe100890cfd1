"""The labeler's rules: read from the YAML files of a folder, strictly, with errors that name the bad entry."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.text.labeler.entity_graph import EntityGraph
from ecgtext_plugins.text.labeler.phrases import PhraseTree

SHIPPED = Path(__file__).resolve().parent
FILES = ("labels", "entities", "descriptors", "connectives", "templates", "spelling", "context")
DIRECTIONS = ("before", "after")
REACHES = ("always", "lists", "never")
KEEP = "keep"


@dataclass(frozen=True)
class Descriptor:
    """What words say about the certainty of the finding after or before them.

    Attributes
    ----------
    name : str
    before, after : float or None
        Certainty of a finding that the words stand before, or after; None where they say nothing about it.
    prefer : str
        ``before`` or ``after``: where a finding is looked for first.
    instead : tuple of (str, float)
        Other certainties for some entities and their kinds; the first that fits.
    only : tuple of str
        The entities that the words go with, and their kinds; empty for all.
    """

    name: str
    before: float | None
    after: float | None
    prefer: str
    instead: tuple[tuple[str, float], ...] = ()
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Connective:
    """What joins findings.

    Attributes
    ----------
    name : str
    reach : str
        Whether a descriptor of the one goes for the other too: ``always``, ``lists`` (a comma: where the list ends in
        a connective that always reaches on) or ``never``.
    certainty : float
        Of both findings, without any descriptor: 1, or less for alternatives.
    """

    name: str
    reach: str
    certainty: float


@dataclass(frozen=True)
class Compound:
    """Findings anywhere in a report that make another one: one of each group, at the lowest of their certainties."""

    gives: str
    groups: tuple[tuple[str, ...], ...]
    without: tuple[str, ...]


@dataclass(frozen=True)
class Attached:
    """A finding closely followed by another in one statement, which make a third."""

    gives: str
    first: str
    then: str


@dataclass(frozen=True)
class Rules:
    """All rules; `tree` finds their phrases: an entity's name, a Descriptor, a Connective, or CONTEXT."""

    labels: tuple[str, ...]
    graph: EntityGraph
    tree: PhraseTree
    compounds: tuple[Compound, ...]
    attached: tuple[Attached, ...]


CONTEXT = 0  # the meaning of phrases that say nothing about a finding


@functools.cache
def load_rules(folder: Path = SHIPPED) -> Rules:
    """Read labels, entities, descriptors, connectives, templates, spelling and context (.yaml) in `folder`.

    Raises
    ------
    BadConfig
        When a file is missing or no YAML, or naming the entry that is malformed, unknown, ambiguous, or in a cycle.
    """
    return _Reader(folder).rules()


class _Reader:
    def __init__(self, folder: Path):
        self.folder = folder
        self.content = {name: _load(folder / f"{name}.yaml") for name in FILES}

    def bad(self, name: str, entry: Any, problem: str) -> BadConfig:
        return BadConfig(f"{self.folder / name}.yaml: {entry!r}: {problem}; correct the entry")

    def rules(self) -> Rules:
        spelling = self.mapping("spelling", self.content["spelling"])
        for word, right in spelling.items():
            if not isinstance(word, str) or not isinstance(right, str):
                raise self.bad("spelling", word, f"is corrected to {right!r}: expected words in quotes")
        tree = PhraseTree(spelling)
        graph = self.entities(tree)
        labels = self.names("labels", "labels", self.content["labels"], graph)
        self.descriptors(tree, graph)
        self.connectives(tree)
        self.phrases("context", "context", self.content["context"], tree, CONTEXT)
        return Rules(tuple(labels), graph, tree, *self.templates(graph))

    def mapping(self, name: str, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, dict) or not value:
            raise self.bad(name, value, "expected entries, `name: value`")
        return value

    def entry(self, name: str, key: Any, value: Any, known: Sequence[str]) -> Mapping[str, Any]:
        """Check that an entry is a mapping with known keys only."""
        if not isinstance(key, str) or not isinstance(value, dict):
            raise self.bad(name, key, f"is {value!r}: expected a name with the keys {', '.join(known)}")
        if unknown := [one for one in value if one not in known]:
            raise self.bad(name, key, f"has the unknown key {unknown[0]!r}: expected {', '.join(known)}")
        return value

    def names(self, name: str, key: str, value: Any, graph: EntityGraph) -> list[str]:
        """Check a list of entities."""
        if not isinstance(value, list) or not value:
            raise self.bad(name, key, f"is {value!r}: expected a list of entities")
        for one in value:
            if one not in graph:
                raise self.bad(name, key, f"names the unknown entity {one!r}: expected one of entities.yaml")
        return value

    def certainty(self, name: str, key: str, value: Any) -> float:
        """Check a certainty; ``keep`` is 1: it leaves what others say."""
        if value == KEEP:
            return 1.0
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise self.bad(name, key, f"has the certainty {value!r}: expected 0 to 1, or keep")
        return float(value)

    def phrases(self, name: str, key: str, value: Any, tree: PhraseTree, meaning: Any) -> None:
        """Put phrases into the tree."""
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self.bad(name, key, f"has the phrases {value!r}: expected a list of texts")
        for notation in value:
            try:
                tree.add(notation, meaning)
            except ValueError as error:
                raise self.bad(name, key, f"phrase {notation!r}: {error}") from None

    def entities(self, tree: PhraseTree) -> EntityGraph:
        kinds: dict[str, dict[str, float]] = {}
        for key, value in self.mapping("entities", self.content["entities"]).items():
            entry = self.entry("entities", key, value, ("is_a", "suggests", "phrases"))
            self.phrases("entities", key, entry.get("phrases", []), tree, key)
            above, suggests = entry.get("is_a", []), entry.get("suggests", {})
            if not isinstance(above, list) or not isinstance(suggests, dict):
                raise self.bad("entities", key, "expected a list at is_a, and `entity: certainty` at suggests")
            kinds[key] = dict.fromkeys(above, 1.0)
            kinds[key] |= {one: self.certainty("entities", key, number) for one, number in suggests.items()}
        try:
            return EntityGraph(kinds)
        except ValueError as error:
            raise BadConfig(f"{self.folder / 'entities'}.yaml: {error}; correct the entry") from None

    def descriptors(self, tree: PhraseTree, graph: EntityGraph) -> None:
        known = (*DIRECTIONS, "prefer", "instead", "only", "phrases")
        for key, value in self.mapping("descriptors", self.content["descriptors"]).items():
            entry = self.entry("descriptors", key, value, known)
            certainty = {one: self.certainty("descriptors", key, entry[one]) for one in DIRECTIONS if one in entry}
            prefer = entry.get("prefer", next(iter(certainty), None))
            if prefer not in certainty:
                raise self.bad("descriptors", key, f"prefers {prefer!r}: expected before or after, with a certainty")
            instead, only = entry.get("instead", {}), entry.get("only", [])
            if instead:
                self.names("descriptors", key, [*self.mapping("descriptors", instead)], graph)
            if only:
                self.names("descriptors", key, only, graph)
            other = tuple((one, self.certainty("descriptors", key, number)) for one, number in instead.items())
            meaning = Descriptor(
                key, certainty.get("before"), certainty.get("after"), prefer, instead=other, only=tuple(only)
            )
            self.phrases("descriptors", key, entry.get("phrases"), tree, meaning)

    def connectives(self, tree: PhraseTree) -> None:
        for key, value in self.mapping("connectives", self.content["connectives"]).items():
            entry = self.entry("connectives", key, value, ("reach", "certainty", "phrases"))
            if entry.get("reach") not in REACHES:
                raise self.bad("connectives", key, f"reach is {entry.get('reach')!r}: expected {', '.join(REACHES)}")
            certainty = self.certainty("connectives", key, entry.get("certainty", 1.0))
            self.phrases("connectives", key, entry.get("phrases"), tree, Connective(key, entry["reach"], certainty))

    def templates(self, graph: EntityGraph) -> tuple[tuple[Compound, ...], tuple[Attached, ...]]:
        content = self.entry("templates", "templates", self.content["templates"], ("compound", "attached"))
        compounds, attached = [], []
        for key, value in (content.get("compound") or {}).items():
            entry = self.entry("templates", key, value, ("all", "without"))
            groups = entry.get("all")
            if not isinstance(groups, list) or len(groups) < 2:
                raise self.bad("templates", key, f"all is {groups!r}: expected at least two lists of entities")
            self.names("templates", key, [key], graph)
            checked = tuple(tuple(self.names("templates", key, group, graph)) for group in groups)
            without = self.names("templates", key, entry["without"], graph) if "without" in entry else []
            compounds.append(Compound(key, checked, tuple(without)))
        for key, value in (content.get("attached") or {}).items():
            if not isinstance(value, list):
                raise self.bad("templates", key, f"is {value!r}: expected a list of {{first, then}}")
            for one in value:
                entry = self.entry("templates", key, one, ("first", "then"))
                self.names("templates", key, [key, entry.get("first"), entry.get("then")], graph)
                attached.append(Attached(key, entry["first"], entry["then"]))
        return tuple(compounds), tuple(attached)


class _Loader(yaml.SafeLoader):
    """YAML in which a key given twice is an error: else the first entry would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _load(path: Path) -> Any:
    try:
        return yaml.load(path.read_text("utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadConfig(
            f"the rules {path} cannot be read as YAML ({' '.join(str(error).split())}): expected one of "
            f"{', '.join(f'{name}.yaml' for name in FILES)} of a labeler; correct it"
        ) from None
