"""`ecgtext negatives`: build and inspect the N3S tables of a store."""

import argparse

from ecgtext_plugins.cli import _negatives_build, _negatives_inspect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the commands."""
    parser.description = "Negatives for ECG-text matching: for every unique report those farthest from it (N3S)."
    parser.epilog = _negatives_build.EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _negatives_build.add_arguments(actions)
    _negatives_inspect.add_arguments(actions)


def run(args: argparse.Namespace) -> int:
    """Run the chosen one."""
    return args.run_negatives(args)
