"""The label sets that a recipe asks a reader for: one, or several with names qualified as set/name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class LabelSets:
    """What `labels.scheme` of `recipe` says: nothing, one scheme, or a list of them.

    Attributes
    ----------
    schemes : list of str
        In the recipe's order; empty without labels.
    qualified : bool
        Whether labels are called ``"super/NORM"`` rather than ``"NORM"``: where the recipe gives a list.
    """

    def __init__(self, recipe: Mapping[str, Any]):
        asked = (recipe.get("labels") or {}).get("scheme", [])
        self.qualified = not isinstance(asked, str)
        self.schemes: list[str] = list(asked) if self.qualified else [asked]

    def name(self, scheme: str, text: str) -> str:
        """Return `text` (a label, or a subset's name) with its scheme where names are qualified."""
        return f"{scheme}/{text}" if self.qualified else text

    def names(self, vocabularies: Mapping[str, Sequence[str]]) -> list[str]:
        """Return the labels of all schemes in order; `vocabularies` gives each scheme's."""
        return [self.name(scheme, label) for scheme in self.schemes for label in vocabularies[scheme]]

    def labels(self, found: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
        """Return one record's labels in the schemes' order; `found` gives those of each scheme."""
        return tuple(self.name(scheme, label) for scheme in self.schemes for label in found.get(scheme, ()))

    def completed(self, labels: tuple[str, ...], scheme: str, found: Iterable[str]) -> tuple[str, ...]:
        """Return `labels`, which tables gave, with those `found` in the recording for `scheme`, if it is asked for."""
        if scheme not in self.schemes:
            return labels
        more = tuple(self.name(scheme, label) for label in found)
        return tuple(sorted(labels + more, key=self._place)) if self.qualified else labels + more

    def _place(self, label: str) -> int:
        return self.schemes.index(label.partition("/")[0])
