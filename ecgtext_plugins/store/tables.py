"""The store's parquet tables: their columns, and writing them so that the same rows give the same bytes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ecgtext_plugins.atomic_files import replacing

ROWS_PER_GROUP = 65_536
_BEFORE_REPORT = [
    ("record_id", pa.string()),
    ("patient_id", pa.string()),
    ("source_path", pa.string()),
    ("sample_rate", pa.float64()),
    ("native_rate", pa.float64()),
    ("n_samples", pa.int64()),
]
_AFTER_REPORT = [
    ("age", pa.float32()),
    ("sex", pa.string()),
    ("recorded_at", pa.string()),
    ("device", pa.string()),
    ("fold", pa.int16()),
    ("labels", pa.list_(pa.string())),
    ("codes", pa.list_(pa.string())),
    ("shard", pa.int32()),
    ("offset", pa.int64()),
    ("step_uv", pa.float64()),
    ("missing_leads", pa.int16()),
    ("derived_leads", pa.int16()),
    ("flat_leads", pa.int16()),
    ("clipped_leads", pa.int16()),
    ("missing_share", pa.float32()),
    ("longest_gap", pa.float32()),
    ("repaired_samples", pa.int32()),
    ("padded_samples", pa.int32()),
    ("limb_error_mv", pa.float32()),
    ("checksum_ok", pa.bool_()),
    ("checksum", pa.string()),
    ("split", pa.string()),
]
SHARD_ROWS = pa.schema([*_BEFORE_REPORT, ("report", pa.string()), *_AFTER_REPORT])  # of one shard, while building
RECORDS = pa.schema([*_BEFORE_REPORT, ("report_id", pa.int64()), *_AFTER_REPORT])
REPORTS = pa.schema([("report_id", pa.int64()), ("text", pa.string()), ("count", pa.int64())])
FAILURES = pa.schema([(name, pa.string()) for name in ("record_id", "patient_id", "source_path", "reason", "message")])


def table_of(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Make a table of `rows` with exactly the columns of `schema`."""
    return pa.Table.from_pylist(list(rows), schema=schema)


def write_table(path: Path, table: pa.Table) -> None:
    """Write `table` to `path` atomically, in fixed row groups and without metadata that changes."""
    with replacing(path) as temporary:
        pq.write_table(
            table.combine_chunks(), temporary, row_group_size=ROWS_PER_GROUP, compression="zstd", store_schema=False
        )
