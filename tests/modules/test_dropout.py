"""Dropout of our own against what dropout has to be."""

import pytest
import torch

from ecgtext_plugins.modules.dropout import LEVELS, Dropout, replace_dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_share_and_scale(p, dtype):
    torch.manual_seed(0)
    x = torch.ones(999, 1001, dtype=dtype)
    out = Dropout(p).train()(x)
    assert out.dtype == dtype and out.shape == x.shape
    assert abs((out == 0).float().mean() - p) < 4 * (p * (1 - p) / x.numel()) ** 0.5 + 1 / LEVELS
    torch.testing.assert_close(out[out != 0].unique(), torch.tensor([1 / (1 - p)], dtype=dtype), rtol=1e-2, atol=0)


def test_neighbours_are_independent():
    torch.manual_seed(0)
    kept = (Dropout(0.5).train()(torch.ones(4_000_000)) != 0).float() - 0.5
    for lag in (1, 2, 3, 4, 5, 8, 64):
        assert abs((kept[lag:] * kept[:-lag]).mean()) < 5 * 0.25 / 2000


def test_gradient_is_the_forward_mask():
    torch.manual_seed(0)
    x = torch.randn(64, 33, requires_grad=True)
    out = Dropout(0.3).train()(x)
    out.sum().backward()
    torch.testing.assert_close(x.grad * x.detach(), out.detach())


def test_evaluation_and_zero_probability_change_nothing():
    x = torch.randn(5, 7)
    assert Dropout(0.3).eval()(x) is x
    torch.testing.assert_close(Dropout(0.0).train()(x), x, rtol=0, atol=0)
    assert not Dropout(1.0).train()(x).any()


def test_a_seed_gives_the_same_draws():
    layer, x = Dropout(0.2).train(), torch.randn(3, 1001)
    torch.manual_seed(5)
    first = layer(x)
    torch.manual_seed(5)
    torch.testing.assert_close(layer(x), first, rtol=0, atol=0)


def test_replaced_in_place():
    inner = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.25), torch.nn.Dropout1d(0.5)).eval()
    keys = list(torch.nn.ModuleDict({"a": inner}).state_dict())
    whole = torch.nn.ModuleDict({"a": inner})
    replace_dropout(whole)
    assert type(inner[1]) is Dropout and inner[1].p == 0.25 and not inner[1].training
    assert type(inner[2]) is torch.nn.Dropout1d and list(whole.state_dict()) == keys
