"""Small D-BETA models and the files that hold them: as released, and as training writes them."""

import dataclasses

import torch

from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.text.embedded_files import text_encoder_files
from ecgtext_plugins.text.encoders import load_text_encoder

SIZES = {  # of heads as wide as the release's, so that a config is not needed
    "conv_feature_layers": "[(16, 2, 2), (24, 2, 2), (24, 4, 4)]",
    "conv_pos": 8,
    "conv_pos_groups": 4,
    "encoder_layers": 3,
    "encoder_embed_dim": 128,
    "encoder_ffn_embed_dim": 96,
    "encoder_attention_heads": 2,
    "hidden_dim": 64,
    "num_heads": 1,
    "num_top_layer": 2,
    "mem_layer": 2,
    "mem_decoder_hidden_dim": 64,
    "mem_decoder_num_layers": 1,
    "mem_decoder_num_heads": 1,
    "initializer_range": 0.2,
}


def tiny_dbeta(text_folder, **changes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return DBeta(DBetaConfig(**SIZES | changes), load_text_encoder(text_folder)).eval()


def save_released(path, model, **extra):
    torch.save({"model": model.state_dict() | {"ecg_encoder.mask_emb": torch.zeros(128)}, **extra}, path)
    return path


def save_trained(path, model, text_folder, updates=3):
    """Write what a run of `fairseq-hydra-train` keeps, as far as it is read here, with an optimizer's state."""
    torch.save(
        {
            "model": model.state_dict(),
            "cfg": {
                "model": {"_name": "dbeta", **dataclasses.asdict(model.config)},
                "task": {"max_text_tokens": 16},
            },
            "task_state": {
                "text_encoder_files": text_encoder_files(str(text_folder)),
                "sample_rate": 100.0,
                "n_samples": 400,
            },
            "optimizer_history": [{"num_updates": updates}],
            "last_optimizer_state": {"exp_avg": [torch.zeros_like(value) for value in model.parameters()]},
        },
        path,
    )
    return path


def ecgs(seed=0, n_samples=400):
    return torch.randn(2, 12, n_samples, generator=torch.Generator().manual_seed(seed))
