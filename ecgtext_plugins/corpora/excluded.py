"""Leaving out the recordings in folders that a recipe's `exclude_sources` names."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ecgtext_plugins.corpora.raw_folder import is_under
from ecgtext_plugins.errors import BadRawData


def without_excluded(table: pa.Table, recipe: Mapping[str, Any]) -> pa.Table:
    """Return the rows of `table` whose `path` is under none of the excluded folders.

    Raises
    ------
    BadRawData
        When none is left.
    """
    excluded = {name.strip("/") for name in recipe.get("exclude_sources") or []}
    if not excluded:
        return table
    left = table.filter(pa.array([not is_under(path, excluded) for path in table["path"].to_pylist()], pa.bool_()))
    if not len(left):
        raise BadRawData(
            f"recipe {recipe['name']}: exclude_sources {', '.join(sorted(excluded))} leaves none of {len(table)} "
            "records: expected at least one; correct it"
        )
    return left
