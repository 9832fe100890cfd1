"""The last step of a build: from finished shards to the store's tables, manifests and, last, corpus.json."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ecgtext_plugins import atomic_files
from ecgtext_plugins.errors import BadStore
from ecgtext_plugins.store.manifest import write_manifest
from ecgtext_plugins.store.recipe import FORMAT, fingerprint
from ecgtext_plugins.store.shard import ShardPaths
from ecgtext_plugins.store.splits import SPLITS, refuse_leaks
from ecgtext_plugins.store.tables import FAILURES, RECORDS, REPORTS, SHARD_ROWS, write_table


def finalise(folder: Path, recipe: dict[str, Any], label_names: list[str], shards: list[ShardPaths]) -> None:
    """Write records, reports, failures, manifests and corpus.json from the parts of `shards`, in their order.

    Raises
    ------
    BadStore
        When a part cannot be read, a patient is in two splits, or the disk is full.
    """
    try:
        rows = pa.concat_tables([pq.read_table(paths.rows, schema=SHARD_ROWS) for paths in shards]).combine_chunks()
        failures = pa.concat_tables([pq.read_table(paths.failures, schema=FAILURES) for paths in shards])
    except (OSError, pa.ArrowException) as error:
        raise BadStore(
            f"the parts of shards in {folder} cannot be read ({error}): expected those that the build wrote; build "
            "again with --rebuild"
        ) from None
    refuse_leaks(zip(rows["patient_id"].to_pylist(), rows["split"].to_pylist(), strict=True))
    report_ids, reports = number_reports(rows["report"])
    records = rows.set_column(rows.schema.get_field_index("report"), "report_id", report_ids).cast(RECORDS)
    try:
        write_table(folder / "records.parquet", records)
        write_table(folder / "reports.parquet", reports)
        write_table(folder / "failures.parquet", failures)
        _write_manifests(folder, records, recipe)
        corpus = _corpus(recipe, label_names, records, reports, failures)
        atomic_files.write_json(folder / "corpus.json", corpus)
    except OSError as error:
        raise BadStore(
            f"the tables of {folder} cannot be written ({error}): expected room and permission to write there; make "
            "some, then run the same command again"
        ) from None


def number_reports(texts: pa.ChunkedArray) -> tuple[pa.Array, pa.Table]:
    """Number unique reports in order of first appearance; return each record's id (-1 without) and the table."""
    texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    unique = pc.drop_null(pc.unique(texts))
    found = pc.index_in(texts, value_set=unique, skip_nulls=True)
    report_ids = pc.fill_null(found, -1).cast(pa.int64()).combine_chunks()
    numbers = report_ids.to_numpy()
    counts = np.bincount(numbers[numbers >= 0], minlength=len(unique))
    columns = [np.arange(len(unique), dtype=np.int64), unique, counts.astype(np.int64)]
    return report_ids, pa.table(columns, schema=REPORTS)


def _write_manifests(folder: Path, records: pa.Table, recipe: dict[str, Any]) -> None:
    for split in recipe["split"]["fractions"]:
        part = records.filter(pc.equal(records["split"], split))
        write_manifest(
            folder / "manifests" / f"{split}.tsv", part["record_id"].to_pylist(), part["n_samples"].to_pylist()
        )


def _corpus(
    recipe: dict[str, Any], label_names: list[str], records: pa.Table, reports: pa.Table, failures: pa.Table
) -> dict[str, Any]:
    digest = hashlib.sha256()
    for text in reports["text"].to_pylist():
        digest.update(text.encode("utf-8") + b"\n")
    return {
        "format": FORMAT,
        "recipe": recipe,
        "fingerprint": fingerprint(recipe),
        "counts": {"found": len(records) + len(failures), "kept": len(records), "failed": len(failures)},
        "failures": _tally(failures["reason"]),
        "label_names": list(label_names),
        "splits": {split: _tally(records["split"]).get(split, 0) for split in SPLITS},
        "sample_rate": float(recipe["sample_rate"]),
        "reports_fingerprint": digest.hexdigest(),
    }


def _tally(column: pa.ChunkedArray) -> dict[str, int]:
    counted = pc.value_counts(column)
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))
