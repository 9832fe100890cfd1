"""`ecgtext eval validate`: what a benchmark needs that is not on this disk."""

import argparse
import json

EPILOG = """Looked for are a store of the benchmark's recipe among DATA, its label set, classes and splits, and for
identification its gallery and probe; of a transfer also what its probe learns on, and whether that is in the test
split; of the Challenge's benchmarks its weights. The last two are notes: the rest runs without them. What is missing is
told with the command that builds it, in which RAW is the dataset as downloaded and MERL the checkout of
https://github.com/cheliu-computation/MERL-ICML2024.

exit codes: 0 nothing is missing (there may be notes); 1 something is

examples:
  ecgtext eval validate ptbxl_super --data PTBXL
  ecgtext eval validate csn cpsc2018 cpsc2018_merl --data CSN CPSC2018 --json
  ecgtext eval validate transfer_cpsc2018_csn --data CPSC2018 CSN
  ecgtext eval validate code_test                       # says how to build what it needs
"""


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command validate to those of `ecgtext eval`."""
    validate = commands.add_parser(
        "validate",
        help="what a benchmark needs that is not here, and how to build it",
        description="Check that everything that benchmarks need is on this disk.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    validate.add_argument("benchmarks", nargs="+", metavar="NAME|FILE.yaml", help="see `ecgtext eval ls`")
    validate.add_argument("--data", nargs="+", default=[], metavar="DATA", help="folders of record stores")
    validate.add_argument("--json", action="store_true", help="print the findings as JSON")
    validate.set_defaults(run_eval=run)


def run(args: argparse.Namespace) -> int:
    """Print what is missing; 1 when something is."""
    from ecgtext_plugins.evaluation.benchmark import load_benchmark
    from ecgtext_plugins.evaluation.challenge_metric import weights_findings
    from ecgtext_plugins.evaluation.transfer_probe import probe_findings
    from ecgtext_plugins.evaluation.validate_benchmark import validate

    told, errors = [], 0
    for benchmark in [load_benchmark(name) for name in args.benchmarks]:
        store, findings = validate(benchmark, args.data)
        findings = [*findings, *probe_findings(benchmark, args.data), *weights_findings(benchmark)]
        missing = sum(finding.is_error for finding in findings)
        errors += missing
        folder = None if store is None else str(store.folder)
        rows = [{"kind": f.kind, "error": f.is_error, "message": f.message, "command": f.command} for f in findings]
        told.append({"benchmark": benchmark.name, "store": folder, "missing": missing, "findings": rows})
    if args.json:
        print(json.dumps(told, indent=2, ensure_ascii=False))
        return 1 if errors else 0
    for entry in told:
        state = f"{entry['missing']} missing" if entry["missing"] else f"ready on {entry['store']}"
        print(f"{entry['benchmark']}: {state}")
        for row in entry["findings"]:
            print(f"  {'missing' if row['error'] else 'note':<9}{row['kind']:<11}{row['message']}")
            if row["command"]:
                print(f"  {'':<9}{'build it':<11}{row['command']}")
    return 1 if errors else 0
