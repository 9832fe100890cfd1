"""`ecgtext zero-shot`: classify by text prompts, without training on labels."""

import argparse
import json
from pathlib import Path
from typing import Any

from ecgtext_plugins.cli._run_options import add_device, check_device, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = "Score each class by the similarity of ECG and prompt embeddings; area under the ROC curve."
    parser.epilog = """examples:
  ecgtext zero-shot checkpoints/checkpoint_best.pt --benchmark demo --data DATA
  ecgtext zero-shot checkpoints/checkpoint_best.pt --benchmark physionet2021_scored --data DATA --split all --json
  ecgtext zero-shot checkpoints/checkpoint_best.pt --benchmark demo --data DATA --prompts my_prompts.json
  ecgtext zero-shot checkpoints/checkpoint_best.pt --benchmark ptbxl_super --data DATA --prompts expert
  ecgtext zero-shot checkpoints/checkpoint_best.pt --benchmark demo --data DATA --untrained-seed 1   # the control

PROMPTS.json: {"sinus_rhythm": "normal sinus rhythm", ...}, a text or a list of texts for each class of the benchmark"""
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", type=Path, help="training checkpoint; nothing else is needed"
    )
    parser.add_argument("--benchmark", required=True, metavar="NAME|FILE.yaml", help="one of manifests/benchmarks")
    parser.add_argument("--data", required=True, metavar="DATA", type=Path, help="store of the benchmark's corpus")
    parser.add_argument(
        "--prompts", metavar="SET|FILE.json", help="shipped set, names or expert, or your own texts for the classes"
    )
    parser.add_argument("--templates", metavar="NAME|FILE", help="plain, report, ecg, ensemble, or FILE.json")
    parser.add_argument("--split", help="test, all, or several as train,valid (default: what the benchmark says)")
    parser.add_argument(
        "--untrained-seed", type=int, metavar="S", help="control: the same architecture with random weights of seed S"
    )
    parser.add_argument("--batch-size", type=positive, default=64, help="records at once (default: %(default)s)")
    add_device(parser)
    parser.add_argument("--out", metavar="FILE.json", type=Path, help="also write the result there")
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Load, score, print."""
    import ecgtext_plugins
    from ecgtext_plugins.atomic_files import write_json
    from ecgtext_plugins.evaluation.benchmark import load_benchmark, with_prompts, with_templates
    from ecgtext_plugins.evaluation.run_benchmark import run_zero_shot

    benchmark = load_benchmark(args.benchmark)
    if args.prompts is not None:
        benchmark = with_prompts(benchmark, args.prompts)
    if args.templates is not None:
        benchmark = with_templates(benchmark, args.templates)
    device = check_device(args.device)
    model = ecgtext_plugins.load(args.checkpoint, untrained_seed=args.untrained_seed)
    result = run_zero_shot(model, benchmark, args.data, args.split, args.batch_size, device)
    result |= {"checkpoint": str(args.checkpoint), "untrained_seed": args.untrained_seed}
    if args.out is not None:
        write_json(args.out, result)
    print(json.dumps(result, indent=2, sort_keys=True) if args.json else format_table(result))
    return 0


def format_table(result: dict[str, Any]) -> str:
    """Lay out a result of ``run_zero_shot`` for a person."""
    width = max(len(name) for name in [*result["auroc"], "class", "macro"])
    who = "" if result["untrained_seed"] is None else f", untrained weights of seed {result['untrained_seed']}"
    lines = [
        f"{result['benchmark']['name']} version {result['benchmark']['version']}, split {result['split']}, "
        f"{result['n']} records{who}",
        f"{'class':{width}}  positives   AUROC",
    ]
    for name, value in result["auroc"].items():
        lines.append(f"{name:{width}}  {result['positives'][name]:9d}  {_number(value)}")
    defined = len(result["auroc"]) - len(result["undefined"])
    lines.append(f"{'macro':{width}}  {'':9}  {_number(result['macro_auroc'])}  over {defined} classes")
    if result["undefined"]:
        lines.append(f"undefined, as all records or none are positive: {', '.join(result['undefined'])}")
    return "\n".join([*lines, *result["notes"]])


def _number(value: float | None) -> str:
    return "     -" if value is None else f"{value:6.4f}"
