import argparse
import importlib.metadata
import json
from pathlib import Path

import pytest

from ecgtext_plugins import setup_steps
from ecgtext_plugins.cli import doctor


@pytest.fixture
def versions(monkeypatch):
    """Versions of a healthy environment, for a test to spoil; every probe succeeds unless a test says otherwise."""
    versions = dict(doctor.PINS)

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    monkeypatch.setattr(doctor, "probe", lambda code: (True, "1.0"))
    return versions


def test_healthy_environment(versions):
    assert {finding.status for finding in doctor.check_fairseq() + doctor.check_pins()} == {"ok"}


def test_pins_are_those_of_the_set_up():
    assert setup_steps.FAIRSEQ == f"fairseq-fixed=={doctor.PINS['fairseq-fixed']}"


@pytest.mark.parametrize("fixed", [True, False])
def test_stock_fairseq_is_bad_with_or_without_ours(versions, fixed):
    versions["fairseq"] = "0.12.2"
    if not fixed:
        del versions["fairseq-fixed"]
    (finding,) = doctor.check_fairseq()
    assert finding.status == "bad" and "stock fairseq 0.12.2" in finding.found
    assert "uninstall -y fairseq fairseq-fixed" in finding.remedy and "--no-build-isolation" in finding.remedy


@pytest.mark.parametrize(("version", "status"), [("1.3.2", "ok"), ("1.3.9", "warn"), ("1.2.0", "bad"), (None, "bad")])
def test_pinned_versions(version, status):
    finding = doctor.check_pin("hydra-core", version)
    assert finding.status == status
    assert finding.remedy.endswith("hydra-core==1.3.2") == (status != "ok")


def test_broken_torchaudio_is_a_warning_that_explains_transformers(versions, monkeypatch):
    versions["torchaudio"] = "2.11.0"
    monkeypatch.setattr(doctor, "probe", lambda code: (False, "OSError: libc10_cuda.so"))
    audio, transformers = doctor.check_torchaudio_and_transformers()
    assert (audio.status, transformers.status) == ("warn", "warn")
    assert "libc10_cuda.so" in audio.found and audio.remedy.endswith("pip uninstall -y torchaudio")
    assert audio.remedy == transformers.remedy


def test_transformers_broken_by_something_else_is_bad(versions, monkeypatch):
    monkeypatch.setattr(doctor, "probe", lambda code: (False, "ImportError: no T5EncoderModel"))
    audio, transformers = doctor.check_torchaudio_and_transformers()
    assert (audio.status, transformers.status) == ("ok", "bad")


def test_name_of_another_plugin_is_bad_in_the_words_of_registration(monkeypatch):
    sentence = "the fairseq task 'ecg_text_pretraining' is other.Task, expected the one of ecgtext_plugins"
    monkeypatch.setattr(
        doctor,
        "REGISTRATION_CODE",
        (f'from ecgtext_plugins.errors import BadEnvironment\nraise BadEnvironment("""{sentence}""")\n'),
    )
    (finding,) = doctor.check_registration()
    assert finding.status == "bad" and finding.found == sentence


def test_probe_returns_the_last_line_and_whether_it_worked():
    assert doctor.probe("print('a'); print('b')") == (True, "b")
    assert doctor.probe("import nothing_of_this_name") == (
        False,
        "ModuleNotFoundError: No module named 'nothing_of_this_name'",
    )
    assert doctor.probe("import os; os._exit(7)") == (False, "no output, exit status 7")


def test_second_copy_is_a_warning_and_links_to_the_same_copy_are_not(tmp_path, monkeypatch):
    for name in ("first", "second"):
        (tmp_path / name / "ecgtext_plugins").mkdir(parents=True)
        (tmp_path / name / "ecgtext_plugins" / "__init__.py").touch()
    (tmp_path / "link").symlink_to(tmp_path / "first")
    monkeypatch.chdir(tmp_path)
    (one,) = doctor.check_copies([str(tmp_path / "first"), str(tmp_path / "link")])
    assert one.status == "ok"
    (two,) = doctor.check_copies([str(tmp_path / "first"), str(tmp_path / "second")])
    assert two.status == "warn" and "second" in two.found and "common.user_dir" in two.remedy


def test_full_disk_is_a_warning(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: argparse.Namespace(free=2**30))
    assert [finding.status for finding in doctor.check_machine()] == ["ok", "warn"]


def test_python_out_of_range_is_bad(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 13, 0))
    assert doctor.check_python()[0].status == "bad"


@pytest.mark.parametrize(("statuses", "code"), [(["ok", "warn"], 0), (["ok", "bad"], 1)])
def test_exit_code_and_both_forms_of_the_report(monkeypatch, capsys, statuses, code):
    findings = [doctor.Finding(f"check {i}", status, "found", "do this") for i, status in enumerate(statuses)]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    assert doctor.run(argparse.Namespace(json=False)) == code
    text = capsys.readouterr().out
    assert text.count("-> do this") == 2 and text.startswith("ok")
    assert doctor.run(argparse.Namespace(json=True)) == code
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] == (code == 0)
    assert [check["status"] for check in report["checks"]] == statuses


def test_remedy_in_a_checkout_names_the_checkout():
    assert str(Path(__file__).resolve().parents[2]) in doctor.reinstall()


@pytest.mark.slow
def test_this_environment_is_healthy():
    bad = [finding for finding in doctor.examine() if finding.status == "bad"]
    assert not bad
