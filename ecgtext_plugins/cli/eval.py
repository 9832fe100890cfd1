"""`ecgtext eval`: benchmarks, and what they need."""

import argparse

from ecgtext_plugins.cli import _eval_ls, _eval_validate

EPILOG = """examples:
  ecgtext eval ls
  ecgtext eval validate ptbxl_super --data PTBXL
  ecgtext eval validate csn_corrected transfer_cpsc2018_csn_corrected --data CSN CPSC2018
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the nested commands."""
    parser.description = "Benchmarks: which there are, and what each of them needs."
    parser.epilog = EPILOG
    commands = parser.add_subparsers(dest="eval_command", metavar="COMMAND", required=True)
    _eval_ls.add_arguments(commands)
    _eval_validate.add_arguments(commands)


def run(args: argparse.Namespace) -> int:
    """Run the nested command."""
    return args.run_eval(args)
