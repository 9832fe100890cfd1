"""`ecgtext negatives build`: the N3S table of a store."""

import argparse
import json
from pathlib import Path

from ecgtext_plugins.cli._run_options import add_device, check_device, positive

EPILOG = """examples:
  ecgtext negatives build DATA --text-encoder google/flan-t5-small
  ecgtext negatives build DATA --text-encoder /models/flan-t5-small --device cuda
  ecgtext negatives build DATA --text-encoder scratch        # no network: a small encoder from DATA's reports"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = "Negatives for ECG-text matching: for every unique report those farthest from it (N3S)."
    parser.epilog = EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = actions.add_parser(
        "build",
        help="embed the store's reports and write DATA/negatives",
        description="Embed the unique reports of a store; write, for each, the least similar ones of the train split.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    build.add_argument("data", metavar="DATA", type=Path, help="the store, as made by `ecgtext manifest build`")
    build.add_argument(
        "--text-encoder",
        required=True,
        metavar="NAME|FOLDER|scratch",
        help="T5 that embeds the reports; scratch: DATA/text_encoder, made first if it is not there",
    )
    build.add_argument("--k", type=positive, default=64, help="farthest reports kept for each (default: %(default)s)")
    build.add_argument("--batch-size", type=positive, default=64, help="reports at once (default: %(default)s)")
    add_device(build)
    build.add_argument("--rebuild", action="store_true", help="build the table again even if its inputs are unchanged")
    build.add_argument("--json", action="store_true", help="print the result as JSON")
    scratch = build.add_argument_group("a text encoder from scratch (only used when DATA/text_encoder is made)")
    scratch.add_argument("--vocab-size", type=positive, default=1000, help="tokens at most (default: %(default)s)")
    scratch.add_argument("--scratch-width", type=positive, default=128, help="model width (default: %(default)s)")
    scratch.add_argument("--scratch-layers", type=positive, default=2, help="layers (default: %(default)s)")
    scratch.add_argument("--scratch-heads", type=positive, default=4, help="attention heads (default: %(default)s)")
    scratch.add_argument("--scratch-seed", type=int, default=0, help="of the random weights (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Build the table and tell what was done."""
    from ecgtext_plugins.negatives.build import build_negatives
    from ecgtext_plugins.text.encoders import SCRATCH

    device = check_device(args.device)
    made = args.text_encoder == SCRATCH and _make_scratch(args)
    meta, built = build_negatives(args.data, args.text_encoder, args.k, args.batch_size, device, rebuild=args.rebuild)
    folder = args.data / "negatives"
    if args.json:
        result = {"folder": str(folder), "built": built, "text_encoder_made": made, "meta": meta}
        print(json.dumps(result, indent=2, sort_keys=True))
        return 0
    if made:
        print(f"made {args.data / 'text_encoder'} from the train split's reports, with random weights")
    if not built:
        print(f"{folder} is built from the same inputs already: nothing to do (--rebuild builds it again)")
    few = f" (asked: {meta['k_asked']})" if meta["k"] != meta["k_asked"] else ""
    print(
        f"{folder}: {meta['k']} farthest{few} of {meta['n_candidates']} train reports for each of {meta['n_reports']} "
        f"reports; {meta['n_distinct_negatives']} distinct ones occur"
    )
    return 0


def _make_scratch(args: argparse.Namespace) -> bool:
    """Make DATA/text_encoder unless it is there."""
    from ecgtext_plugins.negatives.build import train_reports
    from ecgtext_plugins.store.fairseq_signals.mat_manifest import open_data
    from ecgtext_plugins.text.encoders import SCRATCH_FOLDER
    from ecgtext_plugins.text.scratch import build_scratch_text_encoder

    folder = args.data / SCRATCH_FOLDER
    if (folder / "config.json").is_file():
        return False
    store = open_data(args.data)
    build_scratch_text_encoder(
        [store.report_text(int(report)) for report in train_reports(store)],
        folder,
        vocab_size=args.vocab_size,
        d_model=args.scratch_width,
        num_layers=args.scratch_layers,
        num_heads=args.scratch_heads,
        d_ff=2 * args.scratch_width,
        seed=args.scratch_seed,
    )
    return True
