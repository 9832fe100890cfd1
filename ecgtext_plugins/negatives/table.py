"""The table of farthest reports on disk: open it for a store and draw negatives from it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ecgtext_plugins.errors import BadNegatives

FORMAT = 1
TABLE, META = "farthest.npy", "meta.json"


class NegativesTable:
    """For each report of a store the reports farthest from it; opened with :meth:`open`.

    Attributes
    ----------
    folder : Path
    meta : dict
        What was built from what (`meta.json`).
    """

    def __init__(self, folder: Path, meta: dict[str, Any]):
        self.folder, self.meta = folder, meta
        self._table: np.ndarray | None = None

    @classmethod
    def open(cls, folder: str | Path, store: Any) -> "NegativesTable":
        """Open the table in `folder` and check that it belongs to `store` (a ``RecordStore``).

        Raises
        ------
        BadNegatives
            When there is none, or it was built for other reports.
        """
        folder = Path(folder)
        meta = read_meta(folder)
        encoder = "NAME" if meta is None else meta["text_encoder"]
        remedy = f"build it with `ecgtext negatives build {store.folder} --text-encoder {encoder}`"
        if meta is None:
            raise BadNegatives(f"no table of negatives in {folder}: expected {META} and {TABLE} there; {remedy}")
        if meta["reports_fingerprint"] != store.reports_fingerprint:
            raise BadNegatives(
                f"negatives in {folder} were built for reports {meta['reports_fingerprint'][:12]}, but store "
                f"{store.folder} has reports {store.reports_fingerprint[:12]}; {remedy}"
            )
        opened = cls(folder, meta)
        expected = (store.n_reports, meta["k"])
        if opened.table.shape != expected or opened.table.dtype != np.int32:
            raise BadNegatives(
                f"{folder / TABLE} holds {opened.table.dtype} {opened.table.shape}, expected int32 {expected}; "
                f"{remedy} --rebuild"
            )
        return opened

    @property
    def table(self) -> np.ndarray:
        """Report ids, (U, k) int32, memory-mapped; row = report id, least similar first."""
        if self._table is None:
            try:
                self._table = np.load(self.folder / TABLE, mmap_mode="r")
            except (OSError, ValueError, EOFError) as error:
                raise BadNegatives(
                    f"{self.folder / TABLE} cannot be read ({error}); build it again with --rebuild"
                ) from error
        return self._table

    def draw(self, report_id: int, rng: np.random.Generator) -> int:
        """Draw one of the farthest reports of `report_id`, each with equal chance; never `report_id` itself."""
        row = self.table[report_id]
        return int(row[rng.integers(len(row))])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_table": None}  # a worker maps the file again


def read_meta(folder: Path) -> dict[str, Any] | None:
    """Read `meta.json` of a table; None when there is no table.

    Raises
    ------
    BadNegatives
        When it is not one that this version reads.
    """
    path = Path(folder) / META
    if not path.is_file():
        return None
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadNegatives(f"{path} is not JSON ({error}); remove {folder} and build the table again") from error
    found = meta.get("format") if isinstance(meta, dict) else None
    if found != FORMAT:
        raise BadNegatives(f"{path} has format {found}, expected {FORMAT}; remove {folder} and build the table again")
    return meta
