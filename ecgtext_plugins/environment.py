"""Make `.venv` in the checkout, able to run everything: `python3 -m ecgtext_plugins.environment [EXTRA ...]`.

Standard library only: this runs before anything is installed. A stamp lets the next run skip all of it.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import fcntl
import hashlib
import json
import os
import sys
import time
from pathlib import Path

from ecgtext_plugins import setup_steps
from ecgtext_plugins.errors import BadEnvironment
from ecgtext_plugins.setup_steps import BUILD_NEEDS, FAIRSEQ, TORCH, Environment

CHECKOUT = Path(__file__).resolve().parent.parent


def ensure(extras=(), checkout: Path = CHECKOUT, again: bool = False) -> Path:
    """Make the checkout's environment hold the package with `extras`, and return its `bin` folder.

    Idempotent: a finished environment is recognised by its stamp; an interrupted one is continued; a broken one is made
    anew; a second set-up of the same checkout waits for the first. `again` does the steps whatever the stamp says.

    Raises
    ------
    BadEnvironment
        When a step fails: what failed, pip's last lines, and the remedy.
    """
    place = Environment(Path(checkout).resolve())
    if not (place.checkout / "setup.py").is_file():
        raise BadEnvironment(
            f"{place.checkout} has no setup.py: expected a checkout of ecgtext_plugins; an installed package needs no "
            "set-up, and `ecgtext doctor` checks it"
        )
    unknown = set(extras) - set(declared_extras(place.checkout))
    if unknown:
        raise BadEnvironment(
            f"no extra {', '.join(sorted(unknown))}: expected some of {', '.join(declared_extras(place.checkout))}"
        )
    if again or not is_ready(place, extras):
        with alone(place):
            if again or not is_ready(place, extras):  # else the set-up that we waited for has done it
                stamp = read_stamp(place)
                place.stamp.unlink(missing_ok=True)
                set_up(place, frozenset(extras).union(stamp.get("extras", ())))
    return place.bin


def set_up(place: Environment, extras: frozenset) -> None:
    """Do the five steps and stamp the result; each step finds what an earlier, interrupted run has done."""
    with step(1, f"virtual environment {place.folder}"):
        setup_steps.make_venv(place)
        setup_steps.forget_half_installed(place)
        setup_steps.require_room_for_fairseq(place)
    with step(2, os.environ.get("ECGTEXT_TORCH") or TORCH):
        setup_steps.install_torch(place)
    with step(3, f"{FAIRSEQ} (compiling it the first time takes 2 to 5 minutes)"):
        setup_steps.install_fairseq(place)
    with step(4, f"ecgtext-plugins with {', '.join(sorted(extras)) or 'no extras'}"):
        setup_steps.install_package(place, extras)
    with step(5, "torchaudio, kept only where it can be imported"):
        setup_steps.drop_broken_torchaudio(place)
    write_stamp(place, extras)


@contextlib.contextmanager
def step(number: int, what: str):
    """Show a line when the step begins, and its seconds when it ends; on stderr, as stdout is the command's own."""
    sys.stderr.write(f"[{number}/5] {what} ...")
    sys.stderr.flush()
    started = time.monotonic()
    try:
        yield
    except BaseException:
        sys.stderr.write("\n")
        raise
    sys.stderr.write(f" {time.monotonic() - started:.0f} s\n")


@contextlib.contextmanager
def alone(place: Environment):
    """Hold the checkout's lock, waiting while another set-up holds it; the system frees it when its holder dies."""
    with open(place.checkout / ".venv.lock", "a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write(f"waiting for another set-up of {place.checkout} to end\n")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def fingerprint(place: Environment) -> str:
    """Hash what the environment depends on: setup.py, our pins, its Python, and where it lies."""
    config = place.folder / "pyvenv.cfg"
    python = [line for line in config.read_text("utf-8").splitlines() if line.startswith("version")]
    facts = [FAIRSEQ, BUILD_NEEDS, python, str(place.python.resolve()), str(place.checkout)]
    return hashlib.sha256(json.dumps(facts).encode() + (place.checkout / "setup.py").read_bytes()).hexdigest()


def is_ready(place: Environment, extras) -> bool:
    """Tell from the stamp alone, in milliseconds, whether nothing has to be done."""
    stamp = read_stamp(place)
    needed = (place.python, place.bin / "ecgtext", place.folder / "pyvenv.cfg")
    return (
        bool(stamp)
        and all(path.is_file() for path in needed)
        and stamp["fingerprint"] == fingerprint(place)
        and os.environ.get("ECGTEXT_TORCH") in (None, "", stamp["torch"])
        and set(extras) <= set(stamp["extras"])
    )


def read_stamp(place: Environment) -> dict:
    """Return the stamp of a finished set-up, empty when there is none that can be read."""
    try:
        stamp = json.loads(place.stamp.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) and {"fingerprint", "torch", "extras"} <= set(stamp) else {}


def write_stamp(place: Environment, extras) -> None:
    """Write the stamp, atomically, as the last act of a set-up."""
    stamp = {
        "fingerprint": fingerprint(place),
        "torch": os.environ.get("ECGTEXT_TORCH") or TORCH,
        "extras": sorted(extras),
    }
    temporary = place.stamp.with_suffix(".partial")
    temporary.write_text(json.dumps(stamp, indent=2) + "\n", "utf-8")
    os.replace(temporary, place.stamp)


def declared_extras(checkout: Path) -> list:
    """Return the names of the extras in setup.py."""
    for node in ast.parse((checkout / "setup.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXTRAS":
            return sorted(ast.literal_eval(node.value))
    raise BadEnvironment(f"{checkout / 'setup.py'} has no EXTRAS = {{...}}: expected the setup.py of ecgtext_plugins")


def attempt(extras, again: bool = False) -> int:
    """Run `ensure` for a person: 0, or the error as one sentence and 1, or 130 when interrupted."""
    try:
        ensure(extras, again=again)
    except BadEnvironment as error:
        sys.stderr.write(f"ecgtext: error: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(
            f"ecgtext: error: {error.filename or 'a file'} cannot be read or written ({error.strerror or error}): "
            "expected room and permission in the checkout; run the same command again\n"
        )
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("ecgtext: interrupted; the same command continues where it stopped\n")
        return 130
    return 0


def launch(extras, program: str, *arguments: str) -> int:
    """Ensure the environment, then become `program` of its `bin` folder; returns (an exit code) only on failure."""
    failed = attempt(extras)
    if failed:
        return failed
    place = Environment(CHECKOUT)
    path = os.pathsep.join([str(place.bin), os.environ.get("PATH", os.defpath)])
    variables = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(place.folder)}
    sys.stdout.flush()
    sys.stderr.flush()
    return os.execve(place.bin / program, [str(place.bin / program), *arguments], variables)


def main(argv=None) -> int:
    """Set up the checkout's environment from the command line."""
    parser = argparse.ArgumentParser(
        prog="python3 -m ecgtext_plugins.environment",
        description="Make .venv in this checkout, with all that the package needs. Running it again costs nothing.",
        epilog="ECGTEXT_TORCH chooses another torch, e.g. ECGTEXT_TORCH='torch==2.13.0 --index-url URL'.",
    )
    parser.add_argument("extras", nargs="*", default=["demo"], metavar="EXTRA", help="of setup.py (default: demo)")
    parser.add_argument("--again", action="store_true", help="do every step, even if nothing seems to be missing")
    args = parser.parse_args(argv)
    failed = attempt(args.extras, args.again)
    if not failed:
        sys.stderr.write(f"ready: source '{Environment(CHECKOUT).bin / 'activate'}', then ecgtext --help\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
