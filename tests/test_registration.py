"""Registration in every import order, by user_dir and by hydra's plugin; foreign names and foreign applications."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHECK = """
from ecgtext_plugins.registration import OWN_NAMES, registries
for kind, names in OWN_NAMES.items():
    for name in names:
        assert registries()[kind][name].__module__.startswith("ecgtext_plugins."), (kind, name)
print("all ours")
"""
USER_DIR = f"""
import argparse
from fairseq import utils
utils.import_user_module(argparse.Namespace(user_dir={str(ROOT / "ecgtext_plugins")!r}))
"""


def python(code, cwd=ROOT):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd)


@pytest.mark.parametrize(
    "steps",
    {
        "user_dir": USER_DIR,
        "package_fairseq_user_dir": "import ecgtext_plugins, fairseq\n" + USER_DIR + "ecgtext_plugins.register_all()",
        "fairseq_package": "import fairseq, ecgtext_plugins\necgtext_plugins.register_all()",
        "register_user_dir_register": (
            "import ecgtext_plugins\necgtext_plugins.register_all()\n" + USER_DIR + "ecgtext_plugins.register_all()"
        ),
        "model_first": "import ecgtext_plugins.models.dbeta, ecgtext_plugins\necgtext_plugins.register_all()",
        "criterion_first": "import ecgtext_plugins.criterions.ets, ecgtext_plugins\necgtext_plugins.register_all()",
    }.values(),
    ids=[
        "user_dir",
        "package_fairseq_user_dir",
        "fairseq_package",
        "register_user_dir_register",
        "model_first",
        "criterion_first",
    ],
)
def test_every_order(steps):
    done = python(steps + CHECK)
    assert done.stdout.strip().endswith("all ours"), done.stderr


@pytest.mark.parametrize("kind", ["task", "model", "criterion"])
def test_a_taken_name_is_an_error(kind):
    foreign = {
        "task": "from fairseq.tasks import FairseqTask as B, register_task as r\nname = 'ecg_text_pretraining'",
        "model": "from fairseq.models import BaseFairseqModel as B, register_model as r\nname = 'dbeta'",
        "criterion": "from fairseq.criterions import FairseqCriterion as B, register_criterion as r\nname = 'ets'",
    }[kind]
    code = (
        f"{foreign}\nclass Foreign(B): pass\nr(name)(Foreign)\nimport ecgtext_plugins\necgtext_plugins.register_all()"
    )
    done = python(code)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "BadEnvironment" in last and f"the fairseq {kind} '" in last and "__main__.Foreign" in last


def test_import_is_light():
    heavy = ("torch", "fairseq", "numpy", "transformers")
    code = f"import sys, ecgtext_plugins; print([m for m in {heavy} if m in sys.modules])"
    assert python(code).stdout.strip() == "[]"


def test_another_hydra_application_is_left_alone(tmp_path):
    """Its config is the same with and without the plugin, and neither our package nor torch or fairseq is imported."""
    (tmp_path / "config.yaml").write_text("a: 1\nb: {c: text}\n")
    (tmp_path / "app.py").write_text(
        "import sys, hydra\n"
        "from omegaconf import OmegaConf\n"
        "@hydra.main(config_path='.', config_name='config', version_base='1.3')\n"
        "def main(cfg):\n"
        "    print(OmegaConf.to_container(cfg))\n"
        "    print([m for m in ('ecgtext_plugins', 'torch', 'fairseq') if m in sys.modules])\n"
        "    from hydra.core.hydra_config import HydraConfig\n"
        "    print([s.provider for s in HydraConfig.get().runtime.config_sources])\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "app.py"], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines() == ["{'a': 1, 'b': {'c': 'text'}}", "[]", "['hydra', 'main', 'schema']"], (
        done.stderr
    )


def test_missing_fairseq_is_told():
    code = "import sys; sys.modules['fairseq'] = None\nimport ecgtext_plugins\necgtext_plugins.register_all()"
    assert "run ecgtext doctor" in python(code).stderr.strip().splitlines()[-1]
