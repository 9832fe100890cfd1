"""`ecgtext manifest verify`: whether a store is what its build wrote and still agrees with its raw data."""

import argparse
import json
from collections.abc import Iterator
from typing import Any

EPILOG = """Checked are the SHA-256 of every file, counts, ids, duplicate signals, manifests and their patients, and the
figures that the recipe expects; with --raw also the download's SHA256SUMS.txt and the decoded signals of a sample.

exit codes: 0 nothing wrong (there may be notes); 1 something is wrong, each told in a sentence

examples:
  ecgtext manifest verify DATA
  ecgtext manifest verify DATA --raw /data/mimic-iv-ecg-1.0 --sample 2000
  ecgtext manifest verify DATA --raw RAW --sample 0 --json
"""


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command verify to those of `ecgtext manifest`."""
    verify = commands.add_parser(
        "verify",
        help="check a store's files, counts and splits, and its raw data",
        description="Check that a record store is whole, fits together, and agrees with its raw data.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verify.add_argument("data", metavar="DATA", help="folder of the record store")
    verify.add_argument("--raw", metavar="RAW", help="the raw dataset that it was built from")
    verify.add_argument("--tables", metavar="FOLDER", help="folder of tables, as given to build")
    verify.add_argument(
        "--sample", type=_sample, default=200, metavar="N", help="records to read again; 0: all (default: %(default)s)"
    )
    verify.add_argument("--json", action="store_true", help="print the findings as JSON")
    verify.set_defaults(run_manifest=run)


def _sample(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number, 0 for all")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 with an error among them."""
    from ecgtext_plugins.errors import BadConfig
    from ecgtext_plugins.store.reader import RecordStore

    if args.tables and not args.raw:
        raise BadConfig("--tables is given without --raw: expected both; add --raw")
    store = RecordStore.open(args.data)
    findings = list(_findings(store, args))
    errors = sum(finding.is_error for finding in findings)
    if args.json:
        told = [{"kind": f.kind, "error": f.is_error, "message": f.message} for f in findings]
        print(json.dumps({"folder": str(store.folder), "errors": errors, "findings": told}, indent=2))
    else:
        for finding in findings:
            print(f"{'error' if finding.is_error else 'note '}  {finding.kind:<18}{finding.message}")
        print(f"{store.folder}: {len(store):,} records, {errors} errors, {len(findings) - errors} notes")
    return 1 if errors else 0


def _findings(store: Any, args: argparse.Namespace) -> Iterator[Any]:
    from tqdm import tqdm

    from ecgtext_plugins.corpora.raw_folder import RawFolder
    from ecgtext_plugins.store.verification import verify_download, verify_signals, verify_store

    size = sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file())
    with tqdm(total=size, desc="store", unit="B", unit_scale=True, disable=None) as bar:
        yield from verify_store(store, bar.update)
    if args.raw:
        raw = RawFolder(args.raw)
        with tqdm(desc="download", unit="B", unit_scale=True, disable=None) as bar:
            yield from verify_download(raw, bar.update)
        total = min(args.sample or len(store), len(store))
        with tqdm(total=total, desc="signals", unit=" records", disable=None) as bar:
            yield from verify_signals(store, raw, args.tables, args.sample, bar.update)
