import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

import ecgtext_plugins
from ecgtext_plugins.cli import main as entry
from ecgtext_plugins.errors import BadStore

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "numpy", "pandas", "scipy", "pyarrow", "fairseq", "hydra", "transformers", "faiss", "wfdb")
HELP = """
import json, sys
from ecgtext_plugins.cli.main import main
try:
    main(json.loads(sys.argv[1]))
except SystemExit as stop:
    code = stop.code
print(json.dumps([code, sorted(set(json.loads(sys.argv[2])) & set(sys.modules))]))
"""


def python(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("command", ["", *entry.COMMANDS])
def test_help_is_quick_because_it_imports_nothing_heavy(command):
    words = [command, "--help"] if command else ["--help"]
    answer = python(HELP, json.dumps(words), json.dumps(HEAVY))
    assert answer.returncode == 0, answer.stderr
    code, heavy = json.loads(answer.stdout.splitlines()[-1])
    assert code == 0 and heavy == []


@pytest.mark.parametrize("command", entry.COMMANDS)
def test_every_command_describes_itself_and_gives_examples(command):
    parser = argparse.ArgumentParser()
    entry.importlib.import_module(f"ecgtext_plugins.cli.{entry.COMMANDS[command][0]}").add_arguments(parser)
    assert parser.description
    assert f"ecgtext {command}" in (parser.epilog or "")


class Command:
    """A stand-in for a subcommand's module, which does what a test wants."""

    def __init__(self, outcome):
        self.outcome = outcome

    def add_arguments(self, parser):
        parser.add_argument("--level", type=int, default=0)

    def run(self, args):
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest.fixture
def command(monkeypatch):
    def install(outcome):
        monkeypatch.setitem(sys.modules, "ecgtext_plugins.cli.doctor", Command(outcome))

    return install


@pytest.mark.parametrize("code", [0, 1, 3])
def test_exit_code_is_the_command_s(command, code):
    command(code)
    assert entry.main(["doctor"]) == code


def test_our_errors_are_one_line_on_stderr(command, capsys):
    command(BadStore("/data has no corpus.json: expected a finished store; run ecgtext manifest build"))
    assert entry.main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "ecgtext: error: /data has no corpus.json: expected a finished store; run ecgtext manifest build\n"


def test_defects_keep_their_traceback(command):
    command(ZeroDivisionError("a defect"))
    with pytest.raises(ZeroDivisionError):
        entry.main(["doctor"])


def test_interruption_is_130_and_says_how_to_go_on(command, capsys):
    command(KeyboardInterrupt())
    assert entry.main(["doctor"]) == 130
    assert "continues where it stopped" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["no-such-command"], ["doctor", "--no-such-option"], ["doctor", "--level", "x"]])
def test_wrong_usage_is_2(command, words, capsys):
    command(0)
    with pytest.raises(SystemExit) as stop:
        entry.main(words)
    assert stop.value.code == 2
    assert "usage: ecgtext" in capsys.readouterr().err


def test_version_is_the_package_s(capsys):
    with pytest.raises(SystemExit) as stop:
        entry.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.split() == ["ecgtext-plugins", ecgtext_plugins.__version__]


def test_reader_that_goes_away_is_not_a_traceback():
    code = """
import sys, types
from ecgtext_plugins.cli import main
talkative = types.ModuleType("talkative")
talkative.add_arguments = lambda parser: None
talkative.run = lambda args: [print("x" * 1000) for _ in range(10_000)] and 0
sys.modules["ecgtext_plugins.cli.doctor"] = talkative
sys.exit(main.main(["doctor"]))
"""
    talker = subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    talker.stdout.readline()
    talker.stdout.close()
    errors = talker.stderr.read()
    talker.stderr.close()
    assert talker.wait() == 1
    assert errors == ""
