"""Calibration: whether of the records that are given a probability p, a share p has the class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecgtext_plugins.evaluation.metrics import check_scores

BINNINGS = ("width", "mass")


@dataclass(frozen=True)
class Reliability:
    """Reliability diagram of one class.

    Attributes
    ----------
    ece : float
        Expected calibration error: mean over records of ``|frequency - confidence|`` of their bin.
    confidence : ndarray, shape (bins,), float64
        Mean probability in each bin; nan where it is empty.
    frequency : ndarray, shape (bins,), float64
        Share of the bin's records that have the class; nan where it is empty.
    count : ndarray, shape (bins,), int64
        Records in each bin.
    """

    ece: float
    confidence: np.ndarray
    frequency: np.ndarray
    count: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """Reliability of several classes.

    Attributes
    ----------
    per_class : dict of str to Reliability
    macro_ece : float
        Mean over all classes: the static calibration error (Nixon et al. 2019, section 3). It is defined without
        positives, too.
    binning : str
        ``width`` or ``mass``.
    """

    per_class: dict[str, Reliability]
    macro_ece: float
    binning: str


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15, binning: str = "width") -> Reliability:
    """Reliability of one class (Naeini et al. 2015; Guo et al. 2017, equation 3, for the probability of the class).

    Parameters
    ----------
    labels : ndarray, shape (n,), bool or 0/1
    probabilities : ndarray, shape (n,), float, 0 to 1
        Not scores of zero-shot similarity, which are no probabilities.
    bins : int
    binning : str
        ``width``: bins (0, 1/bins], (1/bins, 2/bins] ..., 0 in the first. ``mass``: bins that hold as many records as
        each other, but for equal probabilities, which stay together in the bin of the first of them.

    Raises
    ------
    ValueError
        When shapes differ, a probability is not between 0 and 1, or an option is not one of the allowed.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if labels.ndim != 1:
        raise ValueError(f"labels have shape {labels.shape}: expected (n,); use calibration_by_class for several")
    return calibration_by_class(labels[:, None], probabilities[:, None], ["0"], bins, binning).per_class["0"]


def calibration_by_class(
    labels: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
    bins: int = 15,
    binning: str = "width",
    records: Sequence[str] | None = None,
) -> Calibration:
    """Reliability of each class; labels and probabilities (n, K), see `reliability`."""
    if bins < 1:
        raise ValueError(f"bins={bins}: expected at least 1")
    if binning not in BINNINGS:
        raise ValueError(f"binning={binning!r}: expected one of {', '.join(BINNINGS)}")
    labels, probabilities = check_scores(labels, probabilities, names, records, "probability")
    probabilities = probabilities.astype(np.float64)
    odd = np.argwhere((probabilities < 0) | (probabilities > 1))
    if len(odd):
        row, column = odd[0]
        record = f"row {row}" if records is None else f"record {records[row]}"
        raise ValueError(
            f"probability of {record} for class {names[column]} is {probabilities[row, column]}: expected one between "
            "0 and 1; apply the sigmoid to logits"
        )
    place = _equal_width if binning == "width" else _equal_mass
    per_class = {
        name: _reliability(labels[:, k], probabilities[:, k], place(probabilities[:, k], bins), bins)
        for k, name in enumerate(names)
    }
    return Calibration(per_class, float(np.mean([each.ece for each in per_class.values()])), binning)


def _equal_width(probabilities: np.ndarray, bins: int) -> np.ndarray:
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probabilities)


def _equal_mass(probabilities: np.ndarray, bins: int) -> np.ndarray:
    smaller = np.searchsorted(np.sort(probabilities), probabilities)
    return smaller * bins // len(probabilities)


def _reliability(labels: np.ndarray, probabilities: np.ndarray, place: np.ndarray, bins: int) -> Reliability:
    count = np.bincount(place, minlength=bins)
    confidence, frequency = (
        np.divide(total, count, out=np.full(bins, np.nan), where=count > 0)
        for total in (np.bincount(place, values, minlength=bins) for values in (probabilities, labels))
    )
    gap = np.nan_to_num(np.abs(frequency - confidence))
    return Reliability(float((count * gap).sum() / len(labels)), confidence, frequency, count)
