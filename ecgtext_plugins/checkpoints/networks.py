"""From a family's name to the classes of its config and network, and a network built of them."""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ecgtext_plugins.checkpoints.source import Source
from ecgtext_plugins.checkpoints.weights import check_keys
from ecgtext_plugins.errors import BadCheckpoint
from ecgtext_plugins.modules.arcface import ArcFace
from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.modules.ecg_classifier import EcgClassifier, EcgClassifierConfig
from ecgtext_plugins.modules.ecg_encoder import EcgEncoder, EcgEncoderConfig
from ecgtext_plugins.modules.ecg_tower import EcgTower
from ecgtext_plugins.modules.wav2vec2_cmsc import Wav2Vec2Cmsc, Wav2Vec2CmscConfig
from ecgtext_plugins.text.encoders import build_text_encoder

DBETA, CMSC, CLASSIFIER, ARCFACE, ENCODER = FAMILIES = (
    *("dbeta", "wav2vec2_cmsc", "ecg_transformer_classifier", "arcface"),
    "ecg_transformer",  # an ECG encoder alone
)
ENCODER_PREFIXES = {DBETA: "ecg_encoder.", CMSC: "", CLASSIFIER: "encoder.", ARCFACE: "encoder.", ENCODER: ""}
CONFIGS = {
    DBETA: DBetaConfig,
    CMSC: Wav2Vec2CmscConfig,
    CLASSIFIER: EcgClassifierConfig,
    ARCFACE: EcgClassifierConfig,
    ENCODER: EcgEncoderConfig,
}


def model_config(family: str, values: dict[str, Any]) -> Any:
    """Make a family's config of the values that it has fields for."""
    config_class = CONFIGS[family]
    names = {field.name for field in dataclasses.fields(config_class)}
    return config_class(**{name: value for name, value in values.items() if name in names})


def build_network(path: str | Path, source: Source, seed: int = 0, ecg_only: bool = False) -> nn.Module:
    """Build the network of a checkpoint with initial weights.

    Parameters
    ----------
    path : path-like
        Of the checkpoint, for the error.
    source : Source
    seed : int
        Of the initial weights.
    ecg_only : bool
        Of D-BETA, build the path from an ECG to its features alone.

    Raises
    ------
    BadCheckpoint
        When the config has values that no network can be built of.
    """
    config = source.model_config
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if source.family == DBETA:
                return EcgTower(config) if ecg_only else DBeta(config, build_text_encoder(source.text_config))
            if source.family == CLASSIFIER:
                return EcgClassifier(config)
            if source.family == ARCFACE:
                return ArcFace(config)
            return Wav2Vec2Cmsc(config) if source.family == CMSC else EcgEncoder(config)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadCheckpoint(
            f"checkpoint {path} has a config that cannot be built ({error}): expected the one it was trained with"
        ) from error


def check_source(path: str | Path, source: Source) -> None:
    """Refuse a checkpoint whose weights are not those of its config's network.

    Raises
    ------
    MisfitCheckpoint
        With all keys that are missing, unexpected or of another shape.
    """
    with torch.device("meta"):  # shapes without values
        network = build_network(path, source)
    check_keys(path, network, source.weights)
