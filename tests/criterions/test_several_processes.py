"""D-BETA's criterion in several processes against one on the whole batch: loss and every gradient."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
from omegaconf import OmegaConf

import ecgtext_plugins
from ecgtext_plugins.data.text_plan import text_plan
from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.text.encoders import build_text_encoder
from tests.processes import in_processes

SIZES = {
    "conv_feature_layers": "[(16, 2, 2)] * 3",
    "conv_pos": 8,
    "conv_pos_groups": 4,
    "encoder_layers": 1,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 64,
    "encoder_attention_heads": 4,
    "hidden_dim": 32,
    "num_heads": 4,
    "num_top_layer": 2,
    "mem_layer": 1,
    "mem_decoder_hidden_dim": 16,
    "mem_decoder_num_layers": 1,
    "mem_decoder_num_heads": 4,
    "ets_learnable_scale": True,
    **dict.fromkeys(("dropout", "attention_dropout", "dropout_input", "drop_rate"), 0.0),
}
ROWS = {2: (4, 3), 3: (2, 4, 1)}
MODES = {
    "paper": {"mlm_reduction": "sum_per_report", "mem_reduction": "sum_per_ecg"},
    "release": {"ets_reduction": "mean", "ets_duplicates": "negative"},
    "neighbour": {"ets_exchange": "neighbour", "ets_chunk": 2},
}


def build(mode):
    from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, build_criterion

    ecgtext_plugins.register_all()
    torch.manual_seed(0)
    t5 = {"vocab_size": 50, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 1, "num_heads": 4, "dropout_rate": 0.0}
    model = DBeta(DBetaConfig(**SIZES), build_text_encoder(t5)).train()
    cfg = OmegaConf.structured(CRITERION_DATACLASS_REGISTRY["dbeta"](_name="dbeta", **MODES[mode]))
    return model, build_criterion(cfg, task=None)


def sample(rows):
    """Rows of a batch of seven: other counts of scored tokens in each, copies of reports on both sides of every cut."""
    rng = torch.Generator().manual_seed(1)
    original = torch.randn(7, 12, 160, generator=rng)
    labels = torch.where(torch.rand(7, 6, generator=rng) < 0.3, torch.randint(3, 50, (7, 6), generator=rng), -100)
    batch = {
        "ecg": original.masked_fill(torch.rand(7, 12, 1, generator=rng) < 0.5, 0.0),
        "ecg_original": original,
        "text": torch.randint(3, 50, (7, 6), generator=rng),
        "mlm_labels": labels,
        "patch_seed": torch.arange(7),
        "is_aligned": torch.tensor([1, 0, 1, 1, 1, 0, 1]),
        "report_id": torch.tensor([5, 6, 5, 8, 5, 5, 8]),
        "text_report_id": torch.tensor([5, 9, 5, 8, 5, 6, 8]),
    }
    batch = {name: value[list(rows)] for name, value in batch.items()}
    labels = batch["mlm_labels"]
    plan = text_plan(np.full(len(rows), 6), np.arange(len(rows)), labels.numpy(), groups=1)
    net_input = {"ecg": batch.pop("ecg"), "text": batch.pop("text"), "ecg_padding_mask": None, "text_plan": plan}
    target = batch | {"mlm_scored": labels[labels != -100]}
    return {"net_input": net_input, "target": target, "ntokens": 6 * len(rows), "nsentences": len(rows)}


def loss_and_gradients(mode, rows, dummy=False):
    model, criterion = build(mode)
    criterion.is_dummy = dummy
    loss, _, _ = criterion(model, sample(rows))
    (loss * 0 if dummy else loss).backward()
    return loss.detach(), [p.grad if p.grad is not None else torch.zeros_like(p) for p in model.parameters()]


def process(rank, world, folder, dummy_rank):
    first = sum(ROWS[world][:rank])
    results = {}
    for mode in MODES:
        rows = range(first, first + ROWS[world][rank])
        loss, gradients = loss_and_gradients(mode, rows, dummy=rank == dummy_rank)
        for gradient in gradients:
            dist.all_reduce(gradient)
            gradient /= world
        dist.all_reduce(loss)
        results[mode] = loss / world, gradients
    if rank == 0:
        torch.save(results, f"{folder}/result.pt")


@pytest.mark.parametrize(("world", "dummy_rank"), [(2, None), pytest.param(3, None, marks=pytest.mark.slow), (2, 1)])
def test_gradients_equal_one_process_on_the_whole_batch(world, dummy_rank, tmp_path):
    """Also when one process has run out of batches and goes through an old one, as fairseq has it do."""
    in_processes(world, process, tmp_path, dummy_rank)
    results = torch.load(tmp_path / "result.pt", weights_only=True)
    rows = range(7 if dummy_rank is None else ROWS[world][0])
    for mode, (loss, gradients) in results.items():
        expected_loss, expected = loss_and_gradients(mode, rows)
        if dummy_rank is None:
            assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-5), mode
        for ours, theirs in zip(gradients, expected, strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6 * max(1.0, theirs.abs().max().item())), mode
