"""`ecgtext convert`: checkpoints between ecgtext, fairseq-signals and D-BETA's release."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

FORMS = ("ecgtext", "fairseq-signals", "dbeta")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Convert a checkpoint (of training here, fairseq-signals and ECG-FM, D-BETA's release, stock fairseq's 12-lead "
        "wav2vec2, or a folder of ours), every key checked, the result whole or not at all; or tell what one holds. "
        "Nothing in a file is executed."
    )
    parser.epilog = """examples:
  ecgtext convert --inspect mimic_iv_ecg_finetuned.pt
  ecgtext convert mimic_iv_ecg_finetuned.pt --to ecgtext --labels label_def.csv --out ecg_fm_mimic
  ecgtext convert checkpoints/checkpoint_best.pt --to fairseq-signals --out for_fairseq_signals.pt
  ecgtext convert checkpoints/checkpoint_best.pt --to dbeta --out release/sample.pt    # and release/config.json
  python3 -c "import ecgtext_plugins; print(ecgtext_plugins.load('ecg_fm_mimic').labels)\""""
    parser.add_argument("checkpoint", metavar="FILE", nargs="?", type=Path, help=".pt file, or folder of one")
    parser.add_argument("--inspect", metavar="FILE", type=Path, help="tell family, sizes, labels and training config")
    parser.add_argument("--to", choices=FORMS, help="form to write: a folder for ecgtext, else a .pt file")
    parser.add_argument("--out", metavar="PATH", type=Path, help="folder or file to write")
    parser.add_argument(
        "--labels", metavar="FILE", type=Path, help="names of the outputs: label_def.csv, or one name a line"
    )
    parser.add_argument("--config", metavar="FILE.json", type=Path, help="of a D-BETA release: its config.json")
    parser.add_argument(
        "--allow-type",
        metavar="module.Name",
        action="append",
        default=[],
        help="a type in the file that you trust, as its refusal names it; may be given several times",
    )
    parser.add_argument("--force", action="store_true", help="replace an older result of the same form at --out")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Inspect, or read, check and write."""
    if (args.inspect is None) == (args.checkpoint is None):
        args.usage_error("give FILE with --to and --out, or --inspect FILE")
    if args.inspect is None and (args.to is None or args.out is None):
        args.usage_error("FILE needs --to and --out")
    from ecgtext_plugins.checkpoints.label_names import read_label_names
    from ecgtext_plugins.checkpoints.safe_load import types_by_name
    from ecgtext_plugins.checkpoints.weights import MisfitCheckpoint

    options = {
        "config": args.config,
        "labels": None if args.labels is None else read_label_names(args.labels),
        "allow_types": types_by_name(args.allow_type),
    }
    if args.inspect is not None:
        return _inspect(args, options)
    from ecgtext_plugins.checkpoints.convert import convert_checkpoint

    try:
        result = convert_checkpoint(args.checkpoint, args.to, args.out, force=args.force, **options)
    except MisfitCheckpoint as error:
        print(error.comparison.table(), file=sys.stderr)
        raise
    print(json.dumps(result, indent=2) if args.json else format_result(result))
    return 0


def _inspect(args: argparse.Namespace, options: dict[str, Any]) -> int:
    from ecgtext_plugins.checkpoints.inspection import inspect_checkpoint

    found = inspect_checkpoint(args.inspect, **options)
    print(json.dumps(found, indent=2, default=str) if args.json else format_inspection(found))
    return 0


def format_result(result: dict[str, Any]) -> str:
    """Lay out a result of ``convert_checkpoint`` for a person."""
    lines = [
        f"{result['out']}: {result['family']} as {result['to']}, {result['tensors']} tensors, "
        f"{result['parameters']:,} parameters, from {result['source']['path']} ({result['source']['layout']})"
    ]
    by_reason: dict[str, list[str]] = {}
    for key, why in result["left"].items():
        by_reason.setdefault(why, []).append(key)
    for why, keys in by_reason.items():
        shown = ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
        lines.append(f"left out ({why}): {len(keys)} tensors: {shown}")
    return "\n".join([*lines, *(f"note: {note}" for note in result["notes"])])


def format_inspection(found: dict[str, Any]) -> str:
    """Lay out a result of ``inspect_checkpoint`` for a person."""
    rows = [(key, found[key]) for key in ("path", "layout", "family", "problem", "tensors")]
    rows += [("parameters", f"{found['parameters']:,}"), ("types", found["dtypes"]), *found["sizes"].items()]
    rows += [(key, found[key]) for key in ("labels", "sample_rate", "n_samples", "standardize", "updates", "sha256")]
    rows += [("note", note) for note in found["notes"]]
    lines = [f"{key:31}{_text(value)}" for key, value in rows if value is not None]
    for group, values in found["training"].items():
        if isinstance(values, dict):
            told = ", ".join(f"{key}={_text(value)}" for key, value in values.items() if value is not None)
            lines.append(f"training {group:22}{told}")
    return "\n".join(lines)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
