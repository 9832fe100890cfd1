"""Checks of the values in a recipe's `options`, beyond their types."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from ecgtext_plugins.errors import BadRecipe
from ecgtext_plugins.signals.leads import LEADS, canonical_lead


def check_word(value: Any, known: Iterable[str], what: str) -> None:
    """Raise BadRecipe, with the word that is near, when `value` is none of `known`; `what` names it."""
    known = list(known)
    if value in known:
        return
    spelt = {word.lower(): word for word in known}
    near = difflib.get_close_matches(str(value).lower(), spelt, n=1)
    hint = f"did you mean {spelt[near[0]]}?" if near else "use one of them"
    raise BadRecipe(f"{what} is {value!r}: expected {', '.join(known)}; {hint}")


def check_table(name: str | None, what: str) -> None:
    """Raise BadRecipe when the table's `name` leads out of the folders in which tables are looked for."""
    if name is not None and (not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts):
        raise BadRecipe(f"{what} is {name!r}: expected a path inside the raw folder or that of --tables; correct it")


def check_leads(leads: Sequence[Any], what: str, all_twelve: bool = False) -> None:
    """Raise BadRecipe unless `leads` are names of different leads; of all of them, if so asked."""
    names = [canonical_lead(lead) if isinstance(lead, str) else None for lead in leads]
    unknown = [lead for lead, name in zip(leads, names, strict=True) if name is None]
    twice = [lead for lead, name in zip(leads, names, strict=True) if names.count(name) > 1]
    if unknown or twice or not leads or (all_twelve and len(leads) < len(LEADS)):
        found = (
            *(f"{lead!r}, which is no lead" for lead in unknown[:1]),
            *(f"{lead!r} more than once" for lead in twice[:1] if not unknown),
        )
        raise BadRecipe(
            f"{what} has {', '.join(found) or f'{len(leads)} leads'}: expected {'all' if all_twelve else 'some'} of "
            f"{', '.join(LEADS)}, in the order of the file; correct it"
        )
