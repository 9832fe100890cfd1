"""Label a report by rules: the findings that its words name, how certain they are, and the labels that follow.

The method is that of ECG-FM's labeler in outline (phrases of entities, descriptors and connectives; a graph of wider
entities; templates of compounds; certainties such as 0.5 for "possible"); phrases, graph and certainties are our own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgtext_plugins.text.labeler.rules import CONTEXT, SHIPPED, Attached, Compound, load_rules
from ecgtext_plugins.text.labeler.scopes import MARKS, Item, judge, statements
from ecgtext_plugins.text.labeler.tokens import END, LEAD, Token, tokenize

NEAR = 2  # findings on, for a finding attached to another


@dataclass(frozen=True)
class Mention:
    """A finding in a report.

    Attributes
    ----------
    entity : str
        Its name in entities.yaml.
    start, end : int
        Its place in the text; of a compound, from the first part to the last.
    text : str
    certainty : float
        1 stated, 0 denied.
    rule : str
        What decided the certainty; empty for a plain statement.
    """

    entity: str
    start: int
    end: int
    text: str
    certainty: float
    rule: str


@dataclass(frozen=True)
class ReportLabels:
    """What a report says.

    Attributes
    ----------
    labels : dict of str to float
        Every label in order with its certainty in [0, 1]: the highest of all that is said; 0 where nothing is.
    mentions : tuple of Mention
        In the order of the text, compounds last.
    unmatched : tuple of str
        Pieces of the text that no rule knows.
    """

    labels: dict[str, float]
    mentions: tuple[Mention, ...]
    unmatched: tuple[str, ...]


class ReportLabeler:
    """Labels reports by the rules in a folder; made once, used for many.

    Parameters
    ----------
    folder : Path
        With labels.yaml, entities.yaml, descriptors.yaml, connectives.yaml, templates.yaml, spelling.yaml and
        context.yaml.

    Raises
    ------
    BadConfig
        Naming a bad rule.
    """

    def __init__(self, folder: str | Path = SHIPPED):
        self.rules = load_rules(Path(folder).resolve())

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in order."""
        return self.rules.labels

    def __call__(self, text: str) -> ReportLabels:
        """Label a report; as it is, or cleaned by :func:`ecgtext_plugins.corpora.report_text.clean_report`."""
        rules = self.rules
        tokens = tokenize(text, rules.tree.spelling)
        phrases = list(self._phrases(tokens))
        found: list[Item] = []
        attached: list[Mention] = []
        for items in statements(tokens, phrases):
            judge(items, rules.graph)
            entities = [item for item in items if item.is_entity]
            found += entities
            attached += [mention for rule in rules.attached for mention in self._attached(rule, entities, tokens, text)]
        mentions = [self._mention(str(one.meaning), (one,), tokens, text, "; ".join(one.rules)) for one in found]
        for compound in rules.compounds:
            attached += self._compound(compound, found, tokens, text)
        mentions += attached
        return ReportLabels(self._labels(mentions), tuple(mentions), tuple(_unmatched(phrases, tokens, text)))

    def _phrases(self, tokens: Sequence[Token]) -> Iterator[tuple[int, int, object]]:
        """Yield first and last token and meaning of the longest phrases, from the left; numbers and leads go along."""
        place = 0
        while place < len(tokens):
            last, meaning = self.rules.tree.longest(tokens, place)
            if meaning is None:
                last, meaning = place + 1, CONTEXT if tokens[place].number or tokens[place].word == LEAD else None
            yield place, last, meaning
            place = last

    def _mention(self, entity: str, parts: Sequence[Item], tokens: Sequence[Token], text: str, rule: str) -> Mention:
        start = min(tokens[part.first].start for part in parts)
        end = max(tokens[part.last - 1].end for part in parts)
        return Mention(entity, start, end, text[start:end], min(part.certainty for part in parts), rule)

    def _attached(
        self, rule: Attached, entities: Sequence[Item], tokens: Sequence[Token], text: str
    ) -> Iterator[Mention]:
        graph = self.rules.graph
        for place, first in enumerate(entities):
            if graph.is_kind(str(first.meaning), rule.first):
                for then in entities[place + 1 : place + 1 + NEAR]:
                    if graph.is_kind(str(then.meaning), rule.then):
                        reason = f"attached: {first.meaning} + {then.meaning}"
                        yield self._mention(rule.gives, (first, then), tokens, text, reason)

    def _compound(self, rule: Compound, found: Sequence[Item], tokens: Sequence[Token], text: str) -> Iterator[Mention]:
        """Yield the compound if each group has a finding; of each the most certain, the first of equals."""
        graph, parts = self.rules.graph, []
        for group in rule.groups:
            fitting = [
                item
                for item in found
                if any(graph.is_kind(str(item.meaning), one) for one in group)
                and not any(graph.is_kind(str(item.meaning), one) for one in rule.without)
            ]
            if not fitting:
                return
            parts.append(max(fitting, key=lambda item: item.certainty))
        reason = f"compound: {' + '.join(str(part.meaning) for part in parts)}"
        yield self._mention(rule.gives, parts, tokens, text, reason)

    def _labels(self, mentions: Sequence[Mention]) -> dict[str, float]:
        certainties: dict[str, float] = {}
        for mention in mentions:
            if mention.certainty > 0:
                for entity, share in self.rules.graph.above(mention.entity).items():
                    certainties[entity] = max(certainties.get(entity, 0.0), share * mention.certainty)
        return {label: certainties.get(label, 0.0) for label in self.rules.labels}


def label_report(text: str) -> ReportLabels:
    """Label a report by the rules that come with the package (see :class:`ReportLabeler`)."""
    return ReportLabeler()(text)


def _unmatched(phrases: Sequence[tuple[int, int, object]], tokens: Sequence[Token], text: str) -> Iterator[str]:
    """Yield the longest pieces of text from one unknown word to another with nothing but context between."""
    piece: list[int] = []
    for first, _, meaning in phrases:
        word = tokens[first].word
        if meaning is None and word != END and word not in MARKS:
            piece = [*(piece or [tokens[first].start]), tokens[first].end]
        elif (meaning is None and word == END) or meaning:
            if piece:
                yield text[piece[0] : piece[-1]]
            piece = []
    if piece:
        yield text[piece[0] : piece[-1]]
