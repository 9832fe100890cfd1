"""What fairseq-hydra-train composes: typed defaults, refused typos, shipped YAMLs with every key and value."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parents[2]
YAMLS = sorted(path.relative_to(ROOT) for path in (ROOT / "examples").rglob("*.yaml"))
RECIPES = [path for path in YAMLS if path.parent.name != "run_config"]
GROUPS = ["task=ecg_text_pretraining", "model=dbeta", "criterion=dbeta"]
AT_ONCE = ("base", "demo", "w2v_cmsc_rlm", "diagnosis")
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
    assert {path.stem for path in RECIPES} >= {"base", "demo", "w2v_cmsc_rlm", "diagnosis", "identification"}


@pytest.mark.parametrize(
    "recipe",
    [path if path.stem in AT_ONCE else pytest.param(path, marks=pytest.mark.slow) for path in RECIPES],
    ids=str,
)
def test_shipped_yaml_composes_to_itself_and_names_every_key(recipe):
    """Each value of the file arrives, each key of the groups is in the file, and no value is an absolute path."""
    body = load(ROOT / recipe)
    defaults = body.pop("defaults")
    hydra = body.pop("hydra")
    own = (ROOT / recipe.parent / "run_config").is_dir()
    launcher = "run_config" if own else "/dbeta/pretraining/run_config"
    assert defaults[-2:] == ["_self_", {launcher: "cpu"}]
    assert {f"/{key}": body[key]["_name"] for key in OURS} == {k: v for d in defaults[:-2] for k, v in d.items()}
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


ABLATIONS = {
    "table6_without_n3s": {"task.negative_strategy": "random"},
    "table6_flan_t5_only": {"task.negative_strategy": "random", "criterion.ets_weight": 0.0},
    "table6_none": {
        "task.negative_strategy": "random",
        "criterion.ets_weight": 0.0,
        "task.text_encoder": "bert-base-uncased",
    },
    "table7_bert": {"task.text_encoder": "bert-base-uncased"},
    "table7_deberta": {"task.text_encoder": "microsoft/deberta-v3-base"},
    "table7_medcpt": {"task.text_encoder": "ncbi/MedCPT-Query-Encoder"},
    "table8_1_layers": {"model.encoder_layers": 1},
    "table8_4_layers": {"model.encoder_layers": 4},
    "table12_without_etm": {"criterion.etm_weight": 0.0},
    "table13_without_mlm_mem": {"criterion.mlm_weight": 0.0, "criterion.mem_weight": 0.0},
    "equations": {
        "criterion.ets_duplicates": "negative",
        "criterion.mem_normalize": "none",
        "criterion.mem_reduction": "sum_per_ecg",
        "criterion.mlm_reduction": "sum_per_report",
    },
    "release": {
        "task.mlm_on_negatives": "score",
        "model.text_attention_mask": False,
        "criterion.ets_reduction": "mean",
        "criterion.ets_duplicates": "negative",
        "criterion.mem_target": "input",
    },
}


def test_ablations_differ_from_the_published_recipe_in_what_they_are_named_for():
    base = load(ROOT / "examples/dbeta/pretraining/base.yaml")
    pretraining = [path for path in RECIPES if path.parts[1] == "dbeta" and path.parts[2] != "finetuning"]
    paths = [path for path in pretraining if path.stem not in ("base", "demo")]
    found = {path.stem: load(ROOT / path) for path in paths}
    assert set(found) == set(ABLATIONS)
    for name, recipe in found.items():
        changes = {
            f"{group}.{key}": value
            for group in set(recipe) - {"defaults", "hydra"}
            for key, value in recipe[group].items()
            if value != base[group][key]
        }
        assert changes == ABLATIONS[name] and set(recipe) == set(base)
        assert recipe["hydra"]["run"]["dir"] == f"runs/dbeta_{name}"


@pytest.mark.slow
def test_launchers_change_the_launch_alone(tmp_path):
    arguments = "--config-dir", ROOT / "examples/dbeta/pretraining", "--config-name", "base", "task.data=DATA"
    plain = composed(*arguments, cwd=tmp_path)
    gpu = composed(*arguments, "run_config=gpu", cwd=tmp_path)
    torchrun = composed(*arguments, "run_config=torchrun", cwd=tmp_path)
    slurm = composed(*arguments, "run_config=slurm", cwd=tmp_path)
    assert gpu["task"]["bf16_autocast"] and gpu["model"]["compile_layers"] and gpu["dataset"]["num_workers"] == 8
    assert torchrun["distributed_training"]["distributed_init_method"] == "env://"
    assert slurm["distributed_training"]["distributed_port"] == 29671
    for config in (gpu, torchrun, slurm):
        assert {key: config[key] for key in ("criterion", "optimizer", "lr_scheduler", "optimization")} == {
            key: plain[key] for key in ("criterion", "optimizer", "lr_scheduler", "optimization")
        }


@pytest.mark.parametrize(("name", "parent", "lr"), [("dx", "diagnosis", [5e-5]), ("id", "identification", [1e-4])])
def test_d_beta_is_fine_tuned_as_published(name, parent, lr):
    """In D-BETA's sizes, on millivolt; all else is what ECG-FM's fine-tuning has."""
    ours = load(ROOT / f"examples/dbeta/finetuning/{name}.yaml")
    theirs = load(ROOT / f"examples/ecg_fm/finetuning/{parent}.yaml")
    sizes = load(ROOT / "examples/dbeta/pretraining/base.yaml")["model"]
    changes = {
        f"{group}.{key}": value
        for group in set(ours) - {"defaults", "hydra"}
        for key, value in ours[group].items()
        if value != theirs[group][key]
    }
    expected = {"dataset.batch_size": 256, "dataset.batch_size_valid": 256, "task.standardize": False}
    expected |= {"optimization.max_update": 0} if name == "dx" else {"optimization.lr": lr}
    assert changes == expected | {"model.encoder_layers": sizes["encoder_layers"]}
    shape = ("in_d", "conv_feature_layers", "conv_pos", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_layers")
    assert {key: ours["model"][key] for key in shape} == {key: sizes[key] for key in shape}
    assert (ours["optimization"]["lr"], ours["optimization"]["max_epoch"]) == (lr, 100)
    assert ours["optimizer"]["weight_decay"] == 0 and ours["lr_scheduler"]["_name"] == "fixed"  # Adam
    if name == "id":
        assert (ours["criterion"]["scale"], ours["criterion"]["margin"]) == (192.0, 1.0)
