"""Attention with dropout on a CPU, which is ours, against torch's fused attention."""

import pytest
import torch

from ecgtext_plugins.modules import attention
from ecgtext_plugins.modules.attention import attend


@pytest.fixture
def inputs():
    rng = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3, n, 16, generator=rng, requires_grad=True) for n in (5, 7, 7))
    padding = torch.zeros(3, 7, dtype=torch.bool)
    padding[1, 4:] = True
    return (query, key, value), padding


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_dropped_is_torchs_attention(inputs, masked, dtype, monkeypatch):
    leaves, padding = inputs
    padding = padding if masked else None
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        expected = attend(*leaves, 4, padding)
        monkeypatch.setattr(attention, "drop", lambda x, p: x)
        ours = attend(*leaves, 4, padding, dropout=0.5)
    assert ours.dtype == expected.dtype
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 0.05, "atol": 0.05}
    direction = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1)).to(ours.dtype)
    both = [[out, *torch.autograd.grad(out, leaves, direction)] for out in (ours, expected)]
    for one, other in zip(*both, strict=True):
        assert torch.allclose(one.float(), other.float(), **tolerance)


def test_dropout_falls_on_weights_and_keeps_the_mean(inputs):
    leaves, padding = inputs
    torch.manual_seed(0)
    with torch.no_grad():
        expected = attend(*leaves, 4, padding)
        draws = torch.stack([attend(*leaves, 4, padding, dropout=0.25) for _ in range(4000)])
    error = (draws.mean(0) - expected).abs() / (draws.std(0) / 4000**0.5)
    assert error.max() < 5
    assert (draws[0] != draws[1]).any()


def test_padding_stays_hidden_under_dropout(inputs):
    (query, key, value), padding = inputs
    torch.manual_seed(0)
    out = attend(query, key, value, 4, padding, dropout=0.3)
    torch.manual_seed(0)
    hidden = padding[:, :, None]
    other = attend(query, key.masked_fill(hidden, 9.0), value.masked_fill(hidden, -50.0), 4, padding, dropout=0.3)
    assert torch.equal(out, other)
