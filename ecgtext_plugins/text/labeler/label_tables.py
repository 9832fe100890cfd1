"""Labels of many reports: reading them from a store or a file, labelling each text once, and the tables of it."""

import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ecgtext_plugins import atomic_files
from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.store.label_definition import ALL, write_label_definition
from ecgtext_plugins.store.reader import RecordStore
from ecgtext_plugins.text.labeler.report_labels import ReportLabeler

TEXT_COLUMNS = ("text", "report")
ID_COLUMNS = ("record_id", "report_id", "study_id", "id")


@dataclass(frozen=True)
class Reports:
    """Rows to label.

    Attributes
    ----------
    key : str
        What the rows are called by.
    ids : pa.Array, length R
    texts : list of str
        Unique reports.
    rows : ndarray (R,) int64
        The place of each row's report in `texts`; negative where it has none.
    splits : ndarray (R,) of str, or None
    """

    key: str
    ids: pa.Array
    texts: list[str]
    rows: np.ndarray
    splits: np.ndarray | None = None


def read_reports(path: Path) -> Reports:
    """Read reports of a store's folder, of a parquet table, or of a text file with a report a line.

    Raises
    ------
    BadStore
        When the folder is no store.
    BadConfig
        When the file cannot be read, or has no column of reports.
    """
    if path.is_dir():
        store = RecordStore.open(path)
        splits = np.array([split or "" for split in store.column("split")], dtype=object)
        texts, rows = store.report_texts().to_pylist(), store.column("report_id")
        return Reports("record_id", store.text_column("record_id"), texts, rows, splits)
    if path.suffix == ".parquet":
        return _of_table(path)
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadConfig(f"{path} is no text in UTF-8 ({error}): expected a report a line; convert it") from None
    return _unique("row", pa.array(range(len(lines))), lines)


def _of_table(path: Path) -> Reports:
    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise BadConfig(f"{path} is no readable parquet table ({error}): expected one with reports") from None
    text = next((name for name in TEXT_COLUMNS if name in table.column_names), None)
    if text is None or not pa.types.is_string(table.schema.field(text).type):
        raise BadConfig(
            f"{path} has the columns {', '.join(table.column_names)}: expected one of text called "
            f"{' or '.join(TEXT_COLUMNS)}; rename it"
        )
    key = next((name for name in ID_COLUMNS if name in table.column_names), "row")
    ids = pa.array(range(len(table))) if key == "row" else table[key].combine_chunks()
    return _unique(key, ids, table[text].to_pylist())


def _unique(key: str, ids: pa.Array, lines: list[str | None]) -> Reports:
    places: dict[str, int] = {}
    rows = [places.setdefault(line, len(places)) if line and line.strip() else -1 for line in lines]
    return Reports(key, ids, list(places), np.array(rows, dtype=np.int64))


def label_texts(labeler: ReportLabeler, reports: Reports) -> tuple[np.ndarray, Counter[str]]:
    """Label every row.

    Returns
    -------
    certainties : ndarray (R, K) float32
        NaN where a row has no report.
    unmatched : Counter
        Pieces of text that no rule knows, and how many rows have them, each as often as its report.
    """
    weights = np.bincount(reports.rows[reports.rows >= 0], minlength=len(reports.texts))
    values = np.full((len(reports.texts) + 1, len(labeler.labels)), np.nan, dtype=np.float32)
    unmatched: Counter[str] = Counter()
    for place, text in enumerate(tqdm(reports.texts, desc="label reports", unit="report", disable=None)):
        result = labeler(text)
        values[place] = list(result.labels.values())
        for piece in result.unmatched:
            unmatched[" ".join(piece.lower().split())] += int(weights[place])
    return values[np.where(reports.rows < 0, len(reports.texts), reports.rows)], unmatched


def write_certainties(path: Path, reports: Reports, labels: tuple[str, ...], certainties: np.ndarray) -> None:
    """Write the key and a column of certainties a label, float32, null without a report."""
    columns = {name: pa.array(certainties[:, place], from_pandas=True) for place, name in enumerate(labels)}
    with atomic_files.replacing(path) as temporary:
        pq.write_table(pa.table({reports.key: reports.ids} | columns), temporary, compression="zstd")


def write_decisions(
    path: Path, reports: Reports, labels: tuple[str, ...], certainties: np.ndarray, threshold: float
) -> None:
    """Write the key and 1 where a label is at least as certain as `threshold`, else 0; empty without a report."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([reports.key, *labels])
    known = ~np.isnan(certainties).any(axis=1)
    decided = (certainties >= threshold).astype(int)
    for name, row, there in zip(reports.ids.to_pylist(), decided.tolist(), known.tolist(), strict=True):
        table.writerow([name, *(row if there else [""] * len(labels))])
    atomic_files.write_text(path, text.getvalue())


def write_definition(
    path: Path, reports: Reports, labels: tuple[str, ...], certainties: np.ndarray, threshold: float
) -> None:
    """Write label_def.csv as fairseq-signals' label tool does: counts, shares and weights (1-p)/p a split, and of all.

    Rows without a report don't count.
    """
    known = ~np.isnan(certainties).any(axis=1)
    positive = certainties >= threshold
    splits = [] if reports.splits is None else sorted(set(reports.splits[known]) - {""})
    parts = {name: known & (reports.splits == name) for name in splits} | {ALL: known}
    counts = {name: positive[part].sum(axis=0) for name, part in parts.items()}
    write_label_definition(path, labels, {name: int(part.sum()) for name, part in parts.items()}, counts)


def write_unmatched(path: Path, unmatched: Counter[str]) -> None:
    """Write the pieces that no rule knows, the commonest first."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["text", "count"])
    table.writerows(sorted(unmatched.items(), key=lambda item: (-item[1], item[0])))
    atomic_files.write_text(path, text.getvalue())
