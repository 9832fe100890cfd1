"""What has to be installed into an environment, in which order, and what to say when a part of it fails.

Plain `pip install` is not enough: fairseq-fixed is compiled against a torch that must be there first, and the
torchaudio that it brings breaks transformers wherever it cannot be imported (torch without CUDA). Standard library
only, and readable by Pythons too old or too new for the package, which then get a sentence instead of a traceback.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from ecgtext_plugins.errors import BadEnvironment

OLDEST, TOO_NEW = (3, 10), (3, 13)
TORCH = "torch==2.13.0"  # another choice, pip options included: environment variable ECGTEXT_TORCH
FAIRSEQ = "fairseq-fixed==0.12.3.1"
BUILD_NEEDS = ("cython", "numpy", "setuptools", "wheel")
MISDIRECTING = (  # settings that would send pip's work elsewhere or replace what is there; mirrors, certificates stay
    *("PIP_" + name for name in ("TARGET", "PREFIX", "ROOT", "PYTHON", "DRY_RUN", "NO_DEPS", "REQUIREMENT")),
    *("PIP_" + name for name in ("EDITABLE", "UPGRADE", "FORCE_REINSTALL", "IGNORE_INSTALLED", "REPORT", "LOG")),
    *("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__"),
)
NOT_FOUND = "check that pip reaches a package index (pip config list) that has it for this Python"
REMEDIES = (  # what pip's output holds -> what to do
    ("No space left on device", "free about 3 GB of disk (10 GB with torch for CUDA)"),
    ("Python.h", "install the headers of this Python (Debian, Ubuntu: apt install python3-dev)"),
    ("Failed to build", "see the log for the compiler's message; fairseq-fixed needs a working g++ with C++17"),
    ("Could not find a version", NOT_FOUND),
    ("No matching distribution", NOT_FOUND),
    ("Permission denied", "make the checkout writable"),
)
PROBE = (
    "import importlib.util as u, json, sys, sysconfig as s; print(json.dumps({'version': list(sys.version_info[:2]), "
    "'headers': s.get_path('include'), 'pip': bool(u.find_spec('pip')), 'ensurepip': bool(u.find_spec('ensurepip'))}))"
)
LISTING = (
    "import importlib.metadata as m, json; found = [d for d in m.distributions() if d.metadata['Name']]; "
    "print(json.dumps({d.metadata['Name'].lower().replace('_', '-'): d.version for d in found}))"
)


class Environment:
    """The places of one checkout's environment, and commands run in it."""

    def __init__(self, checkout: Path):
        self.checkout = checkout
        self.folder = checkout / ".venv"
        self.bin = self.folder / "bin"
        self.python = self.bin / "python"
        self.stamp = self.folder / "ecgtext-stamp.json"
        self.log = self.folder / "setup.log"

    def ask(self, code: str) -> subprocess.CompletedProcess:
        """Run `code` in the environment's Python, cut off from the caller's settings."""
        command = [str(self.python), "-I", "-c", code]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def installed(self) -> dict:
        """Return the version of every distribution in the environment, by normalised name."""
        answer = self.ask(LISTING)
        if answer.returncode:
            raise BadEnvironment(
                f"{self.python} cannot list its packages (exit code {answer.returncode}): expected a working one; "
                f"remove {self.folder} and run the same command again"
            )
        return json.loads(answer.stdout)

    def pip(self, *arguments: str) -> None:
        """Run pip with its output in the log; on failure raise BadEnvironment with its last lines and a remedy."""
        command = [str(self.python), "-m", "pip", *arguments]
        with open(self.log, "ab") as log:
            log.write(f"\n$ {shlex.join(command)}\n".encode())
            log.flush()
            start = log.tell()
            code = subprocess.run(
                command, cwd=self.checkout, env=pip_settings(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            ).returncode
        if code:
            with open(self.log, "rb") as log:
                log.seek(start)
                output = log.read().decode("utf-8", "replace")
            raise BadEnvironment(explain(f"pip {' '.join(arguments)}", output, self.log))


def pip_settings() -> dict:
    """Return the environment variables for pip: the caller's mirrors, but nothing that sends files elsewhere."""
    kept = {name: value for name, value in os.environ.items() if name not in MISDIRECTING}
    return {**kept, "PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def explain(what: str, output: str, log: Path) -> str:
    """Turn the output of a failed command into a sentence: what failed, its last lines, remedy, where the log is."""
    remedy = next((remedy for sign, remedy in REMEDIES if sign in output), "mend what these lines say")
    lines = [line.strip()[:300] for line in output.splitlines() if line.strip() and "WARNING" not in line]
    return (
        f"`{what}` failed, and its last lines say: {' | '.join(lines[-5:]) or 'nothing'}; {remedy}, then run the same "
        f"command again, which continues here (whole log: {log})"
    )


def look_at(python: str | Path) -> dict | None:
    """Return version, header folder, and whether pip and ensurepip are there; None where this Python does not run."""
    try:
        answer = subprocess.run(
            [str(python), "-I", "-c", PROBE], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        found = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return {**found, "version": tuple(found["version"])}


def choose_python() -> str:
    """Return the Python to build on: this one if its version suits, or the newest on PATH that does.

    Raises
    ------
    BadEnvironment
        When there is none, or it cannot make virtual environments.
    """
    this = getattr(sys, "_base_executable", None) or sys.executable
    for candidate in (this, "python3.12", "python3.11", "python3.10"):
        path = shutil.which(candidate)
        found = look_at(path) if path else None
        if found is None or not OLDEST <= found["version"] < TOO_NEW:
            continue
        if not found["ensurepip"]:
            raise BadEnvironment(
                f"{path} cannot make virtual environments (no ensurepip); on Debian or Ubuntu: "
                f"apt install python{found['version'][0]}.{found['version'][1]}-venv"
            )
        return path
    raise BadEnvironment(
        f"this is Python {sys.version_info[0]}.{sys.version_info[1]}, and no Python 3.10, 3.11 or 3.12 is on PATH, of "
        "which one is needed: install one (Debian, Ubuntu: apt install python3 python3-venv; or uv, pyenv, conda), "
        "then run the same command with it"
    )


def make_venv(place: Environment) -> None:
    """Make `.venv`, or keep the one that works; one that is broken or was moved is made anew."""
    found = look_at(place.python) if place.python.exists() else None
    if found and not OLDEST <= found["version"] < TOO_NEW:
        raise BadEnvironment(
            f"{place.folder} holds Python {found['version'][0]}.{found['version'][1]}, but 3.10, 3.11 or 3.12 is "
            f"needed: remove it (rm -r '{place.folder}'), then run the same command again"
        )
    if found and belongs_here(place, found["version"]):
        command = None if found["pip"] else [str(place.python), "-m", "ensurepip"]
    else:
        command = [choose_python(), "-m", "venv", "--clear", str(place.folder)]
    if command:
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        answer = subprocess.run(command, env=pip_settings(), text=True, **quiet)
        if answer.returncode:
            raise BadEnvironment(explain(shlex.join(command), answer.stdout, place.log))


def belongs_here(place: Environment, version: tuple) -> bool:
    """Tell whether `.venv` was made at this path for this Python version: scripts and libraries are bound to both."""
    if not (place.folder / "lib" / f"python{version[0]}.{version[1]}").is_dir():
        return False
    script = place.bin / "pip"
    if not script.is_file():
        return True
    head = script.read_text("utf-8", "replace")[:1000]
    return any(str(folder) in head for folder in (place.bin, place.bin.resolve()))


def require_room_for_fairseq(place: Environment) -> None:
    """Raise BadEnvironment, before anything is downloaded, where fairseq-fixed could not be installed later."""
    name, version = FAIRSEQ.split("==")
    installed = place.installed()
    if "fairseq" in installed:
        raise BadEnvironment(
            f"{place.folder} holds stock fairseq {installed['fairseq']}, whose files have the names of {name}'s: "
            f"'{place.python}' -m pip uninstall -y fairseq {name}, then run the same command again"
        )
    if installed.get(name) != version:
        require_compiler(place)


def require_compiler(place: Environment) -> None:
    """Raise BadEnvironment where fairseq-fixed has to be compiled and cannot be: no C++ compiler, no Python headers."""
    found = look_at(place.python)
    if found["version"] == (3, 12) and sys.platform == "linux" and os.uname().machine == "x86_64":
        return  # the index has a wheel
    version = f"{found['version'][0]}.{found['version'][1]}"
    compilers = [os.environ.get("CXX", "").split(" ")[0], "g++", "c++", "clang++"]
    if not any(name and shutil.which(name) for name in compilers):
        raise BadEnvironment(
            f"no C++ compiler (g++, c++ or the variable CXX), and {FAIRSEQ} has to be compiled on Python {version}: "
            "install one (Debian, Ubuntu: apt install g++; macOS: xcode-select --install) or, on Linux x86_64, use "
            "Python 3.12, for which it comes compiled"
        )
    if not Path(found["headers"], "Python.h").is_file():
        raise BadEnvironment(
            f"no Python.h in {found['headers']}, and {FAIRSEQ} has to be compiled on Python {version}: install the "
            f"headers (Debian, Ubuntu: apt install python{version}-dev)"
        )


def forget_half_installed(place: Environment) -> None:
    """Remove the metadata of packages whose installation was cut off, so that pip installs them again.

    pip writes INSTALLER after a package's other files; metadata without it is that of an unfinished package.
    """
    for metadata in place.folder.glob("lib/python3.*/site-packages/*.dist-info"):
        if not (metadata / "INSTALLER").is_file():
            shutil.rmtree(metadata)


def install_torch(place: Environment) -> None:
    """Install torch as ECGTEXT_TORCH says; without it keep the one that is there, or install the tested version."""
    choice = os.environ.get("ECGTEXT_TORCH")
    if choice or "torch" not in place.installed():
        place.pip("install", *shlex.split(choice or TORCH))


def install_fairseq(place: Environment) -> None:
    """Build fairseq-fixed against the torch of the environment, unless it is there already."""
    place.pip("install", *BUILD_NEEDS)
    place.pip("install", "--no-build-isolation", FAIRSEQ)


def install_package(place: Environment, extras: frozenset) -> None:
    """Install the checkout in editable mode with what it requires."""
    place.pip("install", "--no-build-isolation", "-e", f".[{','.join(sorted(extras))}]" if extras else ".")


def drop_broken_torchaudio(place: Environment) -> None:
    """Uninstall a torchaudio that cannot be imported: transformers would import it and fail. One that works stays."""
    if "torchaudio" in place.installed() and place.ask("import torchaudio").returncode:
        place.pip("uninstall", "-y", "torchaudio")
