"""`ecgtext negatives build`: the N3S tables of a store."""

import argparse
import json
from pathlib import Path

from ecgtext_plugins.cli._run_options import add_device, check_device, positive

EPILOG = """examples:
  ecgtext negatives build DATA
  ecgtext negatives build DATA --text-encoder /models/flan-t5-small --device cuda
  ecgtext negatives build DATA --band 0.5,0.9 --hub-cap 640
  ecgtext negatives build DATA --text-encoder scratch        # no network: a small encoder from DATA's reports

Beside the tables stay the reports' vectors, 4 bytes a number: 369 MB for 180,000 reports of 512. Another --band, --k or
--hub-cap is built from them; training does not read them."""


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command build to those of `ecgtext negatives`."""
    build = commands.add_parser(
        "build",
        help="embed the store's reports and write DATA/negatives",
        description="Embed the unique reports of a store; write, for each, the least similar ones of the train split.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    build.add_argument("data", metavar="DATA", type=Path, help="the store, as made by `ecgtext manifest build`")
    build.add_argument(
        "--text-encoder",
        default="google/flan-t5-small",
        metavar="NAME|FOLDER|scratch",
        help="encoder that embeds the reports (default: %(default)s); scratch: DATA/text_encoder, made first if it is "
        "not there",
    )
    build.add_argument("--k", type=positive, default=64, help="farthest reports kept for each (default: %(default)s)")
    build.add_argument(
        "--band",
        type=quantiles,
        metavar="LOW,HIGH",
        help="also keep k random reports between these quantiles of similarity, 0 the least similar: e.g. 0.5,0.9",
    )
    build.add_argument(
        "--hub-cap", type=positive, metavar="N", help="let no report be among the farthest of more than N"
    )
    build.add_argument(
        "--approximate",
        choices=("auto", "never", "always"),
        default="auto",
        help="search with an IVF index and measure its recall; auto: beyond 2,000,000 reports (default: %(default)s)",
    )
    build.add_argument("--batch-size", type=positive, default=64, help="reports at once (default: %(default)s)")
    build.add_argument(
        "--bf16",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="embed in bfloat16 (default: on a GPU, not on cpu)",
    )
    build.add_argument("--seed", type=int, default=0, help="of the band and of the cap's order (default: %(default)s)")
    add_device(build)
    build.add_argument("--rebuild", action="store_true", help="build all again even if its inputs are unchanged")
    build.add_argument("--json", action="store_true", help="print the result as JSON")
    scratch = build.add_argument_group("a text encoder from scratch (only used when DATA/text_encoder is made)")
    scratch.add_argument("--vocab-size", type=positive, default=1000, help="tokens at most (default: %(default)s)")
    scratch.add_argument("--scratch-width", type=positive, default=128, help="model width (default: %(default)s)")
    scratch.add_argument("--scratch-layers", type=positive, default=2, help="layers (default: %(default)s)")
    scratch.add_argument("--scratch-heads", type=positive, default=4, help="attention heads (default: %(default)s)")
    scratch.add_argument("--scratch-seed", type=int, default=0, help="of the random weights (default: %(default)s)")
    build.set_defaults(run_negatives=run)


def quantiles(text: str) -> tuple[float, float]:
    """Parse `LOW,HIGH` for argparse."""
    try:
        low, high = (float(word) for word in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not two numbers LOW,HIGH, such as 0.5,0.9") from error
    return low, high


def run(args: argparse.Namespace) -> int:
    """Build the tables and tell what was done."""
    from ecgtext_plugins.negatives.build import NegativesOptions, build_negatives
    from ecgtext_plugins.text.encoders import SCRATCH

    options = NegativesOptions(args.k, args.band, args.hub_cap, args.approximate, args.bf16, args.seed)
    options.check()
    device = check_device(args.device)
    made = args.text_encoder == SCRATCH and _make_scratch(args)
    meta, built = build_negatives(args.data, args.text_encoder, options, args.batch_size, device, args.rebuild)
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
    cap = f", at most {meta['hub_cap']} rows each" if meta["hub_cap"] else ""
    print(
        f"{folder}: {meta['k']} farthest{few} of {meta['n_candidates']} train reports for each of {meta['n_reports']} "
        f"reports; {meta['n_distinct_negatives']} distinct ones occur{cap}"
    )
    if meta["recall"] is not None:
        print(f"approximate search: {meta['recall']:.1%} of the true farthest found, measured on up to 1,000 reports")
    if meta["band"]:
        print(f"band: {meta['k']} more of each report's similarity quantiles {_range(meta['band'])}")
    return 0


def _range(band: dict[str, float]) -> str:
    return f"{band['low']:g} to {band['high']:g}, seed {band['seed']}"


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
