"""Registers our names with fairseq and checks that each of them is ours."""

import importlib

from ecgtext_plugins.errors import BadEnvironment

OWN_NAMES = {
    "task": ("ecg_text_pretraining", "ecg_pretraining", "ecg_classification", "ecg_identification"),
    "model": ("dbeta", "wav2vec2_cmsc", "ecg_transformer_classifier", "arcface"),
    "criterion": (
        *("mlm", "mem", "etm", "ets", "dbeta"),
        *("wav2vec2_with_cmsc", "cmsc", "simclr", "binary_cross_entropy_with_logits", "arcface"),
    ),
    "optimizer": ("adamw",),
}
ROOMS = {"task": "tasks", "model": "models", "criterion": "criterions", "optimizer": "optimizers"}


def registries() -> dict[str, dict[str, type]]:
    """Return fairseq's registries of tasks, models, criteria and optimizers."""
    from fairseq.criterions import CRITERION_REGISTRY
    from fairseq.models import MODEL_REGISTRY
    from fairseq.optim import OPTIMIZER_REGISTRY
    from fairseq.tasks import TASK_REGISTRY

    return {
        "task": TASK_REGISTRY,
        "model": MODEL_REGISTRY,
        "criterion": CRITERION_REGISTRY,
        "optimizer": OPTIMIZER_REGISTRY,
    }


def _owner(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def register_all() -> None:
    """See `ecgtext_plugins.register_all`.

    fairseq hands back the other class silently when a task or model name is taken, so ownership is checked here.
    """
    try:
        taken = registries()
    except ImportError as error:
        raise BadEnvironment(
            f"fairseq cannot be imported ({error}): expected fairseq-fixed==0.12.3.1; run ecgtext doctor"
        ) from error
    _check(taken)
    for kind, names in OWN_NAMES.items():
        for name in names:
            importlib.import_module(f"ecgtext_plugins.{ROOMS[kind]}.{name}")
    _check(taken, complete=True)


def _check(taken: dict[str, dict[str, type]], complete: bool = False) -> None:
    for kind, names in OWN_NAMES.items():
        for name in names:
            cls = taken[kind].get(name)
            if cls is None and not complete:
                continue
            if cls is None or not cls.__module__.startswith("ecgtext_plugins."):
                found = "nothing" if cls is None else _owner(cls)
                raise BadEnvironment(
                    f"the fairseq {kind} '{name}' is {found}, expected the one of ecgtext_plugins: remove the other "
                    "package or rename its registration"
                )
