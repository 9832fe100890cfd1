import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / ".ci" / "count_results.py"
PASSED = '<testcase classname="tests.a" name="one"/>'
FAILED = '<testcase classname="tests.a" name="two"><failure message="assert"/></testcase>'
BROKEN = '<testcase classname="tests.a" name="three"><error message="fixture"/></testcase>'
NO_SHARED = '<testcase classname="tests.a" name="four"><skipped message="ECGTEXT_SHARED is not set"/></testcase>'
NO_GPU = '<testcase classname="tests.a" name="five"><skipped message="no GPU here">x</skipped></testcase>'


@pytest.fixture
def count(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("count_results", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def count(*cases):
        path = tmp_path / "results.xml"
        path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
        code = module.main([str(path)])
        return code, capsys.readouterr().out.splitlines()

    count.module = module
    return count


@pytest.mark.parametrize(
    ("cases", "code", "line"),
    [
        ([PASSED, NO_GPU], 0, "1 passed, 0 failed, 1 skipped"),
        ([PASSED, FAILED], 1, "1 passed, 1 failed, 0 skipped"),
        ([PASSED, BROKEN], 1, "1 passed, 1 failed, 0 skipped"),
        ([], 1, "0 passed, 0 failed, 0 skipped"),
    ],
)
def test_totals_and_exit_code(count, monkeypatch, cases, code, line):
    monkeypatch.setenv("ECGTEXT_SHARED", "/shared")
    found_code, lines = count(*cases)
    assert (found_code, lines[-1]) == (code, line)


def test_skip_for_lack_of_shared_data_counts_only_where_they_are(count, monkeypatch):
    monkeypatch.delenv("ECGTEXT_SHARED", raising=False)
    assert count(PASSED, NO_SHARED)[0] == 0
    monkeypatch.setenv("ECGTEXT_SHARED", "/shared")
    code, lines = count(PASSED, NO_SHARED)
    assert code == 1 and "tests.a.four was skipped" in lines[0]


def test_missing_file_fails(count, capsys, tmp_path):
    assert count.module.main([str(tmp_path / "none.xml")]) == 1
    assert "was not written" in capsys.readouterr().out
