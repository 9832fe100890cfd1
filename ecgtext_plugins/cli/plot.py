"""`ecgtext plot`: ECGs of a record store on ECG paper."""

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from ecgtext_plugins.cli._run_options import positive

if TYPE_CHECKING:
    from ecgtext_plugins.plotting.ecg_paper import Strip
    from ecgtext_plugins.store.reader import RecordStore

EPILOG = """examples:
  ecgtext plot DATA --out ecgs.png
  ecgtext plot DATA --out ecgs.pdf --count 4 --seed 3 --columns 1
  ecgtext plot DATA --out one.png --records 40689238"""
LARGEST_COUNT = 60  # ECGs on a page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = "Draw ECGs of a record store to scale, 25 mm/s and 10 mm/mV, with their labels and reports."
    parser.epilog = EPILOG
    parser.add_argument("data", metavar="DATA", type=Path, help="the store, as made by `ecgtext manifest build`")
    parser.add_argument("--out", required=True, metavar="FILE", type=Path, help="picture to write: .png, .pdf or .svg")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--records", metavar="ID,ID", help="these records, in this order")
    chosen.add_argument("--count", type=positive, default=6, help="so many records by chance (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws others (default: %(default)s)")
    parser.add_argument("--columns", type=positive, default=2, help="ECGs side by side (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Draw the page and tell where it is."""
    from ecgtext_plugins.errors import BadEnvironment
    from ecgtext_plugins.store.reader import RecordStore

    try:
        from ecgtext_plugins.plotting.ecg_paper import draw_page
        from ecgtext_plugins.plotting.figure_file import check_kind, save_figure
    except ModuleNotFoundError as error:
        raise BadEnvironment(
            f"drawing needs the package {error.name}, which is not installed: type pip install 'ecgtext-plugins[plots]'"
        ) from error
    check_kind(args.out)
    store = RecordStore.open(args.data)
    rows = choose_rows(store, args)
    save_figure(draw_page([strip_of(store, row) for row in rows], args.columns), args.out)
    print(f"{args.out}: {len(rows)} of {len(store)} ECGs of {args.data}")
    return 0


def choose_rows(store: "RecordStore", args: argparse.Namespace) -> list[int]:
    """Return the rows to draw: those of `args.records`, or `args.count` by chance with `args.seed`."""
    import numpy as np

    from ecgtext_plugins.errors import EcgTextError

    if not len(store):
        raise EcgTextError(f"{args.data} holds no record: expected at least one to draw; see its failures.parquet")
    wanted = None if args.records is None else [word.strip() for word in args.records.split(",") if word.strip()]
    count = args.count if wanted is None else len(wanted)
    if not 1 <= count <= LARGEST_COUNT or args.seed < 0:
        raise EcgTextError(
            f"cannot draw {count} records with seed {args.seed}: expected 1 to {LARGEST_COUNT} a page and a seed from "
            "0; change --records, --count or --seed"
        )
    if wanted is not None:
        known = set(store.column("record_id"))
        lacking = [name for name in wanted if name not in known]
        if lacking:
            raise EcgTextError(
                f"{args.data} has no record {', '.join(lacking[:5])}: expected ids as in its manifests, such as "
                f"{store.column('record_id')[0]}; correct --records"
            )
        return store.rows_of(wanted).tolist()
    chosen = np.random.default_rng(args.seed).choice(len(store), size=min(count, len(store)), replace=False)
    return sorted(chosen.tolist())


def strip_of(store: "RecordStore", row: int) -> "Strip":
    """Return the ECG with a title: its name, split, labels and marks, then its report."""
    from ecgtext_plugins.plotting.ecg_paper import Strip

    labels = ", ".join(str(name).replace("_", " ") for name in store.column("labels")[row])
    report = int(store.column("report_id")[row])
    text = store.report_text(report) if report >= 0 else ""
    head = f"{store.column('record_id')[row]}   {store.column('split')[row]}   {labels}{_marks(store, row)}"
    lines = [*textwrap.wrap(head, 150)[:1], *textwrap.wrap(text, 150, max_lines=1, placeholder=" ...")]
    return Strip(store.signal_mv(row), store.sample_rate, "\n".join(lines))


def _marks(store: "RecordStore", row: int) -> str:
    """Name what the build has marked: ``   [clipped V3, V4]``."""
    from ecgtext_plugins.signals.quality import lead_names

    marks = [
        f"{name} {', '.join(lead_names(int(store.column(f'{name}_leads')[row])))}"
        for name in ("missing", "derived", "flat", "clipped")
        if store.column(f"{name}_leads")[row]
    ]
    if store.column("limb_error_mv")[row] > store.corpus["recipe"]["checks"]["limb_error_mv"]:
        marks.append("limb leads contradict each other")
    return f"   [{'; '.join(marks)}]" if marks else ""
