"""Age, sex and diagnosis codes in the comments of WFDB headers, as the Challenges and CSN write them."""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

_COMMENT = re.compile(r"(Age|Sex|Dx)\s*:\s*(.*)", re.IGNORECASE)
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F"}


class HeaderComments(NamedTuple):
    """Age in years (NaN unknown), sex "M", "F" or "", and the text after ``Dx:``."""

    age: float
    sex: str
    dx: str

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes in `dx`, each once."""
        return tuple(dict.fromkeys(code.strip() for code in self.dx.split(",") if code.strip()))


def header_comments(comments: Iterable[str]) -> HeaderComments:
    """Read a header's comments (without ``#``), such as ``Age: 85``, ``Sex: Male``, ``Dx: 164889003,59118001``."""
    said = {match[1].lower(): match[2].strip() for match in map(_COMMENT.fullmatch, comments) if match}
    return HeaderComments(age_of(said.get("age", "")), sex_of(said.get("sex", "")), said.get("dx", ""))


def age_of(text: str) -> float:
    """Return an age in years, NaN where `text` is not one."""
    try:
        age = float(text)
    except ValueError:
        return math.nan
    return age if 0 <= age < math.inf else math.nan


def sex_of(text: str) -> str:
    """Return "M" or "F" for ``Male``, ``f`` and the like, else ""."""
    return _SEXES.get(text.lower(), "")
