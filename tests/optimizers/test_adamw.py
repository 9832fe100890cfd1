"""`adamw` against fairseq's own adam and torch's AdamW; learning-rate factors; resumes."""

import copy

import pytest
import torch
from omegaconf import OmegaConf

from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.optimizers.adamw import AdamWConfig, FairseqAdamW

KEYS = {"lr": [1e-2], "betas": [0.9, 0.98], "eps": 1e-3, "weight_decay": 0.05}  # an eps that shows where it is added


def parameters(dtype=torch.float32):
    rng = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(*shape, generator=rng).to(dtype)) for shape in ((4, 3), (5,))]


def gradients(step):
    rng = torch.Generator().manual_seed(100 + step)
    return [torch.randn(*shape, generator=rng) * 0.01 for shape in ((4, 3), (5,))]


def build(params, **keys):
    return FairseqAdamW(OmegaConf.structured(AdamWConfig(**{**KEYS, **keys})), params)


def train(optimizer, params, steps, first=0):
    for step in range(first, first + steps):
        for parameter, gradient in zip(params, gradients(step), strict=True):
            parameter.grad = gradient.to(parameter.dtype)
        optimizer.step()


@pytest.mark.parametrize("fused", [True, False])
def test_equals_fairseqs_adam(fused):
    from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig

    ours, theirs = parameters(torch.float64), parameters(torch.float64)
    config = FairseqAdamConfig(
        adam_betas="(0.9, 0.98)", adam_eps=1e-3, weight_decay=0.05, use_old_adam=True, tpu=False, lr=[1e-2]
    )
    reference = FairseqAdam(OmegaConf.structured(config), theirs)
    optimizer = build(ours, fused=fused)
    for step in range(40):
        train(optimizer, ours, 1, step)
        train(reference, theirs, 1, step)
        for a, b in zip(ours, theirs, strict=True):
            assert (a - b).abs().max() <= 1e-9
    torch_placed = parameters(torch.float64)
    train(build(torch_placed, eps_placement="torch"), torch_placed, 40)
    assert (torch_placed[0] - theirs[0]).abs().max() > 1e-4


def test_equals_torchs_adamw():
    ours, theirs = parameters(), parameters()
    train(build(ours, eps_placement="torch", fused=False), ours, 10)
    reference = torch.optim.AdamW(theirs, lr=1e-2, betas=(0.9, 0.98), eps=1e-3, weight_decay=0.05)
    train(reference, theirs, 10)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)


def test_a_learning_rate_factor_scales_the_step():
    slow, plain = parameters(), parameters()
    slow[1].lr_factor = 0.1
    optimizer, reference = build(slow, weight_decay=0.0), build(plain, weight_decay=0.0)
    for lr in (1e-2, 3e-3):
        optimizer.set_lr(lr), reference.set_lr(lr)
        assert optimizer.get_lr() == pytest.approx(lr)
        before = [parameter.detach().clone() for parameter in (*slow, *plain)]
        train(optimizer, slow, 1), train(reference, plain, 1)
        moved = [now.detach() - then for now, then in zip((*slow, *plain), before, strict=True)]
        assert torch.allclose(moved[0], moved[2]) and torch.allclose(moved[1], 0.1 * moved[3], atol=1e-7)


def test_a_resume_changes_nothing():
    straight, resumed = parameters(), parameters()
    straight[1].lr_factor = resumed[1].lr_factor = 0.5
    train(build(straight), straight, 9)
    first = build(resumed)
    train(first, resumed, 4)
    state = copy.deepcopy(first.state_dict())
    second = build(resumed)
    second.load_state_dict(state, second.optimizer_config)
    assert [group["lr"] for group in second.param_groups] == [1e-2, 5e-3]
    train(second, resumed, 5, first=4)
    for a, b in zip(straight, resumed, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("keys", "said"),
    [({"eps_placement": "before"}, "eps_placement=before"), ({"betas": [0.9]}, "betas=\\[0.9\\]")],
)
def test_refusals(keys, said):
    with pytest.raises(BadConfig, match=said):
        build(parameters(), **keys)
