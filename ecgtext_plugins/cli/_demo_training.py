"""Training as a step of the demo: fairseq-hydra-train in a process of its own, its log in a file, a bar here."""

import csv
import subprocess
import sys
import time
from pathlib import Path

from tqdm import tqdm

from ecgtext_plugins.checkpoints.resume import LAST, restored_state, updates_of


def max_update_of(command: list[str]) -> int:
    """`optimization.max_update` of a training command, from its overrides or its config."""
    import yaml

    for word in reversed(command):
        if word.startswith("optimization.max_update="):
            return int(word.partition("=")[2])
    folder, name = command[command.index("--config-dir") + 1], command[command.index("--config-name") + 1]
    return int(yaml.safe_load((Path(folder) / f"{name}.yaml").read_text("utf-8"))["optimization"]["max_update"])


def train(command: list[str], out: Path) -> tuple[int, Path]:
    """Run the training command, unless its last checkpoint is complete.

    Returns
    -------
    (exit code, log file)
    """
    folder = Path(next(w for w in command if w.startswith("hydra.run.dir=")).partition("=")[2])
    folder.mkdir(parents=True, exist_ok=True)
    log, total = folder / "train.log", max_update_of(command)
    done = updates_of(restored_state(str(folder), LAST))
    if done >= total:
        print(f"already trained for {done} updates: {folder / 'checkpoint_last.pt'}")
        return 0, log
    program = Path(sys.executable).with_name("fairseq-hydra-train")
    pace = 0.5 if sys.stderr.isatty() else 30.0  # seconds between two states of the bar
    with (
        open(log, "a", encoding="utf-8") as handle,
        tqdm(total=total, initial=done, unit="update", mininterval=pace) as bar,
    ):
        process = subprocess.Popen([str(program), *command[1:]], stdout=handle, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                time.sleep(1.0)
                _show(bar, folder / "metrics.csv")
        except BaseException:
            process.terminate()
            process.wait()
            raise
        _show(bar, folder / "metrics.csv")
    if process.returncode:
        print("".join(open(log, encoding="utf-8").readlines()[-3:]).rstrip(), file=sys.stderr)
    return process.returncode, log


def _show(bar: tqdm, metrics: Path) -> None:
    """Move the bar to the newest row of metrics.csv, with its losses."""
    if not metrics.is_file():
        return
    with open(metrics, newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["split"] == "train" and row["num_updates"]]
    if rows and int(rows[-1]["num_updates"]) > bar.n:
        last = rows[-1]
        shown = {key: last[key] for key in ("loss", "mlm_loss", "mem_loss", "etm_loss", "ets_loss") if last.get(key)}
        bar.set_postfix(shown, refresh=False)
        bar.update(int(last["num_updates"]) - bar.n)
