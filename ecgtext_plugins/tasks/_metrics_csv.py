"""metrics.csv beside the checkpoints: one row per log interval of training and one per validation."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ecgtext_plugins.atomic_files import write_text

FIRST = ("split", "epoch", "num_updates", "lr", "loss")


class MetricsCsv:
    """Appends rows; after a resume it first drops the rows that the resumed run will write again.

    Parameters
    ----------
    path : Path
    columns : sequence of str
        Names of the values in the order that the file has them after `FIRST`. A value of another name adds a column at
        the end, empty in the rows before.
    """

    def __init__(self, path: Path, columns: Sequence[str] = ()):
        self.path = path
        self.columns = [*FIRST, *(name for name in columns if name not in FIRST)]
        self._started = False

    def _rows(self) -> list[dict]:
        with open(self.path, newline="", encoding="utf-8") as handle:
            return [row for row in csv.DictReader(handle) if (row["num_updates"] or "").isdigit()]

    def _write_anew(self, rows: list[dict]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path, text.getvalue())

    def _start(self, num_updates: int) -> None:
        rows = self._rows() if self.path.exists() and num_updates > 0 else []
        if rows:
            self.columns += [name for name in rows[0] if name and name not in self.columns]
        self._write_anew([row for row in rows if int(row["num_updates"]) <= num_updates])
        self._started = True

    def write(self, split: str, epoch: int, num_updates: int, lr: float | None, values: dict[str, float]) -> None:
        """Append one row."""
        if not self._started:
            self._start(num_updates - 1)
        more = [name for name in values if name not in self.columns]
        if more:
            self.columns += more
            self._write_anew(self._rows())
        row = {"split": split, "epoch": epoch, "num_updates": num_updates, "lr": "" if lr is None else f"{lr:.6g}"}
        row |= {name: f"{value:.6g}" for name, value in values.items()}
        with open(self.path, "a", newline="", encoding="utf-8") as handle:
            csv.DictWriter(handle, self.columns, restval="", lineterminator="\n").writerow(row)
