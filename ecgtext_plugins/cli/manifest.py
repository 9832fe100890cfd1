"""`ecgtext manifest`: build record stores and manifests from raw datasets, and look into them."""

import argparse

from ecgtext_plugins.cli import _manifest_build, _manifest_export, _manifest_inspect, _manifest_verify

EPILOG = """examples:
  ecgtext manifest build mimic_iv_ecg --raw /data/mimic-iv-ecg-1.0 --dest DATA --workers 8
  ecgtext manifest build physionet2021 --raw /data/challenge-2021/training --dest PHYSIONET
  ecgtext manifest inspect DATA --figure page.png
  ecgtext manifest verify DATA --raw /data/mimic-iv-ecg-1.0
  ecgtext manifest export DATA --format fairseq-signals --dest FS
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the nested commands."""
    parser.description = "Build record stores and manifests from raw datasets, and look into them."
    parser.epilog = EPILOG
    commands = parser.add_subparsers(dest="manifest_command", metavar="COMMAND", required=True)
    _manifest_build.add_arguments(commands)
    _manifest_inspect.add_arguments(commands)
    _manifest_verify.add_arguments(commands)
    _manifest_export.add_arguments(commands)


def run(args: argparse.Namespace) -> int:
    """Run the nested command."""
    return args.run_manifest(args)
