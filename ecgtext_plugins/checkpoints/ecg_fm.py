"""Checkpoints of ECG-FM's models: fairseq-signals' files, our own training's, and stock fairseq's wav2vec2."""

from pathlib import Path
from typing import Any

from torch import Tensor

from ecgtext_plugins.checkpoints.key_spelling import STOCK as STOCK_POSITION
from ecgtext_plugins.checkpoints.key_spelling import from_stock, to_weight_norm
from ecgtext_plugins.checkpoints.networks import ARCFACE, CLASSIFIER, CMSC, ENCODER, model_config
from ecgtext_plugins.checkpoints.source import SIGNALS, STOCK, TRAINING, Source
from ecgtext_plugins.errors import BadCheckpoint

NAMES = {name: name for name in (CMSC, CLASSIFIER, ARCFACE, ENCODER)} | {"wav2vec2": CMSC}  # the same network
SAMPLE_RATE, N_SAMPLES = 500.0, 2500
MISSING = "???"
HEADS = {CLASSIFIER: "proj.weight", ARCFACE: "kernel"}
FIRST_CONVOLUTION = "feature_extractor.conv_layers.0.0.weight"
FOR_MASKED_FRAMES = ("mask_emb", "quantizer", "project_q", "target_glu", "final_proj")
MIMIC_LABELS = (
    *("Poor data quality", "Sinus rhythm", "Premature ventricular contraction", "Tachycardia"),
    *("Ventricular tachycardia", "Supraventricular tachycardia with aberrancy", "Atrial fibrillation"),
    *("Atrial flutter", "Bradycardia", "Accessory pathway conduction", "Atrioventricular block"),
    *("1st degree atrioventricular block", "Bifascicular block", "Right bundle branch block"),
    *("Left bundle branch block", "Infarction", "Electronic pacemaker"),
)
"""Labels of ECG-FM's classifier of MIMIC-IV-ECG, in the order of its outputs (its label_def.csv)."""
MAXIMUM_LABELS = (
    *("Poor data quality", "Premature ventricular contraction", "Ventricular tachycardia"),
    *("Supraventricular tachycardia with aberrancy", "Electronic pacemaker"),
)
"""Those whose probability of a record is the highest of its windows', not their mean (infer_quickstart.ipynb)."""


def training_config(state: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a fairseq container by groups; of an old one its arguments, under ``model`` and ``task``."""
    config, arguments = state.get("cfg"), state.get("args")
    if isinstance(config, dict):
        return config
    if isinstance(arguments, dict):
        return {
            "model": arguments | {"_name": arguments.get("arch")},
            "task": arguments | {"_name": arguments.get("task")},
        }
    return {}


def is_ecg_fm(state: dict[str, Any]) -> bool:
    """Tell whether a file is a training checkpoint of one of these models."""
    model = training_config(state).get("model")
    return isinstance(model, dict) and model.get("_name") in NAMES and isinstance(state.get("model"), dict)


def read_ecg_fm(path: Path, state: dict[str, Any], labels: list[str] | None = None) -> Source:
    """Read such a checkpoint.

    Parameters
    ----------
    path : Path
    state : dict
        What the file holds.
    labels : list of str, optional
        Names of the outputs; fairseq-signals' files don't tell them. Without them and without the file's own they are
        label_0, label_1, ...

    Raises
    ------
    BadCheckpoint
        When it is of an encoder that is not the one here, or has another number of outputs than labels.
    """
    config = training_config(state)
    values = {key: value for key, value in config["model"].items() if value != MISSING}
    family, weights = NAMES[values["_name"]], state["model"]
    stock = any(str(key).startswith(STOCK_POSITION) for key in weights)
    if stock:
        weights = from_stock(weights)
    weights = to_weight_norm(weights)
    if stock:  # whose pretraining always masks
        values = {"apply_mask": True, "mask_prob": 0.65} | values
    _refuse_other_encoders(path, family, values, weights)
    weights, unused = _without_unused(family, values, weights)
    head = weights.get(HEADS.get(family))
    if isinstance(head, Tensor) and head.ndim == 2:
        values["num_labels"] = len(head)
    kept = state.get("task_state") or {}
    ours = "sample_rate" in kept
    history = state.get("optimizer_history") or [{}]
    names, notes = _labels(path, family, values, labels, kept.get("target_labels"))
    notes += unused
    task = config.get("task") if isinstance(config.get("task"), dict) else {}
    return Source(
        family=family,
        layout=TRAINING if ours else STOCK if stock else SIGNALS,
        model_config=model_config(family, values),
        config=config | {"model": values | {"_name": family}},
        sample_rate=float(kept.get("sample_rate") or task.get("sample_rate") or SAMPLE_RATE),
        n_samples=int(kept.get("n_samples") or N_SAMPLES),
        weights=weights,
        standardize=bool(kept.get("standardize", task.get("standardize", False))) if ours else True,
        labels=names,
        updates=int(history[-1].get("num_updates", 0)),
        notes=notes,
    )


def _labels(
    path: Path, family: str, values: dict, given: list[str] | None, kept: list[str] | None
) -> tuple[list[str] | None, tuple[str, ...]]:
    """Return the names of a classifier's outputs, and what to say of them."""
    if family != CLASSIFIER:
        if given:
            raise BadCheckpoint(
                f"checkpoint {path} is of {family}, which has no labels: expected a classifier's; leave labels out"
            )
        return None, ()
    count, names = int(values.get("num_labels") or 0), given or kept
    if not names:
        return [f"label_{place}" for place in range(count)], (
            f"the checkpoint does not name its {count} outputs: they are label_0 to label_{count - 1}; give their "
            "names with --labels",
        )
    if len(names) != count:
        raise BadCheckpoint(
            f"checkpoint {path} has {count} outputs and {len(names)} labels were given: expected one for each, in the "
            "outputs' order; give the label_def.csv that it was trained with"
        )
    return [str(name) for name in names], ()


def _without_unused(family: str, values: dict, weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Leave out what fairseq-signals builds for masked frames also where the config masks none."""
    if values.get("apply_mask") and values.get("mask_prob"):
        return weights, ()
    prefix = "encoder." if family in HEADS else ""
    unused = [key for key in weights if str(key).removeprefix(prefix).split(".")[0] in FOR_MASKED_FRAMES]
    if not unused:
        return weights, ()
    note = f"{len(unused)} tensors are for masked frames, of which this model has none, and are left out: {unused[0]}"
    return {key: value for key, value in weights.items() if key not in unused}, (note,)


def _refuse_other_encoders(path: Path, family: str, values: dict, weights: dict[str, Tensor]) -> None:
    prefix = "encoder." if family in HEADS else ""
    first = weights.get(prefix + FIRST_CONVOLUTION)
    if isinstance(first, Tensor) and first.ndim == 3 and first.shape[1] == 1:
        raise BadCheckpoint(
            f"checkpoint {path} is a wav2vec2 of one channel, as stock fairseq trains it on audio (first convolution "
            f"{tuple(first.shape)}): expected 12 leads; its stem cannot take them"
        )
    if values.get("extractor_mode", "default") != "default":
        raise BadCheckpoint(
            f"checkpoint {path} has extractor_mode={values['extractor_mode']}: expected default, a group norm after "
            "the first convolution, the only stem here"
        )
