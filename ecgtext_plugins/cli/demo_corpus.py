"""`ecgtext demo-corpus`: a synthetic corpus in MIMIC-IV-ECG's layout."""

import argparse
import json
import os
from pathlib import Path

from ecgtext_plugins.cli._run_options import positive

EPILOG = """examples:
  ecgtext demo-corpus RAW
  ecgtext demo-corpus RAW --records 500 --seed 1 --workers 2
then: ecgtext manifest build manifests/demo.yaml --raw RAW --dest DATA"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Write synthetic 12-lead ECGs (10 s, 500 Hz) with machine reports in the layout of MIMIC-IV-ECG v1.0, and "
        "their true findings in findings.csv. A few records are broken on purpose. A finished corpus is left alone; an "
        "unfinished one is written again by the same command."
    )
    parser.epilog = EPILOG
    parser.add_argument("dest", metavar="DEST", type=Path, help="folder to write to, empty or new")
    parser.add_argument("--records", type=positive, default=4000, help="how many ECGs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives another corpus (default: %(default)s)")
    parser.add_argument(
        "--workers",
        type=positive,
        default=min(8, os.cpu_count() or 1),
        help="processes; same result (default: the CPUs up to 8, here %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Write the corpus and tell what was done."""
    from ecgtext_plugins.corpora.demo.write import write_demo_corpus

    written = write_demo_corpus(args.dest, args.records, args.seed, args.workers)
    if args.json:
        print(json.dumps({"folder": str(args.dest), "records": args.records, "seed": args.seed, "written": written}))
    elif written:
        print(f"{args.dest}: wrote {args.records} ECGs with reports; their findings are in findings.csv")
    else:
        print(f"{args.dest}: this corpus of {args.records} ECGs is there already: nothing to do")
    return 0
