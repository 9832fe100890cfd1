"""The tables of negatives on disk: for each report the farthest ones and, if built, some of a band of similarity."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ecgtext_plugins.errors import BadNegatives

FORMAT = 1
TABLE, BAND, META = "farthest.npy", "band.npy", "meta.json"
BAND_EXAMPLE = "--band 0.5,0.9"


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
        self._tables: dict[str, np.ndarray] = {}

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
        for name in (TABLE, BAND) if opened.has_band else (TABLE,):
            table = opened._mapped(name)
            if table.shape != expected or table.dtype != np.int32:
                raise BadNegatives(
                    f"{folder / name} holds {table.dtype} {table.shape}, expected int32 {expected}; {remedy} --rebuild"
                )
        return opened

    @property
    def table(self) -> np.ndarray:
        """Report ids, (U, k) int32, memory-mapped; row = report id, least similar first."""
        return self._mapped(TABLE)

    @property
    def has_band(self) -> bool:
        """Whether the table was built with a band."""
        return bool(self.meta.get("band"))

    @property
    def band(self) -> np.ndarray:
        """Report ids of the row's band of similarity, (U, k) int32, memory-mapped, in no order.

        Raises
        ------
        BadNegatives
            When the table was built without a band.
        """
        if not self.has_band:
            encoder = self.meta.get("text_encoder", "NAME")
            raise BadNegatives(
                f"negatives in {self.folder} have no band: expected {BAND} there; build it with `ecgtext negatives "
                f"build {self.folder.parent} --text-encoder {encoder} {BAND_EXAMPLE}`"
            )
        return self._mapped(BAND)

    def _mapped(self, name: str) -> np.ndarray:
        if name not in self._tables:
            try:
                self._tables[name] = np.load(self.folder / name, mmap_mode="r")
            except (OSError, ValueError, EOFError) as error:
                raise BadNegatives(
                    f"{self.folder / name} cannot be read ({error}); build it again with --rebuild"
                ) from error
        return self._tables[name]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tables": {}}  # a worker maps the files again


def vectors_path(folder: Path, key: str) -> Path:
    """Return where the reports' vectors of a table are kept, named after what they depend on."""
    return Path(folder) / f"vectors-{key}.npy"


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
