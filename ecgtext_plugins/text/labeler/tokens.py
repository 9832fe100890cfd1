"""Reports in tokens: words with their place in the text, and the punctuation that parts or joins statements."""

import re
from collections.abc import Mapping
from typing import NamedTuple

END = ";"  # the token of all that ends a statement
LEAD = "@"  # the token of a lead, or of a range of leads
_TOKEN = re.compile(
    r"""
    (?P<av>a[-. ]?v\.?(?![\w]|\s[rlf]\b))             # A-V, A.V., AV
    | (?P<st>s-t(?!\w))
    | (?P<ordinal>(?:\d|i{1,3})\.(?=\s*gr))           # II. Grades
    | (?P<suspicion>v\.\s?a\.)                        # V. a.: Verdacht auf
    | (?P<lead>(?:avr|avl|avf|v\d(?:\s?-\s?v?\d)?r?)(?!\w))
    | (?P<number>\d+(?:[.,:]\d+)*(?!\w))
    | (?P<word>\w+(?:'\w+)?)(?:\(\w{1,2}\))?          # lead(s), complex(es), extrasystole(n)
    | (?P<dash>(?<!\S)[-–](?!\S))                     # alone: a pause; within words it is a space
    | (?P<soft>[,:/?&+])
    | (?P<end>[;.!\n]|\*+|={2,}|-{2,})
    """,
    re.VERBOSE,
)
_FIXED = {"av": "av", "st": "st", "suspicion": "verdacht auf", "lead": LEAD, "dash": "-", "end": END}
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})


class Token(NamedTuple):
    """A word in its normal spelling, or a mark; `start` and `end` are its place in the text."""

    word: str
    start: int
    end: int
    number: bool = False


def tokenize(text: str, spelling: Mapping[str, str]) -> list[Token]:
    """Cut `text` into tokens; `spelling` corrects words, possibly to several or to none.

    Case, hyphens within words, brackets and plural endings in brackets don't matter. What ends a statement becomes the
    token ``;``, a lead ``@``.
    """
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters of other scripts grow: their places would be wrong
        lowered = "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
    tokens: list[Token] = []
    for found in _TOKEN.finditer(lowered):
        kind = found.lastgroup or ""
        word = _FIXED.get(kind) or found[kind].rstrip(".").translate(_UMLAUTS)
        corrected = spelling.get(word, word)
        start, end = found.span()
        tokens += [Token(one, start, end, kind == "number") for one in corrected.split()]
    return tokens
