"""Small random models as `ecgtext_plugins.load` returns them, and recordings in files."""

import numpy as np

from ecgtext_plugins.checkpoints.ecg_model import EcgModel
from ecgtext_plugins.checkpoints.networks import build_network, model_config
from ecgtext_plugins.checkpoints.source import TRAINING, Source
from ecgtext_plugins.signals.leads import LEADS
from tests.builders import ecg_counts, write_record

SIZES = {
    "conv_feature_layers": "[(16, 2, 2)] * 4",
    "conv_pos": 8,
    "conv_pos_groups": 4,
    "encoder_layers": 2,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 48,
    "encoder_attention_heads": 4,
    "final_dim": 16,
    "latent_vars": 8,
    "initializer_range": 0.3,
}


def tiny_ecg_model(path, labels=None, standardize=True, n_samples=400, rate=100.0):
    """Make a classifier of these labels, or a pretraining model without; `path` stands for its file."""
    path.write_bytes(b"weights")
    family = "wav2vec2_cmsc" if labels is None else "ecg_transformer_classifier"
    config = model_config(family, SIZES | ({} if labels is None else {"num_labels": len(labels)}))
    source = Source(family, TRAINING, config, {}, rate, n_samples, {}, standardize=standardize, labels=labels)
    return EcgModel(build_network(path, source, seed=3), source, path).eval().requires_grad_(False)


def write_recordings(folder, lengths=(1000, 900, 400, 250, 1300), rate=100, leads=LEADS):
    """Write WFDB records r0, r1, ... of these lengths; return their counts, 5 uV a step."""
    rng = np.random.default_rng(7)
    counts = [ecg_counts(rng, length, rate) for length in lengths]
    for place, values in enumerate(counts):
        write_record(folder, f"r{place}", values, leads=leads, rate=rate)
    return counts
