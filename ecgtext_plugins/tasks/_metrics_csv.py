"""metrics.csv beside the checkpoints: one row per log interval of training and one per validation."""

import csv
import io
from pathlib import Path

from ecgtext_plugins.atomic_files import write_text

COLUMNS = (
    "split",
    "epoch",
    "num_updates",
    "lr",
    "loss",
    "mlm_loss",
    "mem_loss",
    "etm_loss",
    "ets_loss",
    "mlm_accuracy",
    "etm_accuracy",
    "retrieval_accuracy",
    "text_retrieval_accuracy",
    "ecg_cosine",
    "text_cosine",
    "gnorm",
)


class MetricsCsv:
    """Appends rows; after a resume it first drops the rows that the resumed run will write again.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path):
        self.path = path
        self._started = False

    def _start(self, num_updates: int) -> None:
        rows = []
        if self.path.exists() and num_updates > 0:
            with open(self.path, newline="", encoding="utf-8") as handle:
                rows = [r for r in csv.DictReader(handle) if (r["num_updates"] or "").isdigit()]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for row in rows if int(row["num_updates"]) <= num_updates)
        write_text(self.path, text.getvalue())
        self._started = True

    def write(self, split: str, epoch: int, num_updates: int, lr: float | None, values: dict[str, float]) -> None:
        """Append one row."""
        if not self._started:
            self._start(num_updates - 1)
        row = {"split": split, "epoch": epoch, "num_updates": num_updates, "lr": "" if lr is None else f"{lr:.6g}"}
        row |= {name: f"{value:.6g}" for name, value in values.items()}
        with open(self.path, "a", newline="", encoding="utf-8") as handle:
            csv.DictWriter(handle, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n").writerow(row)
