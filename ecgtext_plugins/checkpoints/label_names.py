"""Names of a classifier's outputs from a file: fairseq-signals' label_def.csv, or one name a line."""

import csv
from pathlib import Path

from ecgtext_plugins.errors import BadCheckpoint

COLUMN = "name"


def read_label_names(path: str | Path) -> list[str]:
    """Read the names in the order of the outputs.

    Parameters
    ----------
    path : path-like
        A ``.csv`` with a column ``name``, else a text of one name a line.

    Raises
    ------
    BadCheckpoint
        When it cannot be read, has no names, or one twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadCheckpoint(f"labels {path} cannot be read ({error}): expected label_def.csv or a text") from error
    if path.suffix == ".csv":
        rows = csv.DictReader(text.splitlines())
        if COLUMN not in (rows.fieldnames or ()):
            raise BadCheckpoint(
                f"labels {path} have the columns {', '.join(rows.fieldnames or ['none'])}: expected one called "
                f"{COLUMN}, as in fairseq-signals' label_def.csv; name it so, or give a text of one name a line"
            )
        names = [(row[COLUMN] or "").strip() for row in rows]
    else:
        names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names or "" in names or len(set(names)) != len(names):
        raise BadCheckpoint(
            f"labels {path} have {len(names)} names, {len(set(names))} of them different: expected one for each output "
            "of the model, none empty; correct the file"
        )
    return names
