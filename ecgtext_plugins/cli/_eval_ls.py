"""`ecgtext eval ls`: the benchmarks that are shipped."""

import argparse
import json
from typing import Any

EPILOG = """Recipes are those of `ecgtext manifest build`; of several that fit, the first is the best one.

examples:
  ecgtext eval ls
  ecgtext eval ls --json
"""


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Add the command ls to those of `ecgtext eval`."""
    ls = commands.add_parser(
        "ls",
        help="name, task, classes and recipe of every benchmark",
        description="List the shipped benchmarks.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ls.add_argument("--json", action="store_true", help="print all that is known of each as JSON")
    ls.set_defaults(run_eval=run)


def run(args: argparse.Namespace) -> int:
    """Print the benchmarks."""
    from ecgtext_plugins.evaluation.benchmark import benchmark_names, load_benchmark

    rows = [_row(load_benchmark(name)) for name in benchmark_names()]
    if args.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    titles = {"name": "benchmark", "task": "task", "classes": "classes", "metric": "metric", "needs": "needs"}
    table = [[title for title in titles.values()], *([_cell(row[key]) for key in titles] for row in rows)]
    widths = [max(len(line[place]) for line in table) for place in range(len(titles))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


def _row(benchmark: Any) -> dict[str, Any]:
    """Tell what there is to know of a benchmark, ready for JSON."""
    needs = " or ".join(
        source.recipe if source.label_set is None else f"{source.recipe} ({source.label_set})"
        for source in benchmark.sources
    )
    return {
        "name": benchmark.name,
        "version": benchmark.version,
        "description": benchmark.description,
        "task": benchmark.task,
        "classes": {name: list(codes) for name, codes in benchmark.classes.items()},
        "recipes": benchmark.recipes,
        "needs": needs,
        "label_sets": {source.recipe: source.label_set for source in benchmark.sources},
        "split": benchmark.split,
        "metric": benchmark.metric,
        "window": benchmark.window,
        "leads": list(benchmark.leads),
        "weights_file": benchmark.weights_file,
        "transfer_from": benchmark.transfer.source if benchmark.transfer else None,
        "prompt_set": benchmark.prompt_set,
        "published": benchmark.published,
        "citation": benchmark.citation,
    }


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else str(len(value) or "-")
