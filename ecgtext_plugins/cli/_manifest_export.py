"""`ecgtext manifest export` and `index`: data for fairseq-signals, and fairseq-signals' own."""

import argparse
import json
import os
import sys

from ecgtext_plugins.cli._run_options import positive

FORMATS = ("fairseq-signals",)
EXPORT_EPILOG = """A record of 10 s at 500 Hz takes about 1.44 MB in all three stages, in double precision as
fairseq-signals writes it; --stages segmented takes a third of that. The need is compared with the free disk before
anything is written. A stopped export continues with the same command. fairseq-signals itself needs --absolute-root: it
takes a relative folder in line 1 of a manifest from the folder where it is started.

examples:
  ecgtext manifest export DATA --format fairseq-signals --dest FS --absolute-root --labels
  ecgtext manifest export DATA --format fairseq-signals --dest FS --stages org --kinds text
  ecgtext manifest export DATA --format fairseq-signals --dest FS --kinds plain,cmsc,identification --json
"""
INDEX_EPILOG = """Training on a folder of fairseq-signals' manifests reads every .mat file once before the first batch;
this command does that ahead, tells the first file that is missing, damaged or of another length, and keeps the result
in FOLDER/ecgtext_index.parquet.

example:
  ecgtext manifest index /data/manifests/text --workers 8
"""


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the commands export and index to those of `ecgtext manifest`."""
    raw_form = argparse.RawDescriptionHelpFormatter
    export = commands.add_parser(
        "export",
        help="record store -> another program's files (fairseq-signals)",
        description="Write a record store as .mat files, tables, labels and manifests of fairseq-signals.",
        epilog=EXPORT_EPILOG,
        formatter_class=raw_form,
    )
    export.add_argument("data", metavar="DATA", help="folder of the record store")
    export.add_argument("--format", required=True, choices=FORMATS, help="whose form: %(choices)s")
    export.add_argument("--dest", required=True, metavar="DIR", help="folder to write")
    export.add_argument(
        "--stages",
        type=_words,
        default=("org", "preprocessed", "segmented"),
        metavar="STAGE,STAGE",
        help="org (millivolt), preprocessed (resampled, standardised), segmented (windows of that); default: all",
    )
    export.add_argument("--segment-seconds", type=float, default=5.0, metavar="S", help="(default: %(default)g)")
    export.add_argument(
        "--sample-rate",
        type=float,
        default=500.0,
        metavar="HZ",
        help="of preprocessed and segmented; org keeps the store's (default: %(default)g)",
    )
    export.add_argument(
        "--kinds",
        type=_words,
        default=("plain", "cmsc"),
        metavar="KIND,KIND",
        help="manifests: plain, cmsc, identification, text (default: plain,cmsc)",
    )
    export.add_argument("--labels", action="store_true", help="write labels/ too: labels.csv, y.npy, label_def.csv")
    export.add_argument("--absolute-root", action="store_true", help="absolute folders in manifests and tables")
    export.add_argument("--tab-header", action="store_true", help="line 1 of plain manifests as manifests.py writes it")
    export.add_argument("--workers", type=positive, metavar="N", help="processes (default: one a CPU core)")
    export.add_argument("--json", action="store_true", help="print the result as JSON")
    export.set_defaults(run_manifest=run_export)
    index = commands.add_parser(
        "index",
        help="read all .mat files of fairseq-signals' manifests once and keep what they say",
        description="Check the .mat files of a folder of fairseq-signals' manifests; keep what they say beside them.",
        epilog=INDEX_EPILOG,
        formatter_class=raw_form,
    )
    index.add_argument("folder", metavar="FOLDER", help="folder of the manifests {train,valid,test}.tsv")
    index.add_argument("--workers", type=positive, metavar="N", help="processes (default: one a CPU core)")
    index.add_argument("--json", action="store_true", help="print the result as JSON")
    index.set_defaults(run_manifest=run_index)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _workers(args: argparse.Namespace) -> int:
    return args.workers or len(os.sched_getaffinity(0))


def run_export(args: argparse.Namespace) -> int:
    """Export a store and tell what was written."""
    import logging

    from ecgtext_plugins.store.fairseq_signals.export import disk_need, export_store
    from ecgtext_plugins.store.fairseq_signals.export_plan import ExportOptions
    from ecgtext_plugins.store.reader import RecordStore

    logging.basicConfig(level=logging.WARNING, format="ecgtext: %(levelname)s: %(message)s")
    store = RecordStore.open(args.data)
    options = ExportOptions(
        stages=args.stages,
        kinds=args.kinds,
        sample_rate=args.sample_rate,
        segment_seconds=args.segment_seconds,
        labels=args.labels,
        absolute_root=args.absolute_root,
        tab_header=args.tab_header,
    )
    need = disk_need(store, args.dest, options)
    if not args.json:
        print(f"{len(store):,} records, about {need / 1e9:.3g} GB of .mat files", file=sys.stderr)
    with RecordsBar() as bar:
        result = export_store(store, args.dest, options, _workers(args), bar.update)
    if args.json:
        summary = {**result.summary, "folder": str(args.dest), "was_finished": result.was_finished}
        print(json.dumps(summary, indent=2, sort_keys=True, ensure_ascii=False))
        return 0
    if result.was_finished:
        print(f"{args.dest} is finished already: nothing was done")
    _print_summary(args.dest, result.summary)
    return 0


def _print_summary(folder: str, summary: dict) -> None:
    stages = ", ".join(summary["options"]["stages"])
    print(f"{summary['store']['recipe']}: {summary['records']:,} records in {folder} ({stages})")
    if summary["windows"]:
        print(f"  {'windows':<32}{summary['windows']:>10,}")
    for name in ("records_without_window", "records_with_missing_samples"):
        if summary[name]:
            print(f"  {name.replace('_', ' '):<32}{summary[name]:>10,}")
    for kind, lengths in summary["manifests"].items():
        for split, length in lengths.items():
            print(f"  {f'manifests/{kind}/{split}.tsv':<32}{length:>10,}")
    if summary["labels"]:
        print(f"  {'labels':<32}{len(summary['labels']):>10,}")


def run_index(args: argparse.Namespace) -> int:
    """Read all files of a folder of manifests and keep what they say."""
    from ecgtext_plugins.store.fairseq_signals.mat_manifest import open_folder
    from ecgtext_plugins.store.fairseq_signals.scan_index import INDEX

    store = open_folder(args.folder)
    store.scan(_workers(args), keep=True)
    counts = store.corpus["splits"]
    summary = {
        "index": str(store.folder / INDEX),
        "files": len(store),
        "splits": counts,
        "sample_rate": store.sample_rate,
        "unit": store.unit,
        "unique_reports": store.n_reports,
        "label_names": store.label_names,
    }
    if args.json:
        print(json.dumps(summary, indent=2, sort_keys=True, ensure_ascii=False))
        return 0
    print(f"{summary['files']:,} files at {store.sample_rate:g} Hz, {store.unit}, {store.n_reports:,} unique reports")
    for name, count in counts.items():
        print(f"  {name:<24}{count:>10,}")
    print(f"index  {summary['index']}")
    return 0


class RecordsBar:
    """A bar of records, opened at the first update."""

    def __init__(self):
        self.bar = None

    def update(self, total: int, done: int) -> None:
        """Show `done` of `total`."""
        from tqdm import tqdm

        if self.bar is None:
            self.bar = tqdm(total=total, initial=done, unit=" records", disable=None)
        self.bar.update(done - self.bar.n)

    def __enter__(self) -> "RecordsBar":
        return self

    def __exit__(self, *details) -> None:
        if self.bar is not None:
            self.bar.close()
