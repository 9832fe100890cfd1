"""label_def.csv: how often each label is positive in each split, as fairseq-signals' label tool writes it."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ecgtext_plugins import atomic_files

ALL = "all"


def write_label_definition(
    path: Path, labels: Sequence[str], records: dict[str, int], positives: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Write a row a label: count and share of positives and weight (1 - p) / p a split, count and share of all.

    Parameters
    ----------
    path : Path
    labels : sequence of str, length K
    records : dict
        Number of records by split, and under `all`.
    positives : dict of ndarray (K,) int
        How many of them are positive, by the same names.

    Returns
    -------
    dict of ndarray (K,) float64
        The weights by split; inf where there is no positive.
    """
    splits = [name for name in records if name != ALL]
    shares = {name: positives[name] / max(1, records[name]) for name in records}
    with np.errstate(divide="ignore"):
        weights = {name: (1 - shares[name]) / shares[name] for name in splits}
    columns = {f"pos_count_{name}": positives[name] for name in splits}
    columns |= {f"pos_percent_{name}": shares[name] for name in splits}
    columns |= {f"pos_weight_{name}": weights[name] for name in splits}
    columns |= {"pos_count_all": positives[ALL], "pos_percent_all": shares[ALL]}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["name", *columns])
    table.writerows([name, *(values[place].item() for values in columns.values())] for place, name in enumerate(labels))
    atomic_files.write_text(path, text.getvalue())
    return weights
