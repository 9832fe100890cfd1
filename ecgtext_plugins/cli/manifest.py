"""`ecgtext manifest`: build record stores and manifests from raw datasets, and look into them."""

import argparse
import json

from ecgtext_plugins.cli import _manifest_build, _manifest_export, _manifest_verify

EPILOG = """examples:
  ecgtext manifest build mimic_iv_ecg --raw /data/mimic-iv-ecg-1.0 --dest DATA --workers 8
  ecgtext manifest build physionet2021 --raw /data/challenge-2021/training --dest PHYSIONET
  ecgtext manifest inspect DATA
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the nested commands build and inspect."""
    parser.description = "Build record stores and manifests from raw datasets, and look into them."
    parser.epilog = EPILOG
    commands = parser.add_subparsers(dest="manifest_command", metavar="COMMAND", required=True)
    raw_form = argparse.RawDescriptionHelpFormatter
    _manifest_build.add_arguments(commands)
    inspect = commands.add_parser(
        "inspect",
        help="counts, label prevalence, common reports and failures of a store",
        description="Show what is in a finished record store.",
        epilog="example:\n  ecgtext manifest inspect DATA --json\n",
        formatter_class=raw_form,
    )
    inspect.add_argument("data", metavar="DATA", help="folder of the record store")
    inspect.add_argument("--json", action="store_true", help="print it as JSON")
    _manifest_verify.add_arguments(commands)
    _manifest_export.add_arguments(commands)


def run(args: argparse.Namespace) -> int:
    """Run the nested command."""
    if hasattr(args, "run_manifest"):
        return args.run_manifest(args)
    return run_inspect(args)


def run_inspect(args: argparse.Namespace) -> int:
    """Print what is in a store."""
    from ecgtext_plugins.cli._manifest_build import print_summary, summarise
    from ecgtext_plugins.store.inspection import common_reports, label_counts
    from ecgtext_plugins.store.reader import RecordStore

    store = RecordStore.open(args.data)
    summary = {**summarise(store), "labels": label_counts(store), "common_reports": common_reports(store, 10)}
    if args.json:
        print(json.dumps(summary, indent=2, sort_keys=True, ensure_ascii=False))
        return 0
    print_summary(summary)
    if summary["labels"]:
        splits = list(summary["splits"])
        print(f"\n{'label':<36}" + "".join(f"{split:>10}" for split in splits))
        for name, counts in summary["labels"].items():
            print(f"{name:<36}" + "".join(f"{counts[split]:>10,}" for split in splits))
    if summary["common_reports"]:
        print("\nmost common reports")
        for report in summary["common_reports"]:
            print(f"{report['count']:>10,}  {report['text'][:100]}")
    return 0
