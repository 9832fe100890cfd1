"""Entry point of `ecgtext`: finds the subcommand, imports only that one, turns our errors into one sentence."""

import argparse
import importlib
import os
import sys

COMMANDS = {
    "demo-corpus": ("demo_corpus", "write a synthetic corpus in MIMIC-IV-ECG's layout"),
    "manifest": ("manifest", "build record stores and manifests from raw datasets"),
    "negatives": ("negatives", "build the N3S table of farthest reports"),
    "embed": ("embed", "write ECG embeddings of manifests, WFDB records and arrays to parquet"),
    "predict": ("predict", "probabilities of a checkpoint's labels for manifests, WFDB records and arrays"),
    "zero-shot": ("zero_shot", "score classes from text prompts and report AUROC"),
    "convert": ("convert", "convert checkpoints between ecgtext, fairseq-signals and D-BETA's release"),
    "eval": ("eval", "benchmarks: list, check, run, compare"),
    "label-reports": ("label_reports", "label reports by rules: ECG-FM's 17 labels with certainty"),
    "plot": ("plot", "draw ECGs of a store on ECG paper"),
    "saliency": ("saliency", "draw where a checkpoint looks: attention or input gradients on ECG paper"),
    "demo": ("demo", "run everything on the demo corpus: build, train, evaluate, draw"),
    "doctor": ("doctor", "check the environment and say what to type"),
}


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """Make the parser; only the module of the `chosen` subcommand is imported."""
    import ecgtext_plugins

    parser = argparse.ArgumentParser(
        prog="ecgtext",
        description="Learning from 12-lead ECGs and their text reports.",
        epilog="Training: fairseq-hydra-train --config-dir examples/dbeta/pretraining --config-name base "
        "task.data=DATA/manifests. Help on a command: ecgtext COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"ecgtext-plugins {ecgtext_plugins.__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter, add_help=True
        )
        if name == chosen:
            importlib.import_module(f"ecgtext_plugins.cli.{module}").add_arguments(subparser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run `ecgtext`; exit codes: 0 done, 1 an error told in one sentence, 2 wrong usage, 130 interrupted."""
    from ecgtext_plugins.errors import EcgTextError

    argv = sys.argv[1:] if argv is None else argv
    chosen = next((word for word in argv if not word.startswith("-")), None)
    args = build_parser(chosen).parse_args(argv)
    module = importlib.import_module(f"ecgtext_plugins.cli.{COMMANDS[args.command][0]}")
    try:
        return module.run(args)
    except EcgTextError as error:
        print(f"ecgtext: error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has gone: not an error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        what = f"{error.filename or 'a file'} cannot be read or written ({error.strerror or error})"
        print(
            f"ecgtext: error: {what}: expected room and permission there; mend that, then run the same command again",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("ecgtext: interrupted; the same command continues where it stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
