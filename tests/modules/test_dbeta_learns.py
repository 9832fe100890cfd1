"""All four losses fall when a tiny D-BETA sees the same few pairs again and again."""

import torch

from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.modules.etm_loss import etm_loss
from ecgtext_plugins.modules.ets_loss import ets_labels, ets_logits, ets_loss
from ecgtext_plugins.modules.mem_loss import mem_loss
from ecgtext_plugins.modules.mlm_loss import mlm_loss
from ecgtext_plugins.modules.patch_masking import patch_targets
from ecgtext_plugins.text.encoders import build_text_encoder

SIZES = {
    "conv_feature_layers": "[(32, 2, 2)] * 3",
    "conv_pos": 8,
    "conv_pos_groups": 4,
    "encoder_layers": 1,
    "encoder_embed_dim": 64,
    "encoder_ffn_embed_dim": 128,
    "encoder_attention_heads": 4,
    "hidden_dim": 64,
    "num_heads": 4,
    "num_top_layer": 1,
    "mem_layer": 1,
    "mem_prob": 0.25,
    "mem_decoder_hidden_dim": 64,
    "mem_decoder_num_layers": 1,
    "mem_decoder_num_heads": 4,
    "initializer_range": 0.08,
    "layer_norm_first": True,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "dropout_input": 0.0,
    "drop_rate": 0.0,
}


def test_overfits_four_pairs():
    torch.manual_seed(0)
    t5 = {"vocab_size": 40, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4, "dropout_rate": 0.0}
    model = DBeta(DBetaConfig(**SIZES), build_text_encoder(t5)).train()
    time = torch.arange(160) / 160
    rates = torch.tensor([3.0, 5.0, 8.0, 12.0])[:, None, None]
    gains = torch.linspace(-1, 1, 12)[None, :, None]
    ecg = torch.sin(2 * torch.pi * rates * time) * gains
    text = torch.randint(3, 40, (4, 8))
    masked = text.clone()
    masked[:, 3] = 2
    positions = torch.zeros(4, 8, dtype=torch.bool)
    positions[:, 3] = True
    aligned, own, shown = torch.tensor([1, 1, 1, 0]), torch.arange(4), torch.tensor([0, 1, 2, 9])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for _ in range(150):
        out = model(ecg, masked)
        logits = ets_logits(out["ecg_features"], out["text_features"], 1.0, 0.0, normalize=False)
        losses = [
            mlm_loss(out["mlm_logits"][positions], text[positions], 4),
            mem_loss(out["mem_logits"], patch_targets(ecg, model.samples_per_patch), out["mem_removed"]),
            etm_loss(out["etm_logits"], aligned),
            ets_loss(logits, ets_labels(aligned, own, shown)),
        ]
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()
        history.append([loss.item() for loss in losses])
    start, end = torch.tensor(history[0]), torch.tensor(history[-10:]).mean(0)
    assert (start > torch.tensor([2.0, 1.0, 0.4, 2.0])).all(), start
    # MEM hides other patches each time, and 1 is the variance of its target
    assert (end < torch.tensor([0.1, 0.8, 0.1, 0.1])).all(), end
