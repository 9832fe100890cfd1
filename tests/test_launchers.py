"""One set-up at a time, and what the launchers become afterwards."""

import ast
import multiprocessing
import time
from pathlib import Path

import pytest

from ecgtext_plugins import environment, setup_steps
from ecgtext_plugins.errors import BadEnvironment

REPOSITORY = Path(__file__).resolve().parents[1]


def hold_lock(checkout, seconds, order):
    place = setup_steps.Environment(Path(checkout))
    with environment.alone(place):
        order.append("in")
        time.sleep(seconds)
        order.append("out")


def test_two_set_ups_take_turns(tmp_path):
    spawning = multiprocessing.get_context("fork")
    with multiprocessing.Manager() as manager:
        order = manager.list()
        both = [spawning.Process(target=hold_lock, args=(tmp_path, 0.2, order)) for _ in range(2)]
        for process in both:
            process.start()
        for process in both:
            process.join()
        assert list(order) == ["in", "out", "in", "out"]


def test_launch_becomes_the_program_with_the_environment_first_on_path(monkeypatch):
    became = {}
    monkeypatch.setattr(environment, "ensure", lambda extras, again=False: None)
    monkeypatch.setattr(environment.os, "execve", lambda path, words, variables: became.update(vars()))
    environment.launch(["demo"], "ecgtext", "demo", "--seed", "1")
    scripts = environment.CHECKOUT / ".venv" / "bin"
    assert became["words"] == [str(scripts / "ecgtext"), "demo", "--seed", "1"]
    assert became["variables"]["PATH"].split(":")[0] == str(scripts)


@pytest.mark.parametrize(("error", "code"), [(BadEnvironment("no compiler"), 1), (KeyboardInterrupt(), 130)])
def test_launch_tells_failures_in_one_line(monkeypatch, capsys, error, code):
    def failing(_extras, again=False):
        raise error

    monkeypatch.setattr(environment, "ensure", failing)
    monkeypatch.setattr(environment.os, "execve", lambda *_: pytest.fail("started without an environment"))
    assert environment.launch(["demo"], "ecgtext") == code
    assert capsys.readouterr().err.startswith("ecgtext: ")


def test_test_launcher_translates_its_own_options_only():
    spec = ast.parse((REPOSITORY / "tests" / "run.py").read_text("utf-8"))
    spec.body = [node for node in spec.body if isinstance(node, ast.FunctionDef)]
    names = {}
    exec(compile(spec, "run.py", "exec"), names)
    translate = names["pytest_arguments"]
    parallel = ["-n", "auto", "--maxprocesses", "8", "--dist", "loadfile"]
    assert translate([]) == parallel
    assert translate(["-m", "slow", "-k", "rooms"]) == [*parallel, "-m", "slow", "-k", "rooms"]
    assert translate(["--slow", "-x"]) == [*parallel, "-m", "", "-x"]
    assert translate(["--all", "-n", "0"]) == [*parallel, "-m", "", "-n", "0"]
