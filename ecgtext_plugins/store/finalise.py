"""The last step of a build: from finished shards to the store's tables, manifests and, last, corpus.json."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ecgtext_plugins import atomic_files
from ecgtext_plugins.corpora.corpus import Corpus
from ecgtext_plugins.errors import BadStore
from ecgtext_plugins.store.checksums import write_checksums
from ecgtext_plugins.store.listing import write_manifests
from ecgtext_plugins.store.recipe import fingerprint
from ecgtext_plugins.store.recipe_keys import FORMAT
from ecgtext_plugins.store.shard import ShardPaths
from ecgtext_plugins.store.splits import SPLITS, refuse_leaks
from ecgtext_plugins.store.tables import FAILURES, RECORDS, REPORTS, SHARD_ROWS, write_table

# columns of records.parquet in which more than 0 is a mark
MARKS = (
    *("missing_leads", "derived_leads", "flat_leads", "clipped_leads"),
    *("missing_share", "repaired_samples", "padded_samples"),
)


def finalise(folder: Path, recipe: dict[str, Any], corpus: Corpus, shards: list[ShardPaths]) -> None:
    """Write records, reports, failures, manifests, checksums and, last, corpus.json from `shards`, in their order.

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
    refuse_leaks(rows["patient_id"], rows["split"])
    report_ids, reports = number_reports(rows["report"])
    records = rows.set_column(rows.schema.get_field_index("report"), "report_id", report_ids).cast(RECORDS)
    try:
        write_table(folder / "records.parquet", records)
        write_table(folder / "reports.parquet", reports)
        write_table(folder / "failures.parquet", failures)
        label_sets = write_manifests(folder, records, recipe, corpus.published_subsets)
        write_checksums(folder, {f"signals/{paths.signals.name}": paths.digest() for paths in shards})
        summary = _summary(recipe, list(corpus.label_names), records, reports, failures)
        atomic_files.write_json(folder / "corpus.json", {**summary, "label_sets": label_sets})
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


def _summary(
    recipe: dict[str, Any], label_names: list[str], records: pa.Table, reports: pa.Table, failures: pa.Table
) -> dict[str, Any]:
    splits, labels = _tally(records["split"]), _tally(records["labels"].combine_chunks().flatten())
    return {
        "format": FORMAT,
        "recipe": recipe,
        "fingerprint": fingerprint(recipe),
        "counts": {"found": len(records) + len(failures), "kept": len(records), "failed": len(failures)},
        "failures": _tally(failures["reason"]),
        "label_names": label_names,
        "labels": {name: labels.get(name, 0) for name in label_names},
        "marks": marks(records, recipe),
        "native_rates": {f"{rate:g}": number for rate, number in sorted(_tally(records["native_rate"]).items())},
        "splits": {split: splits.get(split, 0) for split in SPLITS},
        "sample_rate": float(recipe["sample_rate"]),
        "unique_reports": len(reports),
        "reports_fingerprint": _fingerprint_of(reports["text"]),
    }


def marks(records: pa.Table, recipe: dict[str, Any]) -> dict[str, int]:
    """Count the records that carry each mark of the checks."""
    above = {name: 0 for name in MARKS} | {"limb_error_mv": recipe["checks"]["limb_error_mv"]}
    counts = {name: pc.sum(pc.greater(records[name], least)).as_py() or 0 for name, least in above.items()}
    return {**counts, "wrong_checksum": pc.sum(pc.invert(records["checksum_ok"])).as_py() or 0}


def _fingerprint_of(texts: pa.ChunkedArray) -> str:
    digest = hashlib.sha256()
    for text in texts.to_pylist():
        digest.update(text.encode("utf-8") + b"\n")
    return digest.hexdigest()


def _tally(column: pa.ChunkedArray | pa.Array) -> dict[Any, int]:
    counted = pc.value_counts(column)
    if isinstance(counted, pa.ChunkedArray):
        counted = counted.combine_chunks()
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))
