"""The SNOMED CT codes of the PhysioNet/CinC Challenge 2021: names, scored classes and their equivalents."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).parent / "tables" / "snomed_ct.csv"


@dataclass(frozen=True, slots=True)
class SnomedCode:
    """One code; `label` is the scored class's abbreviation that it counts as, or "" for an unscored code."""

    code: str
    abbreviation: str
    name: str
    label: str


@cache
def snomed_codes() -> dict[str, SnomedCode]:
    """Return the shipped table by code; scored classes come first, in the order of the Challenge's weights.csv."""
    with open(TABLE, encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    short = {row["code"]: row["abbreviation"] for row in rows}
    return {
        row["code"]: SnomedCode(
            code=row["code"],
            abbreviation=row["abbreviation"],
            name=row["name"],
            label=short[row["merged_with"] or row["code"]] if row["scored"] == "yes" else "",
        )
        for row in rows
    }


@cache
def scored_labels() -> tuple[str, ...]:
    """Return the 26 scored classes' abbreviations in the order of weights.csv, equivalents merged."""
    return tuple(dict.fromkeys(code.label for code in snomed_codes().values() if code.label))
