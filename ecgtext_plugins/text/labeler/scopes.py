"""Which findings a statement names, and how certain its words make each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ecgtext_plugins.text.labeler.entity_graph import EntityGraph
from ecgtext_plugins.text.labeler.rules import CONTEXT, Connective, Descriptor
from ecgtext_plugins.text.labeler.tokens import END, Token

FARTHEST = 2  # unknown words between a descriptor and its finding
MARKS = ",-:/?&+"


@dataclass
class Item:
    """A finding, descriptor or connective of a statement, or a word that no rule knows.

    Attributes
    ----------
    meaning : str or Descriptor or Connective or None
        A finding's entity; None for a word that no rule knows.
    first, last : int
        Its tokens, `last` excluded.
    certainty : float
        Of a finding; lowered by descriptors and alternatives.
    rules : list of str
        What lowered, or could have.
    """

    meaning: str | Descriptor | Connective | None
    first: int
    last: int
    certainty: float = 1.0
    rules: list[str] = field(default_factory=list)

    @property
    def is_entity(self) -> bool:
        """Whether it is a finding."""
        return isinstance(self.meaning, str)

    def lower(self, certainty: float, rule: str) -> None:
        """Make a finding at most this certain."""
        self.certainty = min(self.certainty, certainty)
        self.rules.append(rule)


def statements(tokens: Sequence[Token], found: Sequence[tuple[int, int, object]]) -> Iterator[list[Item]]:
    """Part the phrases `found`, (first, last, meaning), into statements; context words are left out.

    Marks that no rule knows are left out, too.
    """
    items: list[Item] = []
    for first, last, meaning in found:
        word = tokens[first].word
        if meaning is None and word == END:
            yield items
            items = []
        elif meaning != CONTEXT and not (meaning is None and word in MARKS):
            items.append(Item(meaning, first, last))
    yield items


def judge(items: Sequence[Item], graph: EntityGraph) -> None:
    """Lower the certainty of a statement's findings by its descriptors and alternatives."""
    for place, item in enumerate(items):
        if isinstance(item.meaning, Descriptor):
            _describe(items, place, graph)
        elif isinstance(item.meaning, Connective) and item.meaning.certainty < 1:
            for other in (_neighbour(items, place, -1), _neighbour(items, place, 1)):
                if other is not None:
                    items[other].lower(item.meaning.certainty, f"{item.meaning.name} (alternatives)")


def _describe(items: Sequence[Item], place: int, graph: EntityGraph) -> None:
    """Find what a descriptor describes, where it looks first or else on the other side, and lower it."""
    descriptor = items[place].meaning
    assert isinstance(descriptor, Descriptor)
    certainties = {"before": descriptor.before, "after": descriptor.after}
    for direction in sorted(certainties, key=lambda one: one != descriptor.prefer):
        certainty = certainties[direction]
        step = 1 if direction == "before" else -1
        target = None if certainty is None else _neighbour(items, place, step)
        if target is None or not _fits(str(items[target].meaning), descriptor.only, graph):
            continue
        for one in (target, *_joined(items, target, step)):
            entity = str(items[one].meaning)
            others = (number for wider, number in descriptor.instead if graph.is_kind(entity, wider))
            items[one].lower(next(others, certainty), f"{descriptor.name} ({direction})")
        return


def _fits(entity: str, only: Sequence[str], graph: EntityGraph) -> bool:
    return not only or any(graph.is_kind(entity, wider) for wider in only)


def _neighbour(items: Sequence[Item], place: int, step: int) -> int | None:
    """Return the place of the next finding in a direction, None where a connective or unknown words part it off.

    Backwards, a comma or a dash doesn't part: "infarct, cannot be excluded".
    """
    unknown = 0
    for other in range(place + step, len(items) if step > 0 else -1, step):
        meaning = items[other].meaning
        if isinstance(meaning, str):
            return other
        unknown += meaning is None
        parts = isinstance(meaning, Connective) and (step > 0 or meaning.reach != "lists")
        if parts or unknown > FARTHEST:
            return None
    return None


def _joined(items: Sequence[Item], target: int, step: int) -> list[int]:
    """Return the findings that connectives join to `target` in a direction, as far as a descriptor reaches."""
    chain: list[int] = []
    reached, open_list, place = 0, False, target
    while True:
        place += step
        links = []
        while 0 <= place < len(items) and isinstance(items[place].meaning, Connective):
            links.append(items[place].meaning.reach)
            place += step
        if not links or "never" in links or not 0 <= place < len(items) or not items[place].is_entity:
            return chain[:reached]
        chain.append(place)
        open_list = "always" not in links
        reached = reached if open_list else len(chain)
