"""Writing the corpus: records by several processes, tables, and last of all the marker of a finished corpus."""

import csv
import io
import json
import logging
import multiprocessing
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tqdm import tqdm

from ecgtext_plugins.atomic_files import write_json, write_text
from ecgtext_plugins.corpora.demo.plan import Study, plan_studies
from ecgtext_plugins.corpora.demo.record_files import Rows, make_record
from ecgtext_plugins.corpora.demo.reports import MAX_LINES
from ecgtext_plugins.errors import BadRawData

FORMAT = 1  # of what the same arguments give; a change of the signals or reports raises it
MARKER, STARTED = "demo_corpus.json", "demo_corpus.started.json"
RECORD_LIST = ("subject_id", "study_id", "file_name", "ecg_time", "path")
MEASUREMENTS = (
    *("subject_id", "study_id", "cart_id", "ecg_time"),
    *(f"report_{line}" for line in range(MAX_LINES)),
    *("bandwidth", "filtering", "rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end"),
    *("p_axis", "qrs_axis", "t_axis"),
)
FINDINGS_TABLE = ("study_id", "findings")
_CHUNK = 25  # records handed to a process at once

log = logging.getLogger(__name__)


def write_demo_corpus(folder: str | Path, records: int = 4000, seed: int = 0, workers: int = 1) -> bool:
    """Write a corpus of `records` recordings into `folder`; the same arguments give the same bytes.

    Parameters
    ----------
    folder : path
        Empty or absent, or one that this function began or finished with the same `records` and `seed`.
    workers : int
        Processes; of no influence on what is written.

    Returns
    -------
    bool
        False when the corpus was there already.

    Raises
    ------
    BadRawData
        When the folder holds something else, or a corpus of other arguments.
    """
    folder = Path(folder)
    if records < 1 or seed < 0 or workers < 1:
        raise BadRawData(
            f"cannot write a demo corpus of {records} records with seed {seed} and {workers} workers: expected at "
            "least one record, a seed from 0 and at least one worker; correct the arguments"
        )
    asked = {"format": FORMAT, "records": records, "seed": seed}
    if _found(folder, asked):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / STARTED, asked)
    studies = plan_studies(records, seed)
    rows = list(tqdm(_make_all(studies, seed, folder, workers), "demo corpus", records, unit="record", disable=None))
    _write_table(folder / "record_list.csv", RECORD_LIST, [row.listing for row in rows])
    _write_table(folder / "machine_measurements.csv", MEASUREMENTS, [row.measurements for row in rows])
    _write_table(folder / "findings.csv", FINDINGS_TABLE, [row.findings for row in rows])
    write_json(folder / MARKER, asked)
    (folder / STARTED).unlink()
    log.info("wrote a demo corpus of %d records into %s", records, folder)
    return True


def _found(folder: Path, asked: dict[str, int]) -> bool:
    """Tell whether the finished corpus is there; raise unless it is, or the folder is free or an unfinished one's."""
    marker = next((folder / name for name in (MARKER, STARTED) if (folder / name).is_file()), None)
    if marker is None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BadRawData(
                f"{folder} holds something that is no demo corpus: expected an empty or new folder; give another one"
            )
        return False
    try:
        found = json.loads(marker.read_text("utf-8"))
    except ValueError:
        found = None
    if found != asked:
        raise BadRawData(
            f"{marker} says the demo corpus there was made with {json.dumps(found)}: expected {json.dumps(asked)}; "
            "give another folder, or remove this one"
        )
    return marker.name == MARKER


def _make_all(studies: list[Study], seed: int, folder: Path, workers: int) -> Iterator[Rows]:
    """Make all records and yield their rows in order."""
    make = partial(make_record, seed=seed, folder=folder)
    if workers == 1:
        yield from map(make, studies)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(make, studies, chunksize=_CHUNK)


def _write_table(path: Path, header: tuple[str, ...], rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())
