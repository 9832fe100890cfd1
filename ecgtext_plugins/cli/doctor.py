"""`ecgtext doctor`: check the environment, and say what to type."""

import dataclasses
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

OK, WARN, BAD = "ok", "warn", "bad"
PINS = {"fairseq-fixed": "0.12.3.1", "hydra-core": "1.3.2", "omegaconf": "2.3.0"}
PIP = f"'{sys.executable}' -m pip"
BUILD_FAIRSEQ = f"{PIP} install --no-build-isolation fairseq-fixed=={PINS['fairseq-fixed']}"

TORCH_CODE = """
import torch
print(torch.__version__, "CUDA" if torch.cuda.is_available() else "CPU", torch.get_num_threads(), "threads")
"""
TRANSFORMERS_CODE = """
import transformers
from transformers import T5EncoderModel
print(transformers.__version__)
"""
HYDRA_CODE = """
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
ours = [p for p in Plugins.instance().discover(SearchPathPlugin) if p.__module__.startswith("hydra_plugins.ecgtext")]
assert ours, "hydra does not discover hydra_plugins.ecgtext"
print(", ".join(plugin.__name__ for plugin in ours))
"""
REGISTRATION_CODE = """
import ecgtext_plugins
from ecgtext_plugins import registration
ecgtext_plugins.register_all()
print("; ".join(f"{group} {', '.join(names)}" for group, names in registration.OWN_NAMES.items()))
"""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the doctor's report; `remedy` is empty where nothing has to be done."""

    name: str
    status: str
    found: str
    remedy: str = ""


def add_arguments(parser) -> None:
    """Describe the command."""
    parser.description = "Check Python, torch, fairseq and other packages, and say what to type where one is broken."
    parser.epilog = "examples:\n  ecgtext doctor\n  ecgtext doctor --json\n\nexit code: 1 when any line says bad"
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON object")


def run(args) -> int:
    """Print a line a check; 1 when any is bad."""
    findings = examine()
    healthy = all(finding.status != BAD for finding in findings)
    if args.json:
        print(json.dumps({"ok": healthy, "checks": [dataclasses.asdict(finding) for finding in findings]}, indent=2))
        return 0 if healthy else 1
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{finding.status:<4}  {finding.name:<{width}}  {finding.found}")
        if finding.remedy:
            print(f"      {'':<{width}}  -> {finding.remedy}")
    return 0 if healthy else 1


def examine() -> list[Finding]:
    """Run every check; those that import heavy packages do so in processes of their own, two at a time."""
    checks = (
        check_python,
        check_machine,
        check_torch,
        check_fairseq,
        check_pins,
        check_torchaudio_and_transformers,
        lambda: check_import("faiss", "faiss-cpu"),
        check_faiss_builds,
        lambda: check_import("wfdb", "wfdb"),
        check_copies,
        check_recipes,
        check_hydra_plugin,
        check_registration,
    )
    with ThreadPoolExecutor(max_workers=2) as pool:
        return [finding for findings in pool.map(lambda check: check(), checks) for finding in findings]


def probe(code: str) -> tuple[bool, str]:
    """Run `code` in a new process of this Python: whether it succeeded, and the last line that it wrote."""
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
        )
    except subprocess.TimeoutExpired:
        return False, "no answer within 300 s"
    lines = (answer.stdout if answer.returncode == 0 else answer.stderr or answer.stdout).strip().splitlines()
    last = lines[-1].strip() if lines else f"no output, exit status {answer.returncode}"
    return answer.returncode == 0, last.removeprefix("ecgtext_plugins.errors.BadEnvironment: ")


def installed_version(distribution: str) -> str | None:
    """Return the version of a distribution, None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def reinstall() -> str:
    """Return the command that installs the package again, in a checkout or elsewhere."""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "setup.py").is_file():
        return f"cd '{checkout}' && python3 -m ecgtext_plugins.environment --again"
    return f"{PIP} install --force-reinstall --no-deps ecgtext-plugins"


def check_import(module: str, distribution: str) -> list[Finding]:
    """Check that a package can be imported."""
    works, answer = probe(f"import {module}; print({module}.__version__)")
    remedy = f"{PIP} install --force-reinstall --no-deps {distribution}"
    return [Finding(module, OK, answer) if works else Finding(module, BAD, answer, remedy)]


def check_python() -> list[Finding]:
    """Check the version of the running Python."""
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 10) <= sys.version_info[:2] < (3, 13):
        return [Finding("python", OK, f"{version} ({sys.executable})")]
    return [Finding("python", BAD, f"{version}, expected 3.10, 3.11 or 3.12", "make the environment with python3.12")]


def check_torch() -> list[Finding]:
    """Check that torch can be imported."""
    works, answer = probe(TORCH_CODE)
    return [Finding("torch", OK, answer) if works else Finding("torch", BAD, answer, f"{PIP} install torch==2.13.0")]


def check_fairseq() -> list[Finding]:
    """Check that fairseq-fixed is there, and not stock fairseq, whose files have the same names."""
    fixed, stock = installed_version("fairseq-fixed"), installed_version("fairseq")
    if stock is not None:
        found = f"stock fairseq {stock}" + (f" mixed with fairseq-fixed {fixed}, file by file" if fixed else "")
        return [Finding("fairseq", BAD, found, f"{PIP} uninstall -y fairseq fairseq-fixed && {BUILD_FAIRSEQ}")]
    if fixed is None:
        return [Finding("fairseq", BAD, "fairseq-fixed is not installed", BUILD_FAIRSEQ)]
    return [check_pin("fairseq-fixed", fixed)]


def check_pins() -> list[Finding]:
    """Check the versions that fairseq-fixed pins."""
    return [check_pin(name, installed_version(name)) for name in ("hydra-core", "omegaconf")]


def check_pin(name: str, version: str | None) -> Finding:
    """Compare an installed version with the pinned one: another patch release is a warning, anything else is bad."""
    wanted = PINS[name]
    remedy = f"{PIP} install {'--no-build-isolation ' if name == 'fairseq-fixed' else ''}{name}=={wanted}"
    if version == wanted:
        return Finding(name, OK, version)
    if version is None:
        return Finding(name, BAD, f"not installed, expected {wanted}", remedy)
    near = version.split(".")[:2] == wanted.split(".")[:2]
    return Finding(name, WARN if near else BAD, f"{version}, expected {wanted}", remedy)


def check_torchaudio_and_transformers() -> list[Finding]:
    """Check both together: transformers imports a torchaudio that is installed, and fails where that one is broken."""
    audio = installed_version("torchaudio")
    audio_works, answer = probe("import torchaudio") if audio else (True, "")
    remedy = f"{PIP} uninstall -y torchaudio"
    if audio is None:
        findings = [Finding("torchaudio", OK, "not installed, and not needed")]
    elif audio_works:
        findings = [Finding("torchaudio", OK, audio)]
    else:
        found = f"{audio} cannot be imported ({answer}); ecgtext works around it, other users of transformers fail"
        findings = [Finding("torchaudio", WARN, found, remedy)]
    works, answer = probe(TRANSFORMERS_CODE)
    if works:
        findings.append(Finding("transformers", OK, answer))
    elif not audio_works:
        findings.append(Finding("transformers", WARN, "its models fail to import because of torchaudio", remedy))
    else:
        findings.append(Finding("transformers", BAD, answer, f"{PIP} install --upgrade transformers"))
    return findings


def check_faiss_builds() -> list[Finding]:
    """Check that only one distribution brings the module faiss."""
    names = {re.sub(r"[-_.]+", "-", d.metadata["Name"] or "").lower() for d in importlib.metadata.distributions()}
    builds = sorted(name for name in names if re.fullmatch(r"faiss-(cpu|gpu.*)", name))
    if len(builds) < 2:
        return []
    remedy = f"{PIP} uninstall -y {' '.join(builds)} && {PIP} install {builds[-1]}"
    return [Finding("faiss builds", WARN, f"{' and '.join(builds)} overwrite each other's files", remedy)]


def check_hydra_plugin() -> list[Finding]:
    """Check that hydra discovers our search-path plugin, through which stock fairseq-hydra-train sees our groups."""
    works, answer = probe(HYDRA_CODE)
    if works:
        return [Finding("hydra plugin", OK, answer)]
    return [Finding("hydra plugin", BAD, answer, reinstall())]


def check_registration() -> list[Finding]:
    """Check that register_all() works, which raises when one of our names belongs to another plugin."""
    works, answer = probe(REGISTRATION_CODE)
    if works:
        return [Finding("registration", OK, answer)]
    return [Finding("registration", BAD, answer, f"remove the package that it names, or {reinstall()}")]


def check_recipes() -> list[Finding]:
    """Check that the shipped recipes are found."""
    from ecgtext_plugins import recipes
    from ecgtext_plugins.errors import BadRecipe

    try:
        return [Finding("recipes", OK, str(recipes.recipes_root()))]
    except BadRecipe as error:
        return [Finding("recipes", BAD, str(error), reinstall())]


def check_copies(search_path: list[str] | None = None) -> list[Finding]:
    """Look for a second copy of the package: fairseq refuses a common.user_dir that is not the imported one."""
    folders = [*(sys.path if search_path is None else search_path), os.getcwd()]
    copies = {(Path(folder or ".") / "ecgtext_plugins").resolve(): None for folder in folders}
    copies = [copy for copy in copies if (copy / "__init__.py").is_file()]
    if len(copies) < 2:
        return [Finding("copies", OK, str(copies[0]) if copies else "none on sys.path")]
    remedy = f"leave common.user_dir out (it is not needed), or give {copies[0]}, or remove the other copy"
    return [Finding("copies", WARN, " and ".join(map(str, copies)), remedy)]


def check_machine() -> list[Finding]:
    """Report the processors, and warn where the disk of the working folder is nearly full."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free = shutil.disk_usage(".").free / 2**30
    found = f"{free:.1f} GB free in {os.getcwd()}"
    if free < 5:
        disk = Finding("disk", WARN, found, "free some: a checkpoint takes up to 2 GB, MIMIC-IV-ECG's store 100 GB")
    else:
        disk = Finding("disk", OK, found)
    return [Finding("processors", OK, f"{cores}"), disk]
