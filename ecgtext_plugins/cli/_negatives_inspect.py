"""`ecgtext negatives inspect`: what a store's tables of negatives hold."""

import argparse
import json
import textwrap
from pathlib import Path
from typing import Any

from ecgtext_plugins.cli._run_options import positive

EPILOG = """examples:
  ecgtext negatives inspect DATA
  ecgtext negatives inspect DATA --examples 20 --figure negatives.png
  ecgtext negatives inspect DATA --json"""


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command inspect to those of `ecgtext negatives`."""
    inspect = commands.add_parser(
        "inspect",
        help="example negatives, similarities, and how few reports serve",
        description="Show what a store's tables of negatives hold.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    inspect.add_argument("data", metavar="DATA", type=Path, help="the store, with negatives built")
    inspect.add_argument("--json", action="store_true", help="print it as JSON")
    inspect.add_argument(
        "--figure", type=Path, metavar="FILE", help="draw similarities and hubness: .png, .pdf or .svg"
    )
    inspect.add_argument(
        "--examples", type=positive, default=5, metavar="N", help="reports shown (default: %(default)s)"
    )
    inspect.set_defaults(run_negatives=run)


def run(args: argparse.Namespace) -> int:
    """Print what the tables hold, and draw it on demand."""
    import numpy as np

    from ecgtext_plugins.negatives import inspection
    from ecgtext_plugins.negatives.build import train_reports
    from ecgtext_plugins.negatives.table import NegativesTable
    from ecgtext_plugins.store.fairseq_signals.mat_manifest import open_data

    draw = _drawing(args.figure) if args.figure else None
    store = open_data(args.data)
    table = NegativesTable.open(store.folder / "negatives", store)
    vectors = inspection.open_vectors(table)
    n_candidates, kinds = table.meta["n_candidates"], inspection.kinds_of(table)
    similarities = inspection.pair_similarities(table, vectors, train_reports(store))
    found = {
        "meta": table.meta,
        "hubness": {name: inspection.hubness(kind, n_candidates) for name, kind in kinds.items()},
        "similarity": {
            name: dict(zip(("p5", "median", "p95"), np.quantile(values, (0.05, 0.5, 0.95)).tolist(), strict=True))
            for name, values in similarities.items()
        },
        "examples": inspection.examples(table, vectors, store, args.examples),
    }
    if draw:
        counts = {name: inspection.serving_counts(kind) for name, kind in kinds.items()}
        title = f"{table.meta['k']} negatives for each of {table.meta['n_reports']:,} reports ({args.data})"
        draw(similarities, counts, n_candidates, title)
    if args.json:
        figure = str(args.figure) if args.figure else None
        print(json.dumps({**found, "figure": figure}, indent=2, sort_keys=True, ensure_ascii=False))
        return 0
    print("\n".join([*_lines(found), *([f"drawn: {args.figure}"] if args.figure else [])]))
    return 0


def _lines(found: dict[str, Any]) -> list[str]:
    meta = found["meta"]
    lines = [f"{meta['n_reports']:,} reports, {meta['n_candidates']:,} candidates, {meta['k']} negatives for each"]
    for example in found["examples"]:
        lines += ["", f"report {example['report_id']}: {_short(example['text'])}"]
        lines += [
            f"  {name:<9}{negative['similarity']:>7.3f}  {negative['report_id']:>8}: {_short(negative['text'])}"
            for name in found["hubness"]
            for negative in example[name]
        ]
    lines += ["", f"{'similarity':<12}{'5 %':>9}{'median':>9}{'95 %':>9}"]
    lines += [
        f"  {name:<10}{row['p5']:>9.3f}{row['median']:>9.3f}{row['p95']:>9.3f}"
        for name, row in found["similarity"].items()
    ]
    lines += ["", f"{'serving':<12}{'distinct':>10}{'of candidates':>15}{'top 100':>9}{'top 1':>9}{'most rows':>11}"]
    lines += [
        f"  {name:<10}{row['distinct']:>10,}{row['share_of_candidates']:>15.2%}{row['top_100_share']:>9.1%}"
        f"{row['top_1_share']:>9.2%}{row['most_rows']:>11,}"
        for name, row in found["hubness"].items()
    ]
    return lines + [_warning(name, row) for name, row in found["hubness"].items() if row["is_hubby"]]


def _warning(name: str, row: dict[str, Any]) -> str:
    """Return the sentence on a table where few reports serve for most."""
    return (
        f"hubness: in {name}, {row['distinct']:,} reports ({row['share_of_candidates']:.2%} of the candidates) are all "
        f"the negatives there are, and 100 of them take {row['top_100_share']:.0%} of the draws, so a network can tell "
        "them by the text alone; rebuild with `--band 0.5,0.9 --hub-cap N` and train with task.negative_strategy=band"
    )


def _short(text: str) -> str:
    return textwrap.shorten(text, 100, placeholder=" ...")


def _drawing(path: Path):
    """Return a function that draws the page to `path`, before anything long is done."""
    from ecgtext_plugins.errors import BadEnvironment

    try:
        from ecgtext_plugins.plotting.figure_file import check_kind, save_figure
        from ecgtext_plugins.plotting.negatives_page import negatives_page
    except ModuleNotFoundError as error:
        raise BadEnvironment(
            f"drawing needs the package {error.name}, which is not installed: type pip install 'ecgtext-plugins[plots]'"
        ) from error
    check_kind(path)
    return lambda *parts: save_figure(negatives_page(*parts), path)
