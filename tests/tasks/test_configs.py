"""What fairseq-hydra-train composes: typed defaults, refused typos, shipped YAMLs with every key and value."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted(path.relative_to(ROOT) for path in (ROOT / "examples").rglob("*.yaml"))
GROUPS = ["task=ecg_text_pretraining", "model=dbeta", "criterion=dbeta"]
OURS = ("task", "model", "criterion", "optimizer", "lr_scheduler")


def hydra_train(*arguments, cwd=ROOT):
    command = [str(Path(sys.executable).with_name("fairseq-hydra-train")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, stdin=subprocess.DEVNULL)


def composed(*arguments, cwd=ROOT):
    done = hydra_train(*arguments, "--cfg", "job", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return OmegaConf.to_container(OmegaConf.create(done.stdout))


def load(path):
    return OmegaConf.to_container(OmegaConf.load(path))


def dataclass_of(group, name):
    import ecgtext_plugins

    ecgtext_plugins.register_all()
    from fairseq.models import MODEL_DATACLASS_REGISTRY
    from fairseq.registry import REGISTRIES
    from fairseq.tasks import TASK_DATACLASS_REGISTRY

    registry = {"task": TASK_DATACLASS_REGISTRY, "model": MODEL_DATACLASS_REGISTRY}.get(group)
    return (registry or REGISTRIES[group]["dataclass_registry"])[name]


def test_stock_command_prints_our_typed_defaults(tmp_path):
    config = composed(*GROUPS, cwd=tmp_path)
    for group, name in (("task", "ecg_text_pretraining"), ("model", "dbeta"), ("criterion", "dbeta")):
        expected = OmegaConf.to_container(OmegaConf.structured(dataclass_of(group, name)))
        assert config[group] == {**expected, "_name": name}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("task.mlm_prbo=0.3", "Key 'mlm_prbo'"),
        ("task.mlm_prob=abc", "Value 'abc' of type 'str' could not be converted to Float"),
        ("model.encoder_layer=2", "Key 'encoder_layer'"),
        ("criterion.ets_wieght=0", "Key 'ets_wieght'"),
    ],
)
def test_typos_and_wrong_types_are_refused(tmp_path, override, said):
    done = hydra_train(*GROUPS, override, "--cfg", "job", cwd=tmp_path)
    assert done.returncode != 0
    assert said in done.stderr


def test_recipes_are_there():
    assert {path.stem for path in RECIPES} >= {"base", "demo"}


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_shipped_yaml_composes_to_itself_and_names_every_key(recipe):
    """Each value of the file arrives, each key of the groups is in the file, and no value is an absolute path."""
    body = load(ROOT / recipe)
    defaults = body.pop("defaults")
    hydra = body.pop("hydra")
    assert defaults[-1] == "_self_"
    assert {f"/{key}": body[key]["_name"] for key in OURS} == {k: v for d in defaults[:-1] for k, v in d.items()}
    assert hydra["job"]["chdir"] is False and not Path(hydra["run"]["dir"]).is_absolute()
    config = composed("--config-dir", recipe.parent, "--config-name", recipe.stem, "task.data=DATA/manifests")
    for group, values in body.items():
        for key, value in values.items():
            expected = "DATA/manifests" if (group, key) == ("task", "data") else value
            assert config[group][key] == expected, (group, key)
            assert not str(value).startswith("/")
    for group in OURS:
        names = {field.name for field in dataclasses.fields(dataclass_of(group, body[group]["_name"]))}
        assert set(body[group]) == names, group


def test_recipes_resolve_by_name_without_a_folder(tmp_path):
    config = composed("--config-name", "dbeta/pretraining/demo", "task.data=DATA/manifests", cwd=tmp_path)
    folder = ROOT / "examples/dbeta/pretraining"
    assert config == composed("--config-dir", folder, "--config-name", "demo", "task.data=DATA/manifests", cwd=tmp_path)
