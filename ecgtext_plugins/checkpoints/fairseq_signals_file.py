"""Writing a checkpoint as fairseq-signals reads it."""

from pathlib import Path
from typing import Any

import torch

from ecgtext_plugins.checkpoints._fairseq_signals_cfg import signals_config
from ecgtext_plugins.checkpoints.ecg_fm import N_SAMPLES
from ecgtext_plugins.checkpoints.key_spelling import to_parametrizations
from ecgtext_plugins.checkpoints.networks import ARCFACE, CLASSIFIER, CMSC, DBETA, ENCODER, ENCODER_PREFIXES
from ecgtext_plugins.checkpoints.source import SIGNALS, Source
from ecgtext_plugins.errors import BadCheckpoint
from ecgtext_plugins.modules.conv_stem import parse_conv_layers

MASK = "mask_emb"
CRITERIA = {CLASSIFIER: "BinaryCrossEntropyWithLogitsCriterion", ARCFACE: "ArcFaceCriterion"}
PROJECTION, PREDICTION = "post_extract_proj.weight", "final_proj.weight"


def write_fairseq_signals(path: Path, source: Source) -> tuple[dict[str, str], list[str]]:
    """Write a checkpoint for fairseq-signals: no optimizer state, metrics or paths of the machine it was trained on.

    D-BETA's ECG encoder is written alone, as the model ``ecg_transformer``.

    Returns
    -------
    left : dict of str
        Keys that are not in the file, with the reason.
    notes : list of str
        What the file cannot say.

    Raises
    ------
    BadCheckpoint
        When fairseq-signals builds another network of the config.
    """
    family, left = source.family, {}
    weights, values = source.weights, source.config["model"]
    if family == DBETA:
        family, prefix = ENCODER, ENCODER_PREFIXES[DBETA]
        left = {key: _why_left(key) for key in weights if not key.startswith(prefix)}
        weights = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    if family == CMSC and PREDICTION not in weights:  # trained without masks
        family = ENCODER
    width, layers = values["encoder_embed_dim"], parse_conv_layers(values["conv_feature_layers"])
    if layers[-1][0] == width and PROJECTION in weights:
        raise BadCheckpoint(
            f"the stem ends in {width} channels, the encoder's width: fairseq-signals builds such a model without "
            f"{PROJECTION}, which this one has; expected another width"
        )
    config = signals_config(family, values, source.sample_rate)
    config["model"]["apply_mask"] = any(key.endswith(MASK) for key in weights)  # builds it there, whatever mask_prob
    config["task"] |= {key: True for key in source.unheeded}
    if source.layout == SIGNALS:
        config["task"] |= {key: value for key, value in source.config["task"].items() if key in config["task"]}
    state = {
        "args": None,
        "cfg": config,
        "model": to_parametrizations({key: value.detach().contiguous() for key, value in weights.items()}),
        "criterion": None,
        "optimizer_history": [_history(family, source)],
        "task_state": {},
        "extra_state": {
            "metrics": {},
            "previous_training_time": 0.0,
            "train_iterator": {"version": 2, "epoch": 1, "iterations_in_epoch": 0, "shuffle": True},
            "val_loss": None,
        },
    }
    torch.save(state, path)
    return left, _notes(family, source)


def _history(family: str, source: Source) -> dict[str, Any]:
    return {
        "criterion_name": CRITERIA.get(family, "Wav2Vec2WithCMSCCriterion"),
        "optimizer_name": "Adam",
        "lr_scheduler_state": {"lr": 5e-05},
        "num_updates": source.updates or 0,
    }


def _why_left(key: str) -> str:
    if key == "class_embedding":
        return "fairseq-signals' ECG encoder has no class token"
    if key.startswith(("language_encoder.", "multi_modal_language", "unimodal_language")):
        return "text"
    return "outside the ECG encoder"


def _notes(family: str, source: Source) -> list[str]:
    notes = ["no optimizer state: a run that continues from it begins its optimizer anew"]
    if source.labels is not None and not all(name == f"label_{n}" for n, name in enumerate(source.labels)):
        notes.append("the names of the labels have no place in the file: " + ", ".join(source.labels))
    if source.n_samples != N_SAMPLES:
        notes.append(f"windows of {source.n_samples} samples have no place in the file, whose readers take {N_SAMPLES}")
    if not source.standardize:
        notes.append("trained on millivolt, while fairseq-signals' preprocessing standardises each lead")
    if family == ENCODER:
        notes.append("an ECG encoder alone (ecg_transformer): fine-tune from it with model.model_path")
    return notes
