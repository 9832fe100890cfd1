"""Small record stores to export."""

from pathlib import Path

import numpy as np

from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.reader import RecordStore
from ecgtext_plugins.store.recipe import resolve_recipe
from tests import builders

V6_MISSING, V1_CONSTANT, SHORT, NO_REPORT = 2, 3, 4, 5  # rows of what is special


def small_store(folder: Path, rate: float = 500, n_samples: int = 6200, n_records: int = 12) -> RecordStore:
    """Build a store of records with 2 windows of 5 s, two records a patient; one lacks V6, one has V1 constant, ..."""
    rows = builders.write_mimic_tree(folder / "raw", n_records, n_samples=n_samples, seed=11)
    rng = np.random.default_rng(5)
    for number, row in enumerate(rows):
        counts = builders.ecg_counts(rng, n_samples if number != SHORT else int(3 * rate), rate)
        if number == V1_CONSTANT:
            counts[6] = 20
        leads = builders.MIMIC_LEADS[:-1] if number == V6_MISSING else builders.MIMIC_LEADS
        path = folder / "raw" / row["path"]
        builders.write_record(path.parent, path.name, counts, leads=leads, rate=rate)
        row["counts"] = counts
    rows[NO_REPORT]["report"] = []
    builders.write_tables(folder / "raw", rows)
    recipe = builders.demo_recipe(
        sample_rate=rate,
        seconds=None,
        max_missing_leads=1,
        reports={"required": False},
        split={"by": "patient", "seed": 3, "fractions": {"train": 0.5, "valid": 0.25, "test": 0.25}},
    )
    return build_store(resolve_recipe(recipe, "test"), folder / "raw", folder / "data").store
