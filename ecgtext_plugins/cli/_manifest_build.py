"""`ecgtext manifest build`: from a raw dataset to a record store and its manifests."""

import argparse
import json
import os
import sys
from typing import Any

EPILOG = """A stopped build continues with the same command and ends with the same files. No record is dropped
silently: kept + failed = found, and DATA/failures.parquet says why for each.

exit codes: 0 built; 1 an error, or no record was kept; 3 built, but the figures that the recipe expects of a complete
download differ (a table says which; --accept-counts makes that a 0)

examples:
  ecgtext manifest build mimic_iv_ecg --raw /data/mimic-iv-ecg-1.0 --dest DATA
  ecgtext manifest build merl_ptbxl --raw /data/ptb-xl-1.0.3 --tables MERL/finetune/data_split --dest PTBXL
  ecgtext manifest build my_recipe.yaml --raw s3://bucket/ecgs --dest DATA --workers 4 --json
  ecgtext manifest build mimic_iv_ecg --raw RAW --dest DATA --engine dask --scheduler tcp://head:8786
"""


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command build to those of `ecgtext manifest`."""
    build = commands.add_parser(
        "build",
        help="raw dataset -> record store and manifests",
        description="Read a raw dataset, check and resample its ECGs, and write a record store with manifests.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    build.add_argument("recipe", metavar="RECIPE", help="name of a shipped recipe (mimic_iv_ecg, ...) or a .yaml file")
    build.add_argument("--raw", required=True, metavar="RAW", help="the dataset as downloaded: a folder or fsspec URL")
    build.add_argument("--dest", required=True, metavar="DATA", help="folder of the record store to write")
    build.add_argument("--tables", metavar="FOLDER", help="folder of tables that are not part of the download")
    build.add_argument("--workers", type=_workers, metavar="N", help="processes (default: one a CPU core)")
    build.add_argument(
        "--engine", choices=("local", "dask"), default="local", help="who runs the workers (default: %(default)s)"
    )
    build.add_argument("--scheduler", metavar="ADDRESS", help="of a running Dask cluster; without, one starts here")
    build.add_argument("--rebuild", action="store_true", help="remove the store that is in DATA first")
    build.add_argument("--accept-counts", action="store_true", help="end with 0 where expected figures differ")
    build.add_argument("--json", action="store_true", help="print the result as JSON")
    build.set_defaults(run_manifest=run)


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 to 1024")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Build a store; see EPILOG for the exit codes."""
    import logging

    from ecgtext_plugins.errors import BadConfig
    from ecgtext_plugins.store.build import build_store
    from ecgtext_plugins.store.expected import differences, report_lines
    from ecgtext_plugins.store.recipe import load_recipe

    if args.scheduler and args.engine != "dask":
        raise BadConfig("--scheduler is given without --engine dask: expected both; add --engine dask")
    logging.basicConfig(level=logging.WARNING, format="ecgtext: %(levelname)s: %(message)s")
    recipe = load_recipe(args.recipe)
    workers = args.workers or len(os.sched_getaffinity(0))
    with ProgressBar() as bar:
        result = build_store(
            recipe, args.raw, args.dest, workers, args.rebuild, bar.update, args.tables, args.engine, args.scheduler
        )
    corpus = result.store.corpus
    different = differences(corpus, recipe["expected"])
    summary = {**summarise(result.store), "was_finished": result.was_finished, "differences": different}
    if args.json:
        print(json.dumps(summary, indent=2, sort_keys=True, ensure_ascii=False))
    else:
        if result.was_finished:
            print(f"{result.store.folder} is finished already: nothing was done (--rebuild builds it anew)")
        print_summary(summary)
    if not corpus["counts"]["kept"]:
        print("ecgtext: error: no record was kept; failures.parquet says why for each", file=sys.stderr)
        return 1
    if different:
        print("ecgtext: the store is whole, but differs from what the recipe expects:", file=sys.stderr)
        print("\n".join(report_lines(different, corpus["failures"])), file=sys.stderr)
        return 0 if args.accept_counts else 3
    return 0


def summarise(store: Any) -> dict[str, Any]:
    """Return the numbers of a store that are printed after a build."""
    from ecgtext_plugins.store.splits import SPLITS

    corpus = store.corpus
    return {
        "folder": str(store.folder),
        "recipe": corpus["recipe"]["name"],
        "fingerprint": store.fingerprint,
        "sample_rate": store.sample_rate,
        "unique_reports": corpus["unique_reports"],
        "label_names": store.label_names,
        "splits": {split: corpus["splits"][split] for split in SPLITS},
        **{key: corpus[key] for key in ("counts", "label_sets", "failures", "marks", "native_rates")},
    }


def print_summary(summary: dict[str, Any]) -> None:
    """Print the table of counts and where things lie."""
    counts, rate = summary["counts"], summary["sample_rate"]
    print(f"{summary['recipe']}: {counts['kept']:,} of {counts['found']:,} records kept at {rate:g} Hz")
    for split, number in summary["splits"].items():
        print(f"  {split:<32}{number:>10,}")
    for name, splits in summary["label_sets"].items():
        print(f"  {name:<32}" + ", ".join(f"{split} {splits[split]:,}" for split in summary["splits"]))
    print(f"  {'unique reports':<32}{summary['unique_reports']:>10,}")
    _print_tally("records failed", counts["failed"], summary["failures"])
    _print_tally("marks", sum(summary["marks"].values()), summary["marks"])
    print(f"manifests  {summary['folder']}/manifests\nfailures   {summary['folder']}/failures.parquet")


def _print_tally(title: str, total: int, tally: dict[str, int]) -> None:
    if total:
        print(f"{total:,} {title}")
        for name, number in sorted(tally.items(), key=lambda item: (-item[1], item[0])):
            if number:
                print(f"  {name:<32}{number:>10,}")


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
