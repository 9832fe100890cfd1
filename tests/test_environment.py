"""The set-up's logic, on a simulated machine: no command is really run."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ecgtext_plugins import environment, setup_steps
from ecgtext_plugins.errors import BadEnvironment

REPOSITORY = Path(__file__).resolve().parents[1]
SETUP = 'EXTRAS = {"demo": [], "tests": []}\n'


class Machine:
    """Answers the commands of a set-up as a real machine would, and keeps what was asked of it."""

    def __init__(self, checkout):
        self.checkout = checkout
        self.version = [3, 11]
        self.distributions = {}
        self.brings_torchaudio = True
        self.torchaudio_imports = False
        self.failing = None  # a word of the command that fails
        self.output = "ERROR: it failed"
        self.pip_commands = []
        self.venvs_made = 0
        headers = checkout.parent / "headers"
        headers.mkdir()
        (headers / "Python.h").touch()
        self.headers = headers

    def run(self, command, **options):
        words = list(map(str, command))
        assert options["stdin"] == subprocess.DEVNULL, "a set-up must never wait for an answer"
        if self.failing and self.failing in words:
            return self.fail(options)
        if "-c" in words:
            return self.answer(words[words.index("-c") + 1])
        if words[1:3] == ["-m", "venv"]:
            self.make_venv(Path(words[-1]))
        elif words[1:3] == ["-m", "pip"]:
            self.pip(words[3:])
        return subprocess.CompletedProcess(command, 0, "", "")

    def fail(self, options):
        if hasattr(options["stdout"], "write"):
            options["stdout"].write(self.output.encode())
        return subprocess.CompletedProcess([], 1, self.output, "")

    def answer(self, code):
        facts = {"version": self.version, "headers": str(self.headers), "pip": True, "ensurepip": True}
        if code == setup_steps.PROBE:
            return subprocess.CompletedProcess([], 0, json.dumps(facts), "")
        if code == setup_steps.LISTING:
            return subprocess.CompletedProcess([], 0, json.dumps(self.distributions), "")
        assert code == "import torchaudio"
        return subprocess.CompletedProcess([], 0 if self.torchaudio_imports else 1, "", "OSError: libc10_cuda.so")

    def make_venv(self, folder):
        self.venvs_made += 1
        self.distributions = {"pip": "23.2"}
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        (folder / "lib" / "python3.11" / "site-packages").mkdir(parents=True, exist_ok=True)
        (folder / "pyvenv.cfg").write_text("version = 3.11.7\n")
        (folder / "bin" / "python").touch()
        (folder / "bin" / "pip").write_text(f"#!{folder}/bin/python\n")

    def pip(self, words):
        self.pip_commands.append(words)
        for word in words[1:]:
            name, _, version = word.partition("==")
            if words[0] == "uninstall":
                self.distributions.pop(name, None)
            elif version:
                self.distributions[name] = version
        if words[0] == "install" and setup_steps.FAIRSEQ in words and self.brings_torchaudio:
            self.distributions["torchaudio"] = "2.11.0"
        if "-e" in words:
            (self.checkout / ".venv" / "bin" / "ecgtext").touch()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    checkout = tmp_path / "a check out"
    checkout.mkdir()
    (checkout / "setup.py").write_text(SETUP)
    machine = Machine(checkout)
    monkeypatch.setattr(setup_steps.subprocess, "run", machine.run)
    monkeypatch.setattr(setup_steps.shutil, "which", lambda name: f"/usr/bin/{name}")
    for name in ("ECGTEXT_TORCH", "CXX"):
        monkeypatch.delenv(name, raising=False)
    return machine


def ensure(machine, *extras, **options):
    return environment.ensure(extras, machine.checkout, **options)


def test_steps_come_in_the_order_that_fairseq_needs(machine, capfd):
    assert ensure(machine, "demo") == machine.checkout / ".venv" / "bin"
    assert machine.pip_commands == [
        ["install", "torch==2.13.0"],
        ["install", "cython", "numpy", "setuptools", "wheel"],
        ["install", "--no-build-isolation", "fairseq-fixed==0.12.3.1"],
        ["install", "--no-build-isolation", "-e", ".[demo]"],
        ["uninstall", "-y", "torchaudio"],
    ]
    out, err = capfd.readouterr()
    assert out == ""  # stdout belongs to the command that is launched
    assert [line.split("]")[0] for line in err.splitlines()] == [f"[{number}/5" for number in range(1, 6)]


def test_second_run_runs_no_command(machine, monkeypatch):
    ensure(machine, "demo", "tests")

    def forbidden(*_args, **_options):
        raise AssertionError("a command was run although nothing had changed")

    monkeypatch.setattr(setup_steps.subprocess, "run", forbidden)
    ensure(machine, "demo")
    ensure(machine)


def test_further_extras_are_added_to_those_already_there(machine):
    ensure(machine, "tests")
    ensure(machine, "demo")
    assert machine.pip_commands[-1] == ["uninstall", "-y", "torchaudio"]
    assert machine.pip_commands[-2][-1] == ".[demo,tests]"
    n_commands = len(machine.pip_commands)
    ensure(machine, "tests")
    assert len(machine.pip_commands) == n_commands


@pytest.mark.parametrize("change", ["setup.py", "python", "torch", "again", "stamp", "script"])
def test_what_changed_is_set_up_again(machine, monkeypatch, change):
    ensure(machine, "demo")
    n_commands = len(machine.pip_commands)
    if change == "setup.py":
        (machine.checkout / "setup.py").write_text(SETUP + "REQUIREMENTS = []\n")
    elif change == "python":
        (machine.checkout / ".venv" / "pyvenv.cfg").write_text("version = 3.11.8\n")
    elif change == "torch":
        monkeypatch.setenv("ECGTEXT_TORCH", "torch==2.12.0 --index-url https://mirror.example/cu130")
    elif change == "stamp":
        (machine.checkout / ".venv" / "ecgtext-stamp.json").write_text('{"fingerprint": "cut o')
    elif change == "script":
        (machine.checkout / ".venv" / "bin" / "ecgtext").unlink()
    ensure(machine, "demo", again=change == "again")
    assert len(machine.pip_commands) > n_commands
    assert machine.venvs_made == 1


def test_torch_that_is_there_is_respected(machine):
    ensure(machine)
    machine.distributions["torch"] = "2.9.1+cu128"
    ensure(machine, again=True)
    assert sum(command[1].startswith("torch==") for command in machine.pip_commands) == 1
    assert machine.distributions["torch"] == "2.9.1+cu128"


def test_torch_can_be_chosen_with_pip_options_and_the_choice_lasts(machine, monkeypatch):
    monkeypatch.setenv("ECGTEXT_TORCH", "torch==2.12.0 --index-url https://mirror.example/cu130")
    ensure(machine)
    assert machine.pip_commands[0] == ["install", "torch==2.12.0", "--index-url", "https://mirror.example/cu130"]
    monkeypatch.delenv("ECGTEXT_TORCH")
    n_commands = len(machine.pip_commands)
    ensure(machine)
    assert len(machine.pip_commands) == n_commands


def test_torchaudio_that_imports_is_kept(machine):
    machine.torchaudio_imports = True
    ensure(machine)
    assert machine.distributions["torchaudio"] == "2.11.0"


def test_failure_is_one_sentence_with_the_last_lines_and_the_remedy(machine):
    machine.failing = setup_steps.FAIRSEQ
    machine.output = "Collecting fairseq-fixed\nOSError: [Errno 28] No space left on device\n"
    with pytest.raises(BadEnvironment) as caught:
        ensure(machine)
    message = str(caught.value)
    assert "\n" not in message
    assert "Collecting fairseq-fixed | OSError: [Errno 28] No space left on device" in message
    assert "free about 3 GB" in message and str(machine.checkout / ".venv" / "setup.log") in message


def test_interrupted_set_up_continues(machine):
    machine.failing = "-e"
    with pytest.raises(BadEnvironment):
        ensure(machine, "demo")
    machine.failing = None
    ensure(machine, "demo")
    assert machine.venvs_made == 1
    assert sum("torch==2.13.0" in command for command in machine.pip_commands) == 1


def test_half_installed_packages_are_forgotten_and_whole_ones_kept(machine):
    ensure(machine)
    site = machine.checkout / ".venv" / "lib" / "python3.11" / "site-packages"
    for name in ("torch-2.13.0.dist-info", "numpy-2.4.6.dist-info"):
        (site / name).mkdir()
        (site / name / "METADATA").touch()
    (site / "numpy-2.4.6.dist-info" / "INSTALLER").write_text("pip\n")
    ensure(machine, again=True)
    assert [path.name for path in site.iterdir()] == ["numpy-2.4.6.dist-info"]


@pytest.mark.parametrize("damage", ["python", "moved", "library"])
def test_broken_or_moved_environment_is_made_anew(machine, damage):
    ensure(machine, "demo")
    venv = machine.checkout / ".venv"
    if damage == "python":
        (venv / "bin" / "python").unlink()
        (venv / "bin" / "python").symlink_to("/nowhere/python3")
    elif damage == "moved":
        (venv / "bin" / "pip").write_text("#!/somewhere/else/.venv/bin/python\n")
        (venv / "ecgtext-stamp.json").unlink()
    else:  # the system's Python went from 3.10 to 3.11 below the environment
        (venv / "lib" / "python3.11" / "site-packages").rmdir()
        (venv / "lib" / "python3.11").rename(venv / "lib" / "python3.10")
        (venv / "ecgtext-stamp.json").unlink()
    ensure(machine, "demo")
    assert machine.venvs_made == 2


def test_environment_of_an_unsuitable_python_is_not_deleted(machine):
    ensure(machine)
    machine.version = [3, 13]
    with pytest.raises(BadEnvironment, match=r"holds Python 3\.13.*remove it"):
        ensure(machine, again=True)
    assert machine.venvs_made == 1


def test_no_suitable_python(machine):
    machine.version = [3, 9]
    with pytest.raises(BadEnvironment, match=r"no Python 3\.10, 3\.11 or 3\.12 is on PATH"):
        ensure(machine)


def test_compiler_is_asked_for_before_anything_is_downloaded(machine, monkeypatch):
    monkeypatch.setattr(setup_steps.shutil, "which", lambda name: f"/usr/bin/{name}" if "python" in name else None)
    with pytest.raises(BadEnvironment, match=r"no C\+\+ compiler.*apt install g\+\+"):
        ensure(machine)
    assert machine.pip_commands == []


def test_headers_are_asked_for_before_anything_is_downloaded(machine):
    (machine.headers / "Python.h").unlink()
    with pytest.raises(BadEnvironment, match=r"no Python\.h in .*apt install python3\.11-dev"):
        ensure(machine)
    assert machine.pip_commands == []


def test_stock_fairseq_in_the_environment_is_a_clash(machine):
    ensure(machine)
    machine.distributions["fairseq"] = "0.12.2"
    with pytest.raises(BadEnvironment, match=r"stock fairseq 0\.12\.2.*pip uninstall -y fairseq fairseq-fixed"):
        ensure(machine, again=True)


def test_unknown_extra_and_missing_checkout(machine, tmp_path):
    with pytest.raises(BadEnvironment, match="no extra demmo: expected some of demo, tests"):
        ensure(machine, "demmo")
    with pytest.raises(BadEnvironment, match=r"no setup\.py"):
        environment.ensure((), tmp_path)


def test_pip_keeps_mirrors_and_loses_misdirections(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    for name in ("PIP_TARGET", "PIP_USER", "PYTHONPATH"):
        monkeypatch.setenv(name, "/elsewhere")
    settings = setup_steps.pip_settings()
    assert settings["PIP_INDEX_URL"] == "https://mirror.example/simple"
    assert "PIP_TARGET" not in settings and "PYTHONPATH" not in settings
    assert settings["PIP_USER"] == "0" and settings["PIP_NO_INPUT"] == "1"


def test_pins_are_those_of_setup_py():
    tree = ast.parse((REPOSITORY / "setup.py").read_text("utf-8"))
    values = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
    assert setup_steps.FAIRSEQ in ast.literal_eval(values["REQUIREMENTS"])
    assert environment.declared_extras(REPOSITORY) == sorted(ast.literal_eval(values["EXTRAS"]))


@pytest.mark.parametrize("name", ["environment", "setup_steps", "errors", "__init__"])
def test_set_up_is_readable_by_old_pythons_and_needs_only_the_standard_library(name):
    tree = ast.parse((REPOSITORY / "ecgtext_plugins" / f"{name}.py").read_text("utf-8"), feature_version=(3, 8))
    for node in tree.body:
        modules = [node.module] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            assert module.split(".")[0] in {*sys.stdlib_module_names, "ecgtext_plugins"}, module
