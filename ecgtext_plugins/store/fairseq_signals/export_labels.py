"""labels/ of an export: labels.csv, y.npy, label_def.csv and pos_weight.txt, as scripts/preprocess writes them."""

import logging

import numpy as np

from ecgtext_plugins import atomic_files
from ecgtext_plugins.store.fairseq_signals.export_plan import ExportPlan
from ecgtext_plugins.store.fairseq_signals.export_tables import csv_file
from ecgtext_plugins.store.label_definition import ALL, write_label_definition
from ecgtext_plugins.store.splits import SPLITS

logger = logging.getLogger(__name__)
FOLDER = "labels"
ROWS_AT_ONCE = 20_000
DECIMALS = 6


def write_labels(plan: ExportPlan) -> list[str]:
    """Write the labels of all records; return the names of those without a positive in the train split.

    Such a label has the weight (1 - 0) / 0: label_def.csv says inf, as fairseq-signals does, but pos_weight.txt, which
    goes into a loss, says 1.0: inf times no positive would be no number.
    """
    folder, names, store = plan.folder / FOLDER, plan.store.label_names, plan.store
    split = store.column("split")
    positives = {name: np.zeros(len(names), dtype=np.int64) for name in SPLITS}
    with csv_file(folder / "labels.csv") as table, atomic_files.replacing(folder / "y.npy") as temporary:
        table.writerow(["idx", *names])
        values = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float64, shape=(len(store), len(names)))
        for start in range(0, len(store), ROWS_AT_ONCE):
            rows = np.arange(start, min(len(store), start + ROWS_AT_ONCE))
            matrix = store.label_matrix(rows, names)
            values[rows] = matrix
            for name in SPLITS:
                positives[name] += matrix[split[rows] == name].sum(axis=0)
            table.writerows([row, *map(int, labels)] for row, labels in zip(rows.tolist(), matrix, strict=True))
        values.flush()
        del values
    counts = {name: int((split == name).sum()) for name in sorted(SPLITS) if (split == name).any()}
    return _write_definition(plan, counts, {name: positives[name] for name in counts})


def _write_definition(plan: ExportPlan, counts: dict[str, int], positives: dict[str, np.ndarray]) -> list[str]:
    """Write label_def.csv, splits in alphabetical order, and pos_weight.txt, where there is a train split."""
    folder, names = plan.folder / FOLDER, plan.store.label_names
    weights = write_label_definition(
        folder / "label_def.csv",
        names,
        counts | {ALL: sum(counts.values())},
        positives | {ALL: sum(positives.values())},
    )
    if "train" not in weights:
        logger.warning("%s has no train split: no pos_weight.txt is written", plan.store.folder)
        return []
    without = [name for name, weight in zip(names, weights["train"], strict=True) if np.isinf(weight)]
    if without:
        logger.warning("no positive in train for %s: their weight in pos_weight.txt is 1.0", ", ".join(without))
    finite = np.where(np.isinf(weights["train"]), 1.0, weights["train"]).round(DECIMALS)
    atomic_files.write_text(folder / "pos_weight.txt", f"[{','.join(map(str, finite.tolist()))}]")
    return without
