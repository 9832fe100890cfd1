"""The scan of a folder of manifests kept beside them, so that it is done once and not at each start of a training."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ecgtext_plugins.atomic_files import replacing
from ecgtext_plugins.errors import BadManifest
from ecgtext_plugins.store.fairseq_signals.scan import COLUMNS

INDEX = "ecgtext_index.parquet"
_KEY = b"ecgtext_manifests_sha256"


def write_index(folder: Path, digest: str, table: pa.Table) -> Path:
    """Write a scan into the manifests' folder; `digest` stands for the manifests that it belongs to."""
    path = folder / INDEX
    with replacing(path) as temporary:
        pq.write_table(table.replace_schema_metadata({_KEY: digest.encode("ascii")}), temporary, compression="zstd")
    return path


def read_index(folder: Path, digest: str) -> pa.Table | None:
    """Read the scan kept in `folder`; None when there is none.

    Raises
    ------
    BadManifest
        When it is damaged, or the manifests have changed since.
    """
    path = folder / INDEX
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise BadManifest(
            f"{path} cannot be read ({error}): expected what `ecgtext manifest index {folder}` wrote; run that again, "
            "or remove the file"
        ) from None
    if (table.schema.metadata or {}).get(_KEY) != digest.encode("ascii") or table.schema.names != COLUMNS.names:
        raise BadManifest(
            f"{path} belongs to other manifests than {folder} holds now: expected those that it was made from; run "
            f"`ecgtext manifest index {folder}` again, or remove the file"
        )
    return table.replace_schema_metadata(None).combine_chunks()
