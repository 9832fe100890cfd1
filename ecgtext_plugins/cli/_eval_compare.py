"""`ecgtext eval compare`: runs side by side."""

import argparse
import json
from pathlib import Path

from ecgtext_plugins.cli._run_options import positive

EPILOG = """Each later run is compared with the first on every benchmark and task that all of them have: the
difference of the macro figures with a 95 % interval from the same resamples of the patients. Runs of other records,
classes or labels are refused, naming the first.

examples:
  ecgtext eval compare eval_dbeta eval_ecg_fm
  ecgtext eval compare eval_a eval_b eval_c --out comparison.md
  ecgtext eval compare eval_a eval_b --json
"""


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command compare to those of `ecgtext eval`."""
    compare = commands.add_parser(
        "compare",
        help="several runs side by side, with paired intervals",
        description="Compare runs of `ecgtext eval run` with the first of them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    compare.add_argument("runs", nargs="+", metavar="DIR", type=Path, help="folders given to `ecgtext eval run --out`")
    compare.add_argument("--resamples", type=positive, default=1000, help="of patients (default: %(default)s)")
    compare.add_argument("--out", metavar="FILE", type=Path, help="also write it there: .json, or Markdown as .md")
    compare.add_argument("--json", action="store_true", help="print the comparison as JSON")
    compare.set_defaults(run_eval=run)


def run(args: argparse.Namespace) -> int:
    """Compare, write, print."""
    from ecgtext_plugins.atomic_files import write_json, write_text
    from ecgtext_plugins.errors import BadConfig
    from ecgtext_plugins.evaluation.compare_runs import compare_runs, comparison_text

    if args.out is not None and args.out.suffix not in (".json", ".md"):
        raise BadConfig(f"--out {args.out}: expected a name that ends in .json or .md; name it so")
    comparison = compare_runs(args.runs, args.resamples)
    if args.out is not None and args.out.suffix == ".json":
        write_json(args.out, comparison)
    elif args.out is not None:
        write_text(args.out, comparison_text(comparison, as_markdown=True) + "\n")
    print(json.dumps(comparison, indent=2, sort_keys=True) if args.json else comparison_text(comparison))
    return 0
