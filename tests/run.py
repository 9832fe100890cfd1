"""Run the tests in one command, `python3 tests/run.py [--slow] [PYTEST ARGS]`: makes .venv first.

Without arguments: the default suite, a process a core (8 at most; `-n 0` for one). `--slow` (or `--all`) adds the slow
tests; `-m slow` runs only those.
"""

import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from ecgtext_plugins.environment import launch  # noqa: E402


def pytest_arguments(arguments):
    """Translate our own two options; the rest is pytest's, where the last -m and the last -n win."""
    everything = {"--slow", "--all"}
    rest = [argument for argument in arguments if argument not in everything]
    parallel = ["-n", "auto", "--maxprocesses", "8", "--dist", "loadfile"]
    return [*parallel, *(["-m", ""] if everything & set(arguments) else []), *rest]


if __name__ == "__main__":
    os.chdir(CHECKOUT)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process a core
    sys.exit(launch(["tests", "demo"], "python", "-m", "pytest", *pytest_arguments(sys.argv[1:])))
