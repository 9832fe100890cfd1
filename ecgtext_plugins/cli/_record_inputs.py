"""Options of the commands that read recordings as they are, and what these commands say of them at the end."""

import argparse
import sys
from collections import Counter
from pathlib import Path

INPUT_HELP = """INPUT is a manifest (.tsv, ours or fairseq-signals'), a WFDB record (its .hea, or its name without
extension), a .mat file of fairseq-signals or of CPSC 2018, an array (.npy, or .mat with --key) with --fs and --leads,
or a folder of such files. Any rate, any length, leads in any order; leads that are not there are zero."""


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add INPUT and what arrays don't tell themselves."""
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="manifest, WFDB record, .npy, .mat, or folder")
    arrays = parser.add_argument_group("of arrays (.npy and other .mat files)")
    arrays.add_argument("--fs", type=_rate, metavar="HZ", help="sampling rate")
    arrays.add_argument("--leads", type=_leads, metavar="I,II,...", help="names of the rows, in their order")
    arrays.add_argument("--unit", choices=("mV", "uV"), default="mV", help="default: %(default)s")
    arrays.add_argument("--key", metavar="NAME", help="variable of .mat files that holds the array")


def array_form(args: argparse.Namespace):
    """Return the options' ArrayForm."""
    from ecgtext_plugins.evaluation.record_sources import ArrayForm

    return ArrayForm(args.fs, args.leads, args.unit, args.key)


def tell_missing(record_ids: list[str], missing: list[str]) -> None:
    """Say on stderr which leads were taken as zero; once a record, whose windows come in a row."""
    lacking = {record: leads for record, leads in zip(record_ids, missing, strict=True) if leads}
    if lacking:
        leads, count = Counter(lacking.values()).most_common(1)[0]
        print(
            f"ecgtext: {len(lacking)} records lack leads, which are taken as zero: {leads} in {count} of them, such as "
            f"{next(iter(lacking))}; see the column missing_leads",
            file=sys.stderr,
        )


def tell_failures(path: Path, failures: list[tuple[str, str]], total: int) -> int:
    """Say on stderr how many records failed; return the exit code."""
    if not failures:
        return 0
    record, reason = failures[0]
    print(
        f"ecgtext: error: {len(failures)} of {total} records could not be used and are listed in {path}; the first is "
        f"{record}: {reason}",
        file=sys.stderr,
    )
    return 1


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a sampling rate in Hz")
    return rate


def _leads(text: str) -> tuple[str, ...]:
    from ecgtext_plugins.signals.leads import LEADS, canonical_lead

    names = tuple(name.strip() for name in text.split(","))
    known = [canonical_lead(name) for name in names]
    if None in known or len(set(known)) < len(known):
        raise argparse.ArgumentTypeError(f"{text!r} has an unknown lead or one twice: expected of {', '.join(LEADS)}")
    return names
