"""What the report shows, whatever files it was read from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ecgtext_plugins.evaluation.calibration import Reliability
from ecgtext_plugins.evaluation.thresholds import OperatingPoint

Interval = tuple[float, float] | None
METRICS = {  # as a person calls them
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1",
    "accuracy": "Accuracy",
    "challenge_metric": "Challenge metric",
}


@dataclass(frozen=True)
class Figures:
    """One metric of a run; what is not defined is None.

    Attributes
    ----------
    macro : float or None
    interval : (float, float) or None
    values, intervals, thresholds : dict by class
        `thresholds` of F1 alone.
    """

    macro: float | None
    interval: Interval
    values: dict[str, float | None] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    thresholds: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """A row of the summary.

    Attributes
    ----------
    benchmark, source, protocol : str
        E.g. ``ptbxl_super``, ``this run``, ``zero-shot``.
    values : dict of str to (float or None, (float, float) or None)
        By metric: macro mean and interval.
    undefined : (int, int) or None
        Classes without AUROC, of how many.
    section : str
        Id of the section that tells more; empty when there is none.
    published : bool
        Whether it is from a paper.
    """

    benchmark: str
    source: str
    protocol: str
    values: dict[str, tuple[float | None, Interval]]
    n: int | None = None
    n_patients: int | None = None
    undefined: tuple[int, int] | None = None
    section: str = ""
    published: bool = False


@dataclass(frozen=True)
class Listing:
    """A table beside a run's figures: `rows` of a name and numbers, (low, high) pairs or texts."""

    caption: str
    headers: list[str]
    rows: list[list[Any]]


def anchor(benchmark: str, protocol: str) -> str:
    """Return the id of a run's section."""
    return "run-" + "".join(letter if letter.isalnum() else "-" for letter in f"{benchmark}-{protocol}".lower())


@dataclass(frozen=True)
class Run:
    """One protocol on one benchmark.

    Attributes
    ----------
    benchmark, protocol : str
        E.g. ``ptbxl_super`` and ``zero-shot``.
    figures : dict of str to Figures
        By metric: keys of METRICS.
    record_ids, starts, patients : ndarray (n,)
    labels : ndarray (n, K) bool
    scores : ndarray (n, K)
    embeddings : ndarray (n, D) or None
    store : Path or None
        For ECGs and reports.
    ece : dict of str to float
        Expected calibration error by class; empty where scores are no probabilities.
    reliability : Reliability or None
        Of all (record, class) pairs.
    readers : mapping of str to mapping of str to OperatingPoint
        Human readers by name, by class.
    provenance : sequence of (str, any)
    """

    benchmark: str
    protocol: str
    names: list[str]
    figures: dict[str, Figures]
    undefined: list[str]
    positives: dict[str, int]
    n: int
    n_patients: int
    record_ids: np.ndarray
    starts: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    embeddings: np.ndarray | None = None
    store: Path | None = None
    store_fingerprint: str = ""
    description: str = ""
    listings: list[Listing] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ece: dict[str, float] = field(default_factory=dict)
    reliability: Reliability | None = None
    readers: Mapping[str, Mapping[str, OperatingPoint]] = field(default_factory=dict)
    provenance: Sequence[tuple[str, Any]] = ()

    @property
    def title(self) -> str:
        """Name of the run's section."""
        return f"{self.benchmark}, {self.protocol}"

    @property
    def anchor(self) -> str:
        """Id of the run's section."""
        return anchor(self.benchmark, self.protocol)


@dataclass(frozen=True)
class Evaluation:
    """All runs of a folder; a summary, with figures of papers; and where everything came from."""

    title: str
    subtitle: str
    lines: list[Line]
    runs: list[Run]
    provenance: list[tuple[str, Any]]
