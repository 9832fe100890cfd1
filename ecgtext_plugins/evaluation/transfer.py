"""Domain transfer: a model told (or taught) the classes of one benchmark is scored on the labels of another.

Source: D-BETA, table 11, which lists the matched categories and drops the others. It doesn't say how several classes
become one; here a record carries a category when it has any of the category's codes, and the category's score is the
largest score of its source classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ecgtext_plugins.errors import BadRecipe

Groups = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Transfer:
    """Where scores come from.

    Attributes
    ----------
    source : str
        Name of the benchmark whose prompts, or trained classifier, are used.
    classes : dict of str to tuple of str
        Category to the source's classes whose scores it takes.
    """

    source: str
    classes: Groups

    @property
    def used(self) -> list[str]:
        """The source's classes that are needed, in the order of the categories, each once."""
        return list(dict.fromkeys(name for names in self.classes.values() for name in names))


def any_of(values: np.ndarray, names: Sequence[str], groups: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Combine columns by groups: their largest value, which for labels means "has any of them".

    Parameters
    ----------
    values : ndarray, shape (n, K), bool or float
    names : sequence of str, length K
        Of the columns.
    groups : mapping
        New column to old ones.

    Returns
    -------
    ndarray, shape (n, len(groups)), of the same type
    """
    place = {name: index for index, name in enumerate(names)}
    columns = [values[:, [place[name] for name in members]].max(axis=1) for members in groups.values()]
    return np.stack(columns, axis=1)


def read_groups(values: object, where: str) -> Groups:
    """Read classes: a list of codes, or a mapping of classes to a code or codes that are OR-ed.

    Raises
    ------
    BadRecipe
        When it is neither, or a class, or a code within a class, is there twice or no text.
    """
    if isinstance(values, list):
        values = [(name, name) for name in values]
    elif isinstance(values, dict):
        values = list(values.items())
    if not isinstance(values, list) or not values:
        raise BadRecipe(f"{where} are {values!r}, expected a list of codes or {{class: code or codes}}; mend it")
    groups: Groups = {}
    for name, codes in values:
        codes = [codes] if isinstance(codes, str) else codes
        texts = isinstance(codes, list) and all(isinstance(code, str) and code.strip() for code in codes)
        if not isinstance(name, str) or not name.strip() or not texts or not codes:
            raise BadRecipe(f"{where} have {name!r}: {codes!r}, expected a class and its code or codes; mend it")
        if name in groups or len(set(codes)) < len(codes):
            raise BadRecipe(f"{where} have {name!r}: {codes!r}, expected each class, and each code of one, once")
        groups[name] = tuple(codes)
    return groups
