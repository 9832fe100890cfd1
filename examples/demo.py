"""Run the demo in one command, `python3 examples/demo.py [ARGS]`: makes .venv first, then runs `ecgtext demo ARGS`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ecgtext_plugins.environment import launch  # noqa: E402

if __name__ == "__main__":
    sys.exit(launch(["demo"], "ecgtext", "demo", *sys.argv[1:]))
