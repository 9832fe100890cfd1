"""`ecgtext eval`: benchmarks, what they need, and models measured on them."""

import argparse

from ecgtext_plugins.cli import _eval_compare, _eval_ls, _eval_run, _eval_validate

EPILOG = """examples:
  ecgtext eval ls
  ecgtext eval validate ptbxl_super --data PTBXL
  ecgtext eval validate csn_corrected transfer_cpsc2018_csn_corrected --data CSN CPSC2018
  ecgtext eval run CHECKPOINT --benchmarks ptbxl_super,csn --data PTBXL,CSN --out eval
  ecgtext eval compare eval_a eval_b
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the nested commands."""
    parser.description = "Benchmarks: which there are, what each of them needs, and how good a model is on them."
    parser.epilog = EPILOG
    commands = parser.add_subparsers(dest="eval_command", metavar="COMMAND", required=True)
    _eval_ls.add_arguments(commands)
    _eval_validate.add_arguments(commands)
    _eval_run.add_arguments(commands)
    _eval_compare.add_arguments(commands)


def run(args: argparse.Namespace) -> int:
    """Run the nested command."""
    return args.run_eval(args)
