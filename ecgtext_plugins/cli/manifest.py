"""`ecgtext manifest`: build record stores and manifests from raw datasets, and look into them."""

import argparse
import json
import os
import sys
from typing import Any

EPILOG = """examples:
  ecgtext manifest build mimic_iv_ecg --raw /data/mimic-iv-ecg-1.0 --dest DATA --workers 8
  ecgtext manifest build physionet2021 --raw /data/challenge-2021/training --dest PHYSIONET
  ecgtext manifest inspect DATA
"""
BUILD_EPILOG = """A stopped build continues with the same command and ends with the same files. No record is dropped
silently: kept + failed = found, and DATA/failures.parquet says why for each.

examples:
  ecgtext manifest build mimic_iv_ecg --raw /data/mimic-iv-ecg-1.0 --dest DATA
  ecgtext manifest build my_recipe.yaml --raw RAW --dest DATA --workers 4 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the nested commands build and inspect."""
    parser.description = "Build record stores and manifests from raw datasets, and look into them."
    parser.epilog = EPILOG
    commands = parser.add_subparsers(dest="manifest_command", metavar="COMMAND", required=True)
    raw_form = argparse.RawDescriptionHelpFormatter
    build = commands.add_parser(
        "build",
        help="raw dataset -> record store and manifests",
        description="Read a raw dataset, resample and check its ECGs, and write a record store with manifests.",
        epilog=BUILD_EPILOG,
        formatter_class=raw_form,
    )
    build.add_argument("recipe", metavar="RECIPE", help="name of a shipped recipe (mimic_iv_ecg, ...) or a .yaml file")
    build.add_argument("--raw", required=True, metavar="RAW", help="folder of the raw dataset")
    build.add_argument("--dest", required=True, metavar="DATA", help="folder of the record store to write")
    build.add_argument("--workers", type=_workers, metavar="N", help="processes (default: one a CPU core)")
    build.add_argument("--rebuild", action="store_true", help="remove the store that is in DATA first")
    build.add_argument("--json", action="store_true", help="print the result as JSON")
    inspect = commands.add_parser(
        "inspect",
        help="counts, label prevalence, common reports and failures of a store",
        description="Show what is in a finished record store.",
        epilog="example:\n  ecgtext manifest inspect DATA --json\n",
        formatter_class=raw_form,
    )
    inspect.add_argument("data", metavar="DATA", help="folder of the record store")
    inspect.add_argument("--json", action="store_true", help="print it as JSON")


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 to 1024")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run the nested command."""
    return run_build(args) if args.manifest_command == "build" else run_inspect(args)


def run_build(args: argparse.Namespace) -> int:
    """Build a store; exit code 1 when not a single record was kept."""
    import logging

    from ecgtext_plugins.store.build import build_store
    from ecgtext_plugins.store.recipe import load_recipe

    logging.basicConfig(level=logging.WARNING, format="ecgtext: %(levelname)s: %(message)s")
    recipe = load_recipe(args.recipe)
    workers = args.workers or len(os.sched_getaffinity(0))
    with ProgressBar() as bar:
        result = build_store(recipe, args.raw, args.dest, workers, args.rebuild, bar.update)
    summary = {**summarise(result.store), "was_finished": result.was_finished}
    if args.json:
        print(json.dumps(summary, indent=2, sort_keys=True, ensure_ascii=False))
    else:
        if result.was_finished:
            print(f"{result.store.folder} is finished already: nothing was done (--rebuild builds it anew)")
        print_summary(summary)
    if not summary["counts"]["kept"]:
        print("ecgtext: error: no record was kept; failures.parquet says why for each", file=sys.stderr)
        return 1
    return 0


def run_inspect(args: argparse.Namespace) -> int:
    """Print what is in a store."""
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


def summarise(store) -> dict[str, Any]:
    """Return the numbers of a store that both commands show."""
    from ecgtext_plugins.store.splits import SPLITS

    corpus = store.corpus
    return {
        "folder": str(store.folder),
        "recipe": corpus["recipe"]["name"],
        "fingerprint": store.fingerprint,
        "sample_rate": store.sample_rate,
        "counts": corpus["counts"],
        "splits": {split: corpus["splits"][split] for split in SPLITS},
        "failures": corpus["failures"],
        "unique_reports": store.n_reports,
        "label_names": store.label_names,
    }


def print_summary(summary: dict[str, Any]) -> None:
    """Print the table of counts and where things lie."""
    counts, rate = summary["counts"], summary["sample_rate"]
    print(f"{summary['recipe']}: {counts['kept']:,} of {counts['found']:,} records kept at {rate:g} Hz")
    for split, number in summary["splits"].items():
        print(f"  {split:<24}{number:>10,}")
    print(f"  {'unique reports':<24}{summary['unique_reports']:>10,}")
    if counts["failed"]:
        print(f"{counts['failed']:,} records failed")
        for reason, number in sorted(summary["failures"].items(), key=lambda item: (-item[1], item[0])):
            print(f"  {reason:<24}{number:>10,}")
    print(f"manifests  {summary['folder']}/manifests\nfailures   {summary['folder']}/failures.parquet")


class ProgressBar:
    """A bar of records with their rate and the failures so far; opened at the first update."""

    def __init__(self):
        self.bar = None

    def update(self, found: int, kept: int, failed: int) -> None:
        """Show `kept` + `failed` of `found`."""
        from tqdm import tqdm

        if self.bar is None:
            self.bar = tqdm(total=found, initial=kept + failed, unit=" records", disable=None)
        self.bar.update(kept + failed - self.bar.n)
        self.bar.set_postfix(failed=failed)

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *details) -> None:
        if self.bar is not None:
            self.bar.close()
