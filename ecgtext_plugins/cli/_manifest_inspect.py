"""`ecgtext manifest inspect`: what is in a store, in numbers and pictures."""

import argparse
import json
from pathlib import Path
from typing import Any

EPILOG = """--figure draws a page of ECGs on ECG paper (25 mm/s, 10 mm/mV), and beside it FILE_charts: labels by split,
reports, lengths, ages, failures.

examples:
  ecgtext manifest inspect DATA
  ecgtext manifest inspect DATA --figure page.png --records 8
  ecgtext manifest inspect DATA --json
"""


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command inspect to those of `ecgtext manifest`."""
    inspect = commands.add_parser(
        "inspect",
        help="counts, label prevalence, reports, marks and failures of a store",
        description="Show what is in a finished record store.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    inspect.add_argument("data", metavar="DATA", help="folder of the record store")
    inspect.add_argument("--json", action="store_true", help="print it as JSON")
    inspect.add_argument("--figure", type=Path, metavar="FILE", help="draw ECGs and charts: .png, .pdf or .svg")
    inspect.add_argument("--records", type=int, default=6, metavar="N", help="ECGs to draw (default: %(default)s)")
    inspect.set_defaults(run_manifest=run)


def run(args: argparse.Namespace) -> int:
    """Print what is in a store, and draw it on demand."""
    from ecgtext_plugins.store.inspection import describe
    from ecgtext_plugins.store.reader import RecordStore

    store = RecordStore.open(args.data)
    found = describe(store)
    figures = _draw(store, found, args) if args.figure else []
    if args.json:
        print(json.dumps({**found, "figures": figures}, indent=2, sort_keys=True, ensure_ascii=False))
        return 0
    print("\n".join([*_lines(found), *(f"drawn      {path}" for path in figures)]))
    return 0


def _lines(found: dict[str, Any]) -> list[str]:
    """Return the page, a line each."""
    counts, splits = found["counts"], list(found["splits"])
    lines = [
        f"{found['recipe']}: {counts['kept']:,} of {counts['found']:,} records kept at {found['sample_rate']:g} Hz, "
        f"{found['bytes_per_record']:,.0f} bytes each",
        "",
        f"{'':<36}" + "".join(f"{split:>18}" for split in splits),
        f"{'records':<36}" + "".join(f"{found['splits'][split]:>18,}" for split in splits),
        f"{'patients':<36}" + "".join(f"{found['patients']['patients'][split]:>18,}" for split in splits),
        *_label_lines(found["labels"], found["splits"], found["label_sets"]),
        "",
    ]
    figures = {
        "records a patient": found["patients"]["records_a_patient"],
        "seconds": found["seconds"],
        "native rate, Hz": found["native_rates"],
        "age": found["age"],
        "sex": {name or "unknown": number for name, number in found["sex"].items()},
        "marks": {name: number for name, number in found["marks"].items() if number},
        **{f"  {name}": leads for name, leads in found["marked_leads"].items() if leads},
        "copies of a signal": found["duplicate_signals"] if found["duplicate_signals"]["records"] else {},
    }
    lines += [f"{name:<20}{_pairs(values) or 'none'}" for name, values in figures.items()]
    return [*lines, *_report_lines(found["reports"]), *_failure_lines(found["failures"])]


def _pairs(values: dict[str, Any]) -> str:
    return "   ".join(
        f"{name}: {value:,.6g}" if value < 1e6 else f"{name}: {value:,}" for name, value in values.items()
    )


def _label_lines(labels: dict[str, dict[str, int]], splits: dict[str, int], label_sets: dict[str, Any]) -> list[str]:
    """Return a line a label with count and per cent by split; a heading for each label set."""
    lines, above = [], None
    for label, numbers in labels.items():
        label_set, _, name = label.partition("/") if label_sets else ("", "", label)
        if label_set != above:
            lines += ["", f"{label_set or 'labels'}"]
            above = label_set
        cells = "".join(
            f"{number:>10,}{100 * number / max(1, splits[split]):>7.2f}%" for split, number in numbers.items()
        )
        empty = [split for split, number in numbers.items() if not number and splits[split]]
        lines.append(f"  {name[:33]:<34}{cells}" + (f"   none in {', '.join(empty)}" if empty else ""))
    return lines


def _report_lines(reports: dict[str, Any]) -> list[str]:
    if not reports["records"]:
        return ["", "no record has a report"]
    lines = [
        "",
        f"{reports['unique']:,} unique reports of {reports['records']:,} records: "
        f"{reports['share_of_their_own']:.1%} have one of their own, "
        f"{reports['share_of_the_most_common']:.1%} share the most common one",
        f"{'words':<20}{_pairs(reports['words'])}",
    ]
    total = reports["records"]
    return lines + [
        f"{report['count']:>12,}{report['count'] / total:>8.2%}  {report['text'][:96]}"
        for report in reports["most_common"]
    ]


def _failure_lines(failures: dict[str, dict[str, Any]]) -> list[str]:
    if not failures:
        return ["", "no record was rejected"]
    lines = ["", f"{sum(row['records'] for row in failures.values()):,} records rejected"]
    for reason, row in failures.items():
        lines += [f"{row['records']:>12,}  {reason}", f"{'':<14}e.g. {row['example'][:150]}"]
    return lines


def _draw(store: Any, found: dict[str, Any], args: argparse.Namespace) -> list[str]:
    """Write the page of ECGs and the page of charts; return their paths."""
    from ecgtext_plugins.cli.plot import choose_rows, strip_of
    from ecgtext_plugins.errors import BadEnvironment
    from ecgtext_plugins.store.inspection import report_counts

    try:
        from ecgtext_plugins.plotting.corpus_charts import corpus_charts
        from ecgtext_plugins.plotting.ecg_paper import draw_page
        from ecgtext_plugins.plotting.figure_file import check_kind, save_figure
    except ModuleNotFoundError as error:
        raise BadEnvironment(
            f"drawing needs the package {error.name}, which is not installed: type pip install 'ecgtext-plugins[plots]'"
        ) from error
    check_kind(args.figure)
    charts = args.figure.with_name(f"{args.figure.stem}_charts{args.figure.suffix}")
    rows = choose_rows(store, argparse.Namespace(data=args.data, records=None, count=args.records, seed=0))
    save_figure(draw_page([strip_of(store, row) for row in rows]), args.figure)
    sex, age = store.column("sex"), store.column("age")
    ages = {name or "unknown": age[sex == name] for name in sorted(found["sex"])}
    seconds = store.column("n_samples") / store.sample_rate
    save_figure(corpus_charts(found, report_counts(store), seconds, ages), charts)
    return [str(args.figure), str(charts)]
