"""`ecgtext label-reports`: labels from report text by rules."""

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = """Label reports by rules: ECG-FM's 17 labels of MIMIC-IV-ECG, each with a certainty from 0
(denied or not said) over 0.5 (possible) to 1 (stated). Besides FILE.parquet with the certainties, FILE.csv has 0 and 1
at the threshold, and label_def.csv in the same folder the counts, a split where the reports come from a store."""
    parser.epilog = """examples:
  ecgtext label-reports DATA --out DATA/labels/labels.parquet --unmatched unmatched.csv
  ecgtext label-reports reports.txt --out labels.parquet --json
  ecgtext label-reports --explain "Sinus rhythm; possible inferior infarct - age undetermined\""""
    parser.add_argument(
        "reports",
        metavar="REPORTS",
        nargs="?",
        type=Path,
        help="a store's folder, a parquet table with the column text or report, or a text file with a report a line",
    )
    parser.add_argument("--out", metavar="FILE.parquet", type=Path, help="written whole or not at all")
    parser.add_argument(
        "--threshold", type=_share, default=0.5, help="1 from this certainty on, for FILE.csv (default: %(default)s)"
    )
    parser.add_argument("--unmatched", metavar="FILE.csv", type=Path, help="text that no rule knows, with its counts")
    parser.add_argument("--rules", metavar="FOLDER", type=Path, help="rules of your own instead of those shipped")
    parser.add_argument("--explain", metavar="TEXT", help="show what is found in TEXT, and why, and write nothing")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to 1")
    return value


def run(args: argparse.Namespace) -> int:
    """Read, label, write."""
    from ecgtext_plugins.errors import BadConfig
    from ecgtext_plugins.text.labeler.report_labels import ReportLabeler
    from ecgtext_plugins.text.labeler.rules import SHIPPED

    if args.explain is None and (args.reports is None or args.out is None):
        raise BadConfig("nothing to label: expected REPORTS and --out FILE.parquet, or --explain TEXT; give these")
    if args.out is not None and args.out.suffix != ".parquet":
        raise BadConfig(f"--out {args.out}: expected a name that ends in .parquet; its .csv is written beside it")
    labeler = ReportLabeler(args.rules or SHIPPED)
    return _explain(labeler, args) if args.explain is not None else _label(labeler, args)


def _label(labeler, args: argparse.Namespace) -> int:
    from ecgtext_plugins.text.labeler import label_tables as tables

    reports = tables.read_reports(args.reports)
    certainties, unmatched = tables.label_texts(labeler, reports)
    decisions, definition = args.out.with_suffix(".csv"), args.out.with_name("label_def.csv")
    tables.write_certainties(args.out, reports, labeler.labels, certainties)
    tables.write_decisions(decisions, reports, labeler.labels, certainties, args.threshold)
    tables.write_definition(definition, reports, labeler.labels, certainties, args.threshold)
    if args.unmatched:
        tables.write_unmatched(args.unmatched, unmatched)
    positives = (certainties >= args.threshold).sum(axis=0).tolist()
    result = {
        "out": str(args.out),
        "n": len(certainties),
        "unique_reports": len(reports.texts),
        "without_report": int((reports.rows < 0).sum()),
        "unmatched_pieces": len(unmatched),
        "positives": dict(zip(labeler.labels, positives, strict=True)),
    }
    if args.json:
        print(json.dumps(result, indent=2))
        return 0
    print(
        f"{args.out}: {result['n']} rows, {result['unique_reports']} unique reports, {result['without_report']} "
        f"without report; {result['unmatched_pieces']} pieces of text that no rule knows"
        + (f" in {args.unmatched}" if args.unmatched else "")
    )
    for name, count in result["positives"].items():
        print(f"  {count:>9,}  {name}")
    return 0


def _explain(labeler, args: argparse.Namespace) -> int:
    from dataclasses import asdict

    result = labeler(args.explain)
    if args.json:
        print(json.dumps(asdict(result), indent=2, ensure_ascii=False))
        return 0
    for mention in result.mentions:
        reason = f"  by {mention.rule}" if mention.rule else ""
        print(f"{mention.certainty:4.2f}  {mention.entity}  {mention.text!r} {mention.start}-{mention.end}{reason}")
    for piece in result.unmatched:
        print(f"   ?  no rule knows {piece!r}")
    print("labels: " + (", ".join(f"{name} {value:g}" for name, value in result.labels.items() if value) or "none"))
    return 0
