"""Small models of ECG-FM's family and the files that hold them: as fairseq-signals and as training here write them."""

import dataclasses

import torch

from ecgtext_plugins.checkpoints.key_spelling import to_parametrizations
from ecgtext_plugins.modules.arcface import ArcFace
from ecgtext_plugins.modules.ecg_classifier import EcgClassifier, EcgClassifierConfig
from ecgtext_plugins.modules.wav2vec2_cmsc import Wav2Vec2Cmsc, Wav2Vec2CmscConfig

SIZES = {
    "conv_feature_layers": "[(16, 2, 2), (24, 2, 2), (24, 4, 4)]",
    "conv_pos": 8,
    "conv_pos_groups": 4,
    "encoder_layers": 3,
    "encoder_embed_dim": 128,
    "encoder_ffn_embed_dim": 96,
    "encoder_attention_heads": 2,
    "initializer_range": 0.2,
}
NETWORKS = {
    "wav2vec2_cmsc": (Wav2Vec2Cmsc, Wav2Vec2CmscConfig, {"final_dim": 8, "latent_vars": 6}),
    "ecg_transformer_classifier": (EcgClassifier, EcgClassifierConfig, {"num_labels": 3}),
    "arcface": (ArcFace, EcgClassifierConfig, {"num_labels": 5}),
}


def tiny_network(family, seed=5, **changes):
    network, config, own = NETWORKS[family]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network(config(**SIZES | own | changes)).eval()


def save_signals(path, network, family, spelling=to_parametrizations, **extra):
    """As fairseq-signals' trainer does, as far as it is read here."""
    model = {"_name": family, **dataclasses.asdict(network.config)}
    state = {"args": None, "cfg": {"model": model, "task": {"sample_rate": None}}, "task_state": {}}
    torch.save(state | {"model": spelling(network.state_dict())} | extra, path)
    return path


def save_trained_ecg(path, network, family, updates=7, **more):
    """As training here does."""
    state = {
        "cfg": {"model": {"_name": family, **dataclasses.asdict(network.config)}, "task": {"standardize": False}},
        "task_state": {"sample_rate": 100.0, "n_samples": 400, "standardize": False, **more},
        "optimizer_history": [{"num_updates": updates}],
        "model": network.state_dict(),
    }
    torch.save(state, path)
    return path
