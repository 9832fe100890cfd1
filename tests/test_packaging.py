"""Wheel, editable install and source distribution, really built from a copy of the checkout, offline."""

import email
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NOT_SOURCES = shutil.ignore_patterns(".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", "outputs")
RECIPE_KINDS = {".yaml", ".json", ".md", ".py"}

pytestmark = pytest.mark.slow


def run(*command, cwd):
    """Run a command outside the checkout's influence; its output when it succeeds, a failed test when it doesn't."""
    settings = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    answer = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=settings, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert answer.returncode == 0, f"{command}\n{answer.stdout[-3000:]}\n{answer.stderr[-3000:]}"
    return answer.stdout


def environment(folder):
    """Make a virtual environment that sees the libraries of this one, but none of its editable installs."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    (site,) = folder.glob("lib/python3.*/site-packages")
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "libraries.pth").write_text("".join(f"{library}\n" for library in sorted(libraries)))
    return folder / "bin" / "python"


def pip_install(python, *arguments, cwd):
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """Return a copy of the checkout, in a folder whose name has a space."""
    folder = tmp_path_factory.mktemp("source") / "a checkout"
    shutil.copytree(REPOSITORY, folder, ignore=NOT_SOURCES)
    return folder


@pytest.fixture(scope="module")
def wheel(copy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, copy, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel):
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Return the Python of an environment into which the wheel was installed, and an empty folder to work in."""
    folder = tmp_path_factory.mktemp("installed")
    python = environment(folder / "venv")
    pip_install(python, wheel, cwd=folder)
    (folder / "work").mkdir()
    return python, folder / "work"


def files(copy, top):
    return {
        path.relative_to(copy).as_posix()
        for path in (copy / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path)
    }


def test_wheel_has_the_whole_package_and_nothing_else(copy, names):
    expected = files(copy, "ecgtext_plugins") | files(copy, "hydra_plugins")
    code = {name for name in names if ".dist-info/" not in name and "/_recipes/" not in name}
    assert code == expected
    assert "hydra_plugins/__init__.py" not in names and "hydra_plugins/ecgtext/__init__.py" in names


def test_wheel_has_every_recipe_but_not_the_checkout_s_launcher(copy, names):
    recipes = {name for top in ("examples", "manifests") for name in files(copy, top)}
    expected = {name for name in recipes if Path(name).suffix in RECIPE_KINDS} - {"examples/demo.py"}
    prefix = "ecgtext_plugins/_recipes/"
    assert {name.removeprefix(prefix) for name in names if name.startswith(prefix)} == expected
    assert "manifests/mimic_iv_ecg.yaml" in expected


def test_wheel_names_licence_and_command(wheel, names):
    (metadata,) = {name for name in names if name.endswith(".dist-info/METADATA")}
    headers = email.message_from_bytes(zipfile.ZipFile(wheel).read(metadata))
    assert set(headers["Requires-Python"].split(",")) == {">=3.10", "<3.13"}
    assert "fairseq-fixed==0.12.3.1" in headers.get_all("Requires-Dist")
    commands = zipfile.ZipFile(wheel).read(metadata.replace("METADATA", "entry_points.txt")).decode()
    assert "ecgtext = ecgtext_plugins.cli.main:main" in commands
    assert any(name.endswith("LICENSE") for name in names)


def test_build_leaves_the_checkout_without_recipes_in_the_package(copy, wheel):
    assert not (copy / "ecgtext_plugins" / "_recipes").exists()


def test_installed_wheel_finds_its_recipes(installed):
    python, work = installed
    code = "from ecgtext_plugins import recipes; print(recipes.recipes_root()); recipes.find_recipe('mimic_iv_ecg')"
    root = Path(run(python, "-c", code, cwd=work).strip())
    assert root.name == "_recipes" and python.parent.parent in root.parents


def test_installed_command_works(installed):
    python, work = installed
    assert "usage: ecgtext" in run(python.with_name("ecgtext"), "--help", cwd=work)


def train(python, *arguments, cwd):
    code = "import sys; from fairseq_cli.hydra_train import cli_main; sys.argv[0] = 'fairseq-hydra-train'; cli_main()"
    return run(python, "-c", code, *arguments, cwd=cwd)


def test_stock_fairseq_sees_our_groups_from_the_wheel(installed):
    python, work = installed
    out = train(python, "task=ecg_text_pretraining", "model=dbeta", "criterion=dbeta", "--cfg", "job", cwd=work)
    for group, name in (("task", "ecg_text_pretraining"), ("model", "dbeta"), ("criterion", "dbeta")):
        section = out.split(f"\n{group}:\n", 1)[1].split("\n", 30)
        body = [line for line in section if line.startswith("  ")]
        assert f"  _name: {name}" in body and len(body) > 1


def test_training_recipe_by_name_from_the_wheel_is_the_one_of_the_checkout(copy, installed):
    python, work = installed
    by_name = train(python, "--config-name", "dbeta/pretraining/base", "--cfg", "job", cwd=work)
    folder = copy / "examples" / "dbeta" / "pretraining"
    by_folder = train(python, "--config-dir", folder, "--config-name", "base", "--cfg", "job", cwd=work)
    assert by_name == by_folder
    assert "  _name: dbeta\n" in by_name and "  log_file: null\n" in by_name  # the second is fairseq's


def test_editable_install_is_a_plain_path_and_hydra_finds_the_plugin(copy, tmp_path):
    from ecgtext_plugins.cli.doctor import HYDRA_CODE

    python = environment(tmp_path / "venv")
    pip_install(python, "--no-build-isolation", "-e", copy, cwd=tmp_path)
    (entry,) = (tmp_path / "venv").glob("lib/python3.*/site-packages/__editable__*")
    assert entry.suffix == ".pth" and entry.read_text().strip() == str(copy)
    assert "EcgText" in run(python, "-c", HYDRA_CODE, cwd=tmp_path)
    assert not (copy / "ecgtext_plugins" / "_recipes").exists()
    code = "from ecgtext_plugins import recipes; print(recipes.recipes_root())"
    assert run(python, "-c", code, cwd=tmp_path).strip() == str(copy)


def test_source_distribution_can_build_the_same_wheel(copy, names, tmp_path):
    run(sys.executable, "setup.py", "-q", "sdist", "--dist-dir", tmp_path, cwd=copy)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        packed = {name.partition("/")[2] for name in tar.getnames()}
    sources = {name.removeprefix("ecgtext_plugins/_recipes/") for name in names if ".dist-info/" not in name}
    assert sources <= packed
    assert {"setup.py", "pyproject.toml", "LICENSE", "examples/demo.py", "tests/run.py"} <= packed
