"""The demo's training with N3S, with negatives by chance, and with the release's lost negatives, side by side.

Each run is the demo's (examples/dbeta/pretraining/demo.yaml) on the demo corpus, which `ecgtext demo` has made. Prints,
for each, ETM's accuracy on validation pairs (with the run's own kind of negatives) and the zero-shot macro AUROC on
held-out patients. One seed each.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOST = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from ecgtext_plugins.data.ecg_text_dataset import EcgTextDataset
from ecgtext_plugins.tasks import ecg_text_pretraining
from tests.data.lost_negatives import LosesNegatives

def chosen(manifest, *arguments):
    kind = LosesNegatives if manifest.path.stem == "train" else EcgTextDataset  # judged on true pairs
    return kind(manifest, *arguments)

ecg_text_pretraining.EcgTextDataset = chosen
"""
RUN = "from fairseq_cli.hydra_train import cli_main\ncli_main()"
KINDS = {"farthest": ("", []), "random": ("", ["task.negative_strategy=random"]), "lost": (LOST, [])}


def main() -> None:
    """Train what is not there yet, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the demo's store, e.g. runs/demo/data")
    parser.add_argument("out", type=Path, help="folder of the runs")
    parser.add_argument("--kinds", default=",".join(KINDS))
    args = parser.parse_args()
    for kind in args.kinds.split(","):
        prelude, keys = KINDS[kind]
        folder = args.out / kind
        recipe = ["--config-dir", str(ROOT / "examples/dbeta/pretraining"), "--config-name", "demo"]
        overrides = [f"task.data={args.data}/manifests", f"hydra.run.dir={folder}", *keys]
        subprocess.run([sys.executable, "-c", prelude + RUN, *recipe, *overrides], check=True)
        scored = [sys.executable, "-m", "ecgtext_plugins.cli.main", "zero-shot", str(folder / "checkpoint_last.pt")]
        done = subprocess.run(
            [*scored, "--benchmark", "demo", "--data", str(args.data), "--json"],
            check=True,
            capture_output=True,
            text=True,
        )
        with open(folder / "metrics.csv", newline="") as handle:
            valid = [row for row in csv.DictReader(handle) if row["split"] == "valid"][-1]
        result = json.loads(done.stdout)
        print(
            f"{kind:10s} ETM accuracy {float(valid['etm_accuracy']):.3f}   macro AUROC {result['macro_auroc']:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
