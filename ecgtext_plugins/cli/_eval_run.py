"""`ecgtext eval run`: measure a checkpoint on benchmarks."""

import argparse
import functools
import json
from pathlib import Path

from ecgtext_plugins.cli._run_options import add_device, check_device, positive

EPILOG = """Everything is checked before anything is computed: recipe, label set and classes of the store, splits by
patient and as the build wrote them, and whether the checkpoint was trained on a record that is tested (from
training_records.txt, which training writes beside its checkpoints).

OUT gets results.json (every figure, and what is needed to repeat it), results.md (tables with the papers' figures
beside ours), report.html (to look at), NAME/scores.npz (records, labels, scores), and embeddings/: the same command
continues a stopped run and embeds nothing twice. Another command is refused there, unless --overwrite.

Tasks: zero_shot, by prompts, with a table over the prompt sets; probe, linear heads on frozen embeddings for parts of
the train split, with a random encoder and handcrafted features beside it; classifier, the probabilities of a fine-tuned
model's own heads as `ecgtext predict` gives them; retrieval of reports by ECGs and back. What a model or a store has no
part for is told and left out. Benchmarks of identification have a task of their own.

A classifier's labels are found by name: a class as its benchmark or store calls it, or of the Challenge's classes by
SNOMED CT code, in any order and among others. By default it is left out where a class has no label, and told; asked for
by --tasks, that is an error. F1 and the Challenge metric are given at the thresholds with the highest F1 on validation
and above a probability of 0.5.

A transfer's probe learns on its source's train split and is tested on the target's records: give the stores of both to
--data. A patient or signal that is in both is refused.

With --leads, each benchmark is measured with each set of leads, the others zero as in training: 12, 6 (limb leads), 3
(I, II, V2), 2 (I, II) and 1 (I); without, with those that its recipe names. With --weights-file, benchmarks of the
Challenge 2021 have its metric too, of decisions at the thresholds that have the highest F1 on validation, and of a
classifier at 0.5; the file is that of https://github.com/physionetchallenges/evaluation-2021. With --readers, those
whom CODE-test asked stand beside the curves: they answered yes or no, so each has a sensitivity and a specificity and
no area.

examples:
  ecgtext eval run checkpoints/checkpoint_best.pt --benchmarks demo --data DATA --out eval
  ecgtext eval run CHECKPOINT --benchmarks ptbxl_super,ptbxl_rhythm,cpsc2018 --data PTBXL,CPSC2018 --out eval
  ecgtext eval run CHECKPOINT --benchmarks csn --data CSN --out names --tasks zero_shot --prompts names
  ecgtext eval run CHECKPOINT --benchmarks csn --data CSN --out control --untrained-seed 1
  ecgtext eval run CHECKPOINT --benchmarks physionet2021_id --data ID --out leads --leads 12,6,3,2,1
  ecgtext eval run CHECKPOINT --benchmarks physionet2021_dx --data DX --out dx --weights-file weights.csv
  ecgtext eval run FINE_TUNED --benchmarks physionet2021_dx --data DX --out tuned --tasks classifier --leads 12
  ecgtext eval run CHECKPOINT --benchmarks transfer_cpsc2018_csn_corrected --data CPSC2018,CSN --out transfer
  ecgtext eval run CHECKPOINT --benchmarks code_test --data CODE_TEST --out readers --readers RAW/data/annotations
"""

TEMPLATES = "frames around prompts: plain, report, ecg, ensemble, or FILE.json, a list of texts with {}"


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command run to those of `ecgtext eval`."""
    parser = commands.add_parser(
        "run",
        help="zero-shot, probes and retrieval of a checkpoint, with intervals, tables and a report",
        description="Measure a checkpoint on benchmarks.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="checkpoint of any model here, or released")
    parser.add_argument("--benchmarks", required=True, metavar="A,B,...", help="names or files; see `ecgtext eval ls`")
    parser.add_argument("--data", required=True, nargs="+", metavar="DATA", help="record stores, also joined by commas")
    parser.add_argument("--out", required=True, metavar="OUT", type=Path, help="folder for the results")
    parser.add_argument("--tasks", metavar="A,B,...", help="of zero_shot,probe,classifier (default), retrieval")
    parser.add_argument("--labels", metavar="FILE", type=Path, help="names of a classifier's outputs, as of predict")
    parser.add_argument("--prompts", metavar="names|expert|FILE.json", help="default: what each benchmark says")
    parser.add_argument("--templates", metavar="NAME", help=TEMPLATES)
    _add_probe(parser)
    parser.add_argument("--leads", metavar="A,B,...", help="some of 12,6,3,2,1 (default: each benchmark's, mostly 12)")
    parser.add_argument("--weights-file", metavar="FILE", help="the Challenge's weights.csv, for its metric")
    parser.add_argument("--readers", metavar="FOLDER", help="annotations/ of CODE-test's download, for its readers")
    parser.add_argument(
        "--maps", default="tsne", metavar="A,B", help="of embeddings in the report: tsne, umap (%(default)s)"
    )
    parser.add_argument("--resamples", type=positive, default=1000, help="of patients, for intervals (%(default)s)")
    parser.add_argument("--cache", metavar="FOLDER", type=Path, help="of embeddings (default: OUT/embeddings)")
    parser.add_argument("--overwrite", action="store_true", help="replace another command's results in OUT")
    parser.add_argument(
        "--allow-leaks", action="store_true", help="flag tested records that were learnt from; no refusal"
    )
    parser.add_argument(
        "--untrained-seed", type=int, metavar="S", help="control: the same architecture with random weights of seed S"
    )
    parser.add_argument("--text-encoder", metavar="NAME", help="of a released checkpoint: where its tokenizer is")
    parser.add_argument("--batch-size", type=positive, default=64, help="ECGs at once (default: %(default)s)")
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print results.json instead of a table")
    parser.set_defaults(run_eval=run)


def _add_probe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=positive, default=5, help="of the probe (default: %(default)s)")
    parser.add_argument("--ratios", default="1,10,100", metavar="A,B,...", help="per cent of train (%(default)s)")
    parser.add_argument("--probes", default="linear", metavar="A,B", help="linear, logistic (default: %(default)s)")
    parser.add_argument(
        "--baselines",
        default="random_encoder,handcrafted",
        metavar="A,B",
        help="beside the probe, or none (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Load, measure, write, print."""
    import ecgtext_plugins
    from ecgtext_plugins.checkpoints.label_names import read_label_names
    from ecgtext_plugins.checkpoints.locate import locate_checkpoint
    from ecgtext_plugins.evaluation.baselines import random_encoder
    from ecgtext_plugins.evaluation.output_folder import make_folder
    from ecgtext_plugins.evaluation.probe_task import ProbeOptions
    from ecgtext_plugins.evaluation.run_evaluation import EvaluationOptions, requested, run_evaluation
    from ecgtext_plugins.evaluation.tables import terminal_table
    from ecgtext_plugins.plotting.embedding_map import check_methods
    from ecgtext_plugins.plotting.report_html import write_report

    check_methods(_words(args.maps))
    probe = ProbeOptions(
        seeds=args.seeds,
        baselines=() if args.baselines == "none" else _words(args.baselines),
        ratios=_numbers(args.ratios),
        probes=_words(args.probes),
    )
    options = EvaluationOptions(
        tasks=None if args.tasks is None else _words(args.tasks),
        prompts=args.prompts,
        templates=args.templates,
        probe=probe,
        resamples=args.resamples,
        batch_size=args.batch_size,
        device=check_device(args.device),
        untrained_seed=args.untrained_seed,
        allow_leaks=args.allow_leaks,
        leads=None if args.leads is None else _words(args.leads),
        weights_file=args.weights_file,
        readers=args.readers,
    )
    make_folder(args.out)
    requested(_words(args.benchmarks), options)
    more = {} if args.text_encoder is None else {"text_encoder": args.text_encoder}
    more |= {} if args.labels is None else {"labels": read_label_names(args.labels)}
    model = ecgtext_plugins.load(args.checkpoint, untrained_seed=args.untrained_seed, **more)

    results = run_evaluation(
        model,
        args.checkpoint,
        _words(args.benchmarks),
        [folder for given in args.data for folder in _folders(given)],
        args.out,
        options,
        functools.partial(random_encoder, locate_checkpoint(args.checkpoint)),
        args.cache,
        args.overwrite,
    )
    report = write_report(args.out, maps=_words(args.maps))
    print(json.dumps(results, indent=2, sort_keys=True) if args.json else terminal_table(results))
    if not args.json:
        print(f"written: {args.out / 'results.json'}, {args.out / 'results.md'}, {report}")
    return 0


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _folders(text: str) -> tuple[str, ...]:
    """Return the folders of an argument: one whose name has a comma is taken as it is."""
    return (text,) if Path(text).exists() else _words(text)


def _numbers(text: str) -> tuple[float, ...]:
    from ecgtext_plugins.errors import BadConfig

    try:
        return tuple(float(word) for word in _words(text))
    except ValueError:
        raise BadConfig(f"--ratios {text}: expected percentages joined by commas, as 1,10,100; correct it") from None
