"""CMSC, SimCLR and ArcFace as criteria: their losses, and several processes against one on the whole batch."""

import math

import pytest
import torch
import torch.distributed as dist
from omegaconf import OmegaConf
from torch import nn
from torch.nn import functional

from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.modules.arcface import arcface_loss
from tests.processes import in_processes

ROWS = {2: (range(6), range(6, 10)), 3: (range(2), range(2, 8), range(8, 10))}


def build(name, **keys):
    import importlib

    from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY

    importlib.import_module(f"ecgtext_plugins.criterions.{name}")
    cfg = OmegaConf.merge(OmegaConf.structured(CRITERION_DATACLASS_REGISTRY[name]), keys)
    return CRITERION_REGISTRY[name].build_criterion(cfg, None)


class Pooled(nn.Module):
    """Features are a linear map of the mean of each lead; logits their cosines with given directions."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.proj = nn.Linear(12, 8)
        self.kernel = nn.Parameter(torch.randn(4, 8))

    def forward(self, ecg, ecg_padding_mask=None, mask_seed=None):
        features = self.proj(ecg.mean(-1))
        cosines = functional.normalize(features, dim=1) @ functional.normalize(self.kernel, dim=1).T
        return {"features": features, "logits": cosines}


def sample(rows=range(10)):
    rng = torch.Generator().manual_seed(1)
    ecg = torch.randn(10, 12, 20, generator=rng)
    rows = list(rows)
    target = {
        "patient_id": torch.tensor([1, 1, 2, 2, 3, 3, 4, 4, 2, 2])[rows],
        "segment": torch.tensor([0, 1] * 5)[rows],
        "identity": torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 3, 3])[rows],
    }
    ids = (torch.arange(10) // 2)[rows]
    net_input = {"ecg": ecg[rows], "ecg_padding_mask": None}
    return {"id": ids, "net_input": net_input, "target": target, "nsentences": len(rows), "ntokens": 20 * len(rows)}


def test_cmsc_by_hand():
    """All pairs of segments of one patient are positive, each direction has its own softmax."""
    model, batch = Pooled(), sample()
    features = functional.normalize(model(batch["net_input"]["ecg"])["features"], dim=1)
    similarity = features[0::2] @ features[1::2].T / 0.1
    patients = batch["target"]["patient_id"][0::2]
    positive = patients[:, None] == patients
    expected = -(similarity.log_softmax(1)[positive].mean() + similarity.log_softmax(0)[positive].mean()) / 2
    loss, size, _ = build("cmsc")(model, batch)
    assert size == 5 and loss.item() / 5 == pytest.approx(expected.item(), rel=1e-5)


def test_simclr_by_hand():
    model, batch = Pooled(), sample()
    features = functional.normalize(model(batch["net_input"]["ecg"])["features"], dim=1)
    similarity = (features @ features.T / 0.1).fill_diagonal_(-torch.inf)
    other = torch.arange(10) ^ 1
    expected = functional.cross_entropy(similarity, other, reduction="sum")
    loss, size, _ = build("simclr")(model, batch)
    assert size == 10 and loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_arcface_and_its_accuracy():
    model, batch = Pooled(), sample()
    cosines, identity = model(batch["net_input"]["ecg"])["logits"], batch["target"]["identity"]
    loss, size, log = build("arcface", scale=16, margin=0.3)(model, batch)
    assert size == 10 and loss.item() == pytest.approx(arcface_loss(cosines, identity, 16, 0.3).item())
    assert log["correct"] == (cosines.argmax(1) == identity).sum() and log["count"] == 10
    with pytest.raises(BadConfig, match="margin"):
        build("arcface", margin=4.0)(model, batch)


@pytest.mark.parametrize("name", ["cmsc", "simclr", "arcface"])
def test_loss_is_told_in_bits(name):
    from fairseq import metrics

    criterion, model = build(name), Pooled()
    logs = [criterion(model, sample(rows))[2] for rows in ROWS[2]]
    with metrics.aggregate(new_root=True) as meters:
        criterion.reduce_metrics(logs)
    expected = sum(float(log["loss"]) for log in logs) / sum(log["sample_size"] for log in logs) / math.log(2)
    assert meters.get_smoothed_values()["loss"] == pytest.approx(expected, abs=1e-4)
    assert criterion.logging_outputs_can_be_summed()


def process(rank, world, folder, dummy_rank):
    results = {}
    for name, keys in (("cmsc", {"all_gather": True}), ("simclr", {"all_gather": True}), ("arcface", {})):
        model, criterion = Pooled().train(), build(name, **keys)
        criterion.is_dummy = rank == dummy_rank
        loss, size, _ = criterion(model, sample(ROWS[world][rank]))
        (loss * 0 if criterion.is_dummy else loss).backward()
        totals = torch.stack([loss.detach(), torch.tensor(float(size))]) * (not criterion.is_dummy)
        dist.all_reduce(totals)
        dist.all_reduce(model.proj.weight.grad)
        results[name] = totals, model.proj.weight.grad / totals[1]
    if rank == 0:
        torch.save(results, f"{folder}/result.pt")


@pytest.mark.parametrize(("world", "dummy_rank"), [(2, None), pytest.param(3, 1, marks=pytest.mark.slow)])
def test_processes_equal_one_on_the_whole_batch(world, dummy_rank, tmp_path):
    in_processes(world, process, tmp_path, dummy_rank)
    rows = [row for rank, part in enumerate(ROWS[world]) if rank != dummy_rank for row in part]
    for name, (totals, gradient) in torch.load(tmp_path / "result.pt", weights_only=True).items():
        model = Pooled().train()
        loss, size, _ = build(name)(model, sample(rows))
        (loss / size).backward()
        assert totals[1] == size and totals[0].item() == pytest.approx(loss.item(), rel=1e-5), name
        assert torch.allclose(gradient, model.proj.weight.grad, rtol=1e-4, atol=1e-6), name
