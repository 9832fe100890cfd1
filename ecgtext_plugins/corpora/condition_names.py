"""CSN's own table of conditions, ConditionNames_SNOMED-CT.csv: acronym and name of 63 conditions by SNOMED CT code."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import pyarrow.compute as pc

from ecgtext_plugins.corpora.csv_tables import column_names, read_columns
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.corpora.snomed import snomed_codes
from ecgtext_plugins.errors import BadRawData

TABLE = "ConditionNames_SNOMED-CT.csv"
_COLUMNS = ("acronymname", "fullname", "snomed_ct")  # "Acronym Name", "Full Name", "Snomed_CT" without case and spaces


@dataclass(frozen=True)
class ConditionNames:
    """The conditions by code.

    Several conditions share a code (MI, MIBW, MIFW, MILW and MISW; LBBB, LBBBB and LFBBB; ...), and headers hold only
    codes: the first of them stands for all, as in MERL's tables.

    Attributes
    ----------
    acronyms, full_names : dict
        By code, in the table's order.
    """

    acronyms: dict[str, str]
    full_names: dict[str, str]

    @property
    def labels(self) -> list[str]:
        """One acronym a code, in the table's order."""
        return list(self.acronyms.values())

    def labels_of(self, codes: Iterable[str]) -> tuple[str, ...]:
        """Return the acronyms of `codes` in the table's order; a code that the table lacks gives none."""
        given = set(codes)
        return tuple(acronym for code, acronym in self.acronyms.items() if code in given)

    def report(self, codes: Iterable[str]) -> str | None:
        """Return the names of `codes` in their order, joined with commas; None without a name.

        About 30 codes of the headers are not in the table: they are called as in the Challenge 2021, whose training
        data include these recordings; a code that is not there either gives no words.
        """
        others = snomed_codes()
        names = (self.full_names.get(code) or (others[code].name if code in others else "") for code in codes)
        return ", ".join(dict.fromkeys(name for name in names if name)) or None


@lru_cache(maxsize=1)
def _read(place: str) -> ConditionNames:
    folder = RawFolder(place)
    spelt = {"".join(name.split()).lower(): name for name in column_names(folder, TABLE)}
    # a column that is not there is named as published, for read_columns to miss it
    published = zip(_COLUMNS, ("Acronym Name", "Full Name", "Snomed_CT"), strict=True)
    columns = [spelt.get(plain, name) for plain, name in published]
    table = read_columns(folder, TABLE, columns)
    rows = list(zip(*(pc.utf8_trim_whitespace(table[column]).to_pylist() for column in columns), strict=True))
    acronyms: dict[str, str] = {}
    full_names: dict[str, str] = {}
    for number, (acronym, full_name, code) in enumerate(rows, start=1):
        if not acronym or not code.isdecimal():
            raise BadRawData(
                f"{folder}/{TABLE} has acronym {acronym[:40]!r} and code {code[:40]!r} in row {number}: expected an "
                "acronym and digits; use the table as published"
            )
        acronyms.setdefault(code, acronym)
        full_names.setdefault(code, full_name)
    if not acronyms or len(set(acronyms.values())) != len(acronyms):
        raise BadRawData(
            f"{folder}/{TABLE} has {len(acronyms)} codes and {len(set(acronyms.values()))} acronyms for them: expected "
            "an acronym of its own for each; use the table as published"
        )
    return ConditionNames(acronyms, full_names)


def condition_names(raw: RawFolder, fresh: bool = False) -> ConditionNames:
    """Return the table in the folder `raw`, read once a process; again when `fresh`.

    Raises
    ------
    BadRawData
        When the table is missing or malformed.
    """
    if fresh:
        _read.cache_clear()
    return _read(raw.place)
