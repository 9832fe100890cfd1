"""Phrases of the rules: their short notation written out, and the tree that finds the longest one in a report."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ecgtext_plugins.text.labeler.tokens import Token, tokenize

_MARKS = re.compile(r"[()\[\]|]")
_LEAF = ""


def expand(notation: str) -> list[str]:
    """Write a phrase out: ``(a|b)`` is one of them, ``[a|b]`` one of them or none; both may be nested.

    Raises
    ------
    ValueError
        When a bracket is not closed, or closed by another.
    """
    phrases, rest = _alternatives(notation, "")
    if rest:
        raise ValueError(f"{rest[0]!r} closes nothing in {notation!r}")
    return [" ".join(phrase.split()) for phrase in phrases]


def _alternatives(text: str, closing: str) -> tuple[list[str], str]:
    """Read alternatives up to `closing`; return them and what follows it."""
    found: list[str] = []
    parts: list[list[str]] = []
    while True:
        mark = _MARKS.search(text)
        parts.append([text[: mark.start()] if mark else text])
        text = text[mark.end() :] if mark else ""
        sign = mark[0] if mark else ""
        if sign in ("(", "["):
            inner, text = _alternatives(text, ")" if sign == "(" else "]")
            parts.append(inner + [""] * (sign == "["))
        elif sign == "|" or sign == closing:
            found += ["".join(choice) for choice in itertools.product(*parts)]
            parts = []
            if sign == closing:
                return found, text
        else:
            raise ValueError(f"expected {closing or 'no bracket'!r}, found {sign or 'the end'!r}")


class PhraseTree:
    """All phrases, word by word.

    Parameters
    ----------
    spelling : mapping
        Spelling corrections, which phrases get as reports do.
    """

    def __init__(self, spelling: Mapping[str, str]):
        self.spelling = spelling
        self._root: dict[str, Any] = {}

    def add(self, notation: str, meaning: Any) -> None:
        """Add a phrase in the short notation.

        Raises
        ------
        ValueError
            When it is malformed, empty, or one of the phrases that it stands for has another meaning already.
        """
        for phrase in expand(notation):
            words = [token.word for token in tokenize(phrase, self.spelling)]
            if not words:
                raise ValueError(f"{notation!r} has no word")
            node = self._root
            for word in words:
                node = node.setdefault(word, {})
            if node.setdefault(_LEAF, meaning) != meaning:
                raise ValueError(f"{phrase!r} means {node[_LEAF]} already")

    def longest(self, tokens: Sequence[Token], start: int) -> tuple[int, Any]:
        """Return where the longest phrase from token `start` on ends and its meaning; (start, None) without one."""
        node: dict[str, Any] | None = self._root
        best, meaning = start, None
        for place in range(start, len(tokens)):
            if (node := node.get(tokens[place].word)) is None:
                break
            if _LEAF in node:
                best, meaning = place + 1, node[_LEAF]
        return best, meaning
