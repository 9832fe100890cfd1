"""`ecgtext demo`: every step of a D-BETA study on the demo corpus, each by the command that a user would type."""

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from ecgtext_plugins.cli._run_options import positive

EPILOG = """examples:
  ecgtext demo                         build, train, evaluate and draw under runs/demo; run again, it skips what is done
  ecgtext demo --controls              also train on shuffled report pairs
  ecgtext demo --out /tmp/demo --max-update 50     a quick look: too short to learn
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Write the demo corpus, build store, manifests and negatives, train a small D-BETA with fairseq-hydra-train, "
        "classify held-out patients zero-shot, and draw figures."
    )
    parser.epilog = EPILOG
    parser.add_argument(
        "--out", default="runs/demo", help="folder of everything that is written (default: %(default)s)"
    )
    parser.add_argument("--records", type=positive, default=4000, help="records of the corpus (default: %(default)s)")
    parser.add_argument("--max-update", type=_updates, help="training updates (default: what demo.yaml says)")
    parser.add_argument("--controls", action="store_true", help="also train on shuffled report pairs, as a control")
    parser.add_argument("--json", action="store_true", help="print the result as JSON as the last line")


def _updates(text: str) -> int:
    if positive(text) < 2:
        raise argparse.ArgumentTypeError("the learning rate's three stages need at least 2 updates")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run the steps."""
    from ecgtext_plugins.recipes import recipes_root

    started, out = time.monotonic(), Path(args.out)
    raw, data = out / "raw", out / "data"
    steps = [
        ["ecgtext", "demo-corpus", str(raw), "--records", str(args.records)],
        ["ecgtext", "manifest", "build", "demo", "--raw", str(raw), "--dest", str(data)],
        ["ecgtext", "negatives", "build", str(data), "--text-encoder", "scratch"],
    ]
    runs = {"trained": []}
    if args.controls:
        runs["shuffled"] = ["task.shuffle_reports=true"]
    for name, overrides in runs.items():
        folder = recipes_root() / "examples" / "dbeta" / "pretraining"
        steps.append(
            [
                "fairseq-hydra-train",
                "--config-dir",
                str(folder),
                "--config-name",
                "demo",
                f"task.data={data / 'manifests'}",
                f"hydra.run.dir={out / name}",
                *overrides,
            ]
            + ([f"optimization.max_update={args.max_update}"] if args.max_update else [])
        )
    for place, command in enumerate(steps, start=1):
        _step(place, len(steps) + 1, command, out)
    print(f"\n[{len(steps) + 1}/{len(steps) + 1}] zero-shot on held-out patients, and figures", flush=True)
    from ecgtext_plugins.cli._demo_report import report

    result = report(out, data, {name: out / name / "checkpoint_last.pt" for name in runs})
    print(f"\nDone in {(time.monotonic() - started) / 60:.1f} minutes.")
    if args.json:
        print(json.dumps(result))
    return 0


def _step(place: int, total: int, command: list[str], out: Path) -> None:
    """Run one command of this environment; its output is shown, training's goes to a file with a progress bar here."""
    from ecgtext_plugins.errors import BadEnvironment

    print(f"\n[{place}/{total}] $ {shlex.join(command)}", flush=True)
    training = command[0] == "fairseq-hydra-train"
    if training:
        from ecgtext_plugins.cli._demo_training import train

        code, log = train(command, out)
    else:
        code, log = subprocess.call([sys.executable, "-m", "ecgtext_plugins.cli.main", *command[1:]]), None
    if code:
        where = f"; its log is {log}" if log else ", as said above"
        raise BadEnvironment(
            f"step {place} of the demo stopped with exit code {code}{where}; the same command continues"
        )
