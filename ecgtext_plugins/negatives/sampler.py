"""Draw the report to show in the place of an ECG's own: from a table of negatives, by chance, or a mixture."""

from collections.abc import Sequence

import numpy as np

from ecgtext_plugins.errors import BadNegatives
from ecgtext_plugins.negatives.table import NegativesTable

PARTS = ("farthest", "random", "band")  # in the order of a mixture's shares
STRATEGIES = (*PARTS, "mixed")


class NegativeSampler:
    """Draws for many reports at once.

    Strategies: ``farthest``, one of the report's k farthest (D-BETA's N3S); ``random``, any other candidate; ``band``,
    one of those kept of the report's band of similarity; ``mixed``, for each row one of the three by chance. All are
    uniform over what they draw from.

    Parameters
    ----------
    candidates : ndarray, shape (C,), int
        Ascending ids of the reports that may be shown, at least two; what ``random`` draws from.
    table : NegativesTable or None
        What ``farthest`` and ``band`` draw from; ``random`` needs none.
    strategy : str
        One of STRATEGIES, used until the first epoch of `schedule`.
    mixture : sequence of float
        Shares of farthest, random and band in ``mixed``; divided by their sum. A share of 0 needs no table.
    schedule : sequence of str
        Changes of strategy, ``EPOCH:STRATEGY`` with ascending epochs, e.g. ``["1:random", "5:farthest"]``.

    Raises
    ------
    BadNegatives
        When a name, share, or entry is none of these, or a strategy needs a table that isn't there.
    """

    def __init__(
        self,
        candidates: np.ndarray,
        table: NegativesTable | None,
        strategy: str = "farthest",
        mixture: Sequence[float] = (0.5, 0.25, 0.25),
        schedule: Sequence[str] = (),
    ):
        self.candidates = np.asarray(candidates, dtype=np.int64)
        if self.candidates.ndim != 1 or (np.diff(self.candidates) <= 0).any():
            raise ValueError("candidates: expected ascending report ids, each once")
        if len(self.candidates) < 2:
            raise BadNegatives(
                f"{len(self.candidates)} report may be shown, but a negative is another report, so at least 2 are "
                "needed; use more records, or train with negative_ratio=0"
            )
        self.table = table
        self._changes = [(0, _checked(strategy, "negative strategy")), *_read_schedule(schedule)]
        self._shares = dict(zip(PARTS, _read_mixture(mixture), strict=True))
        for _, name in self._changes:
            self._check_table(name)

    def strategy_at(self, epoch: int) -> str:
        """Return the strategy of an epoch."""
        return [strategy for first, strategy in self._changes if first <= max(epoch, 0)][-1]

    def draw(self, own: np.ndarray, uniforms: np.ndarray, epoch: int) -> np.ndarray:
        """Draw a report for each row, never the row's own; a function of the arguments alone.

        Parameters
        ----------
        own : ndarray, shape (M,), int64
            Report ids of the rows; need not be candidates.
        uniforms : ndarray, shape (M, 3), float64
            Numbers of [0, 1) for each row: of ``mixed``'s choice, of a place in a table, of a place among candidates.
        epoch : int

        Returns
        -------
        ndarray, shape (M,), int64
        """
        own, uniforms = np.asarray(own, dtype=np.int64), np.asarray(uniforms, dtype=np.float64)
        if own.ndim != 1 or uniforms.shape != (len(own), 3) or (own < 0).any():
            raise ValueError(f"own {own.shape}, uniforms {uniforms.shape}: expected (M,) of ids from 0, and (M, 3)")
        strategy = self.strategy_at(epoch)
        if strategy != "mixed":
            return self._draw_part(strategy, own, uniforms)
        names = self._parts_of(strategy)
        bounds = np.cumsum([self._shares[name] for name in names])[:-1]  # the last ends at 1, however the sum rounds
        part = np.searchsorted(bounds, uniforms[:, 0], side="right")
        drawn = np.empty(len(own), dtype=np.int64)
        for number, name in enumerate(names):
            rows = part == number
            if rows.any():
                drawn[rows] = self._draw_part(name, own[rows], uniforms[rows])
        return drawn

    def _draw_part(self, name: str, own: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        if name == "random":
            return self._draw_random(own, uniforms[:, 2])
        table = self.table.table if name == "farthest" else self.table.band
        return table[own, _places(uniforms[:, 1], table.shape[1])].astype(np.int64)

    def _draw_random(self, own: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
        """Draw among the candidates without the own one: places from its own on move up by one."""
        at = np.searchsorted(self.candidates, own)
        is_candidate = self.candidates[np.minimum(at, len(self.candidates) - 1)] == own
        places = _places(uniforms, len(self.candidates) - is_candidate)
        return self.candidates[places + (is_candidate & (places >= at))]

    def _parts_of(self, strategy: str) -> list[str]:
        return [name for name in PARTS if self._shares[name] > 0] if strategy == "mixed" else [strategy]

    def _check_table(self, strategy: str) -> None:
        needed = self._parts_of(strategy)
        if self.table is None and {*needed} & {"farthest", "band"}:
            band = " --band LOW,HIGH" if "band" in needed else ""
            raise BadNegatives(
                f"negative strategy {strategy} needs a table of negatives and there is none: build it with `ecgtext "
                f"negatives build DATA --text-encoder NAME{band}`, or use the strategy random"
            )
        if "band" in needed and not self.table.has_band:
            raise BadNegatives(
                f"negative strategy {strategy} needs a band, which the table in {self.table.folder} lacks: build it "
                f"with `ecgtext negatives build {self.table.folder.parent} --text-encoder "
                f"{self.table.meta.get('text_encoder', 'NAME')} --band LOW,HIGH`, e.g. --band 0.5,0.9"
            )


def _places(uniforms: np.ndarray, size: int | np.ndarray) -> np.ndarray:
    """Return places 0 to size - 1; the product may round up to `size`."""
    return np.minimum((uniforms * size).astype(np.int64), np.asarray(size, dtype=np.int64) - 1)


def _checked(strategy: str, where: str) -> str:
    if strategy not in STRATEGIES:
        raise BadNegatives(f"{where} {strategy!r} is unknown: expected one of {', '.join(STRATEGIES)}; correct it")
    return strategy


def _read_schedule(schedule: Sequence[str]) -> list[tuple[int, str]]:
    """Read entries `EPOCH:STRATEGY`, ascending."""
    changes: list[tuple[int, str]] = []
    for entry in schedule:
        epoch, colon, strategy = str(entry).partition(":")
        if not colon or not (epoch.isascii() and epoch.isdigit()) or int(epoch) < 1:
            raise BadNegatives(
                f"entry {entry!r} of the negative schedule: expected EPOCH:STRATEGY with an epoch from 1, such as "
                "5:farthest; correct it"
            )
        if changes and int(epoch) <= changes[-1][0]:
            raise BadNegatives(
                f"entry {entry!r} of the negative schedule follows epoch {changes[-1][0]}: expected ascending epochs; "
                "sort the entries"
            )
        changes.append((int(epoch), _checked(strategy, f"strategy of the negative schedule's entry {entry!r},")))
    return changes


def _read_mixture(mixture: Sequence[float]) -> np.ndarray:
    """Return the three shares with the sum 1."""
    shares = np.array(list(mixture), dtype=np.float64)
    if shares.shape != (3,) or not np.isfinite(shares).all() or (shares < 0).any() or not shares.sum() > 0:
        raise BadNegatives(
            f"negative mixture {list(mixture)}: expected 3 shares from 0, of {', '.join(PARTS)}, not all 0; give for "
            "instance [0.5, 0.25, 0.25]"
        )
    return shares / shares.sum()
