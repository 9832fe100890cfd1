"""Report text: joining a report's lines, and the one cleaning that reports and prompts both get."""

import re
from collections.abc import Iterable

EDGES = "*=- \t"
_PUNCTUATION = re.compile(r"(?!(?<=\d)[.,](?=\d))[^\w\s]|_")


def join_report_lines(lines: Iterable[str | float | None], separator: str = " ") -> str:
    """Join the lines of a report with `separator`; within a line white space becomes single spaces.

    Lines that are None, blank, NaN or the word nan alone (a missing cell that some table writer spelt out) are left
    out.
    """
    kept = (" ".join(line.split()) for line in lines if isinstance(line, str))
    return separator.join(line for line in kept if line and line.lower() != "nan")


def clean_report(text: str) -> str:
    """Lower the case, call an ekg an ecg, make white space single, strip stars, equals and dashes off both ends.

    Source: ``normalize_text`` of D-BETA, whose strips in turn (``"* "``, ``"=-"``, ``"="``) are one strip here, so that
    cleaning twice changes nothing. Used for reports and for prompts.
    """
    return " ".join(text.lower().replace("ekg", "ecg").split()).strip(EDGES)


def remove_punctuation(text: str) -> str:
    """Put a space for every punctuation mark, save for a decimal point or comma between digits: ``0.5`` stays."""
    return " ".join(_PUNCTUATION.sub(" ", text).split())
