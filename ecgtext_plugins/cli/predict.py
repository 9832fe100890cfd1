"""`ecgtext predict`: probabilities of a classifier's labels for recordings."""

import argparse
import json
import sys
from pathlib import Path

from ecgtext_plugins.cli._record_inputs import INPUT_HELP, add_inputs, array_form, tell_failures, tell_missing
from ecgtext_plugins.cli._run_options import add_device, check_device, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Write the probability of each label of a fine-tuned checkpoint for each record: record_id, n_windows, "
        "missing_leads, and a column a label. Records are cut into windows as the model was trained."
    )
    parser.epilog = f"""{INPUT_HELP}

examples:
  ecgtext predict mimic_iv_ecg_finetuned.pt records/ --labels label_def.csv --out probabilities.csv
  ecgtext predict checkpoints/checkpoint_best.pt DATA/manifests/test.tsv --out test.parquet --device cuda
  ecgtext predict checkpoints/checkpoint_best.pt ecg.npy --fs 250 --leads I,II,V1,V5 --unit uV --out ecg.csv
  ecgtext predict checkpoints/checkpoint_best.pt holter.hea --windows --out by_window.csv

A record that cannot be read is listed in FILE.failures.csv (record, reason); all others are written, and the exit code
is 1."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="fine-tuned checkpoint, ours or ECG-FM's")
    add_inputs(parser)
    parser.add_argument("--out", required=True, metavar="FILE.csv|.parquet", type=Path, help="six digits, or float32")
    parser.add_argument("--labels", metavar="FILE", type=Path, help="names of the outputs: label_def.csv or one a line")
    parser.add_argument(
        "--aggregate",
        choices=("auto", "mean", "max"),
        default="auto",
        help="from windows to a record; auto: the mean, but the highest for five of ECG-FM's 17 labels, as published "
        "(default: %(default)s)",
    )
    parser.add_argument("--windows", action="store_true", help="a row a window with its start, nothing aggregated")
    parser.add_argument("--batch-size", type=positive, default=32, help="windows at once (default: %(default)s)")
    parser.add_argument(
        "--bf16", action=argparse.BooleanOptionalAction, help="compute in bfloat16 (default: on an accelerator only)"
    )
    parser.add_argument(
        "--workers",
        type=_count,
        default=0,
        metavar="N",
        help="processes that read, 1,000 records/s or so each: for an accelerator (default: 0, in this one)",
    )
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Load, predict, write."""
    import ecgtext_plugins
    from ecgtext_plugins.checkpoints.label_names import read_label_names
    from ecgtext_plugins.data.labels import numbered
    from ecgtext_plugins.evaluation.predict import (
        check_ending,
        labels_of,
        predict,
        write_failures,
        write_predictions,
    )
    from ecgtext_plugins.evaluation.record_sources import open_records

    check_ending(args.out)
    device = check_device(args.device)
    named = {} if args.labels is None else {"labels": read_label_names(args.labels)}
    model = ecgtext_plugins.load(args.checkpoint, **named)
    if labels_of(model) == numbered(len(model.labels)):
        print(
            f"ecgtext: the checkpoint does not name its {len(model.labels)} outputs, so they are called label_0, ...: "
            "give their names with --labels (ECG-FM's label_def.csv, which also decides how windows are aggregated)",
            file=sys.stderr,
        )
    sources = open_records(args.inputs, array_form(args))
    bf16 = device.startswith("cuda") if args.bf16 is None else args.bf16
    found = predict(
        model, sources, args.aggregate, args.windows, args.batch_size, device, bf16=bf16, workers=args.workers
    )
    origin = {"checkpoint_sha256": model.checkpoint_sha256, "aggregate": "none" if args.windows else args.aggregate}
    write_predictions(args.out, found, origin)
    failures = write_failures(args.out, found.failures)
    tell_missing(found.keys["record_id"].to_pylist(), found.keys["missing_leads"].to_pylist())
    summary = {
        "out": str(args.out),
        "n_records": len(sources) - len(found.failures),
        "n_windows": found.n_windows,
        "n_failures": len(found.failures),
        "labels": found.labels,
        "bf16": bf16,
    }
    if args.json:
        print(json.dumps(summary | origin, indent=2))
    else:
        print(f"{args.out}: {summary['n_records']} records, {found.n_windows} windows, {len(found.labels)} labels")
    return tell_failures(failures, found.failures, len(sources))


def _count(text: str) -> int:
    return 0 if text == "0" else positive(text)
