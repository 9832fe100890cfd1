"""Long kernels in the frequency domain against torch's convolution, values and gradients."""

import pytest
import torch
from torch.nn import functional

from ecgtext_plugins.modules.long_convolution import LONG, correlate, fast_length

SIZES = [  # rows, steps, width, groups, kernel
    (3, 312, 48, 4, 128),
    (2, 50, 8, 2, 128),  # shorter than the kernel
    (1, 1, 4, 1, 32),
    (2, 97, 6, 3, 33),  # odd kernel
    (2, 40, 8, 8, 95),
]


def conv1d(x, weight, bias, groups):
    return functional.conv1d(x, weight, bias, padding=weight.shape[-1] // 2, groups=groups)[..., : x.shape[-1]]


@pytest.mark.parametrize(("rows", "steps", "width", "groups", "kernel"), SIZES)
def test_equals_conv1d(rows, steps, width, groups, kernel):
    rng = torch.Generator().manual_seed(0)
    shapes = (rows, width, steps), (2 * width, width // groups, kernel), (2 * width,)
    leaves = [torch.randn(shape, generator=rng, requires_grad=True) for shape in shapes]
    wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
    ours, exact, plain = correlate(*leaves, groups), conv1d(*wide, groups), conv1d(*leaves, groups)
    assert ours.shape == exact.shape and ours.dtype == torch.float32
    direction = torch.randn(ours.shape, generator=rng)
    found = [ours, *torch.autograd.grad(ours, leaves, direction)]
    torchs = [plain, *torch.autograd.grad(plain, leaves, direction)]
    for one, other, truth in zip(
        found, torchs, [exact, *torch.autograd.grad(exact, wide, direction.double())], strict=True
    ):
        error, usual = ((value - truth).abs().max().item() for value in (one, other))
        assert error < max(4 * usual, 4e-7 * truth.abs().max().item())


def test_the_rows_of_a_batch_do_not_meet():
    rng = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, 8, 60, generator=rng), torch.randn(8, 4, 64, generator=rng)
    alone = correlate(x[:1], weight, torch.zeros(8), 2)
    x[1, 3, 5] = torch.nan
    both = correlate(x, weight, torch.zeros(8), 2)
    assert torch.allclose(both[:1], alone, atol=1e-5) and both[1].isnan().any()


@pytest.mark.parametrize("kernel", [LONG - 1, LONG])
def test_types(kernel):
    x, weight, bias = torch.randn(2, 4, 50), torch.randn(4, 2, kernel), torch.randn(4)
    with torch.autocast("cpu", torch.bfloat16):
        low = correlate(x.bfloat16(), weight, bias, 2)
    assert low.dtype == torch.bfloat16
    half = correlate(x.bfloat16(), weight.bfloat16(), bias.bfloat16(), 2)
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half.float(), conv1d(x, weight, bias, 2), atol=0.3)


def test_fast_length():
    for n in range(1, 2000):
        length = fast_length(n)
        assert length >= n and length % 2 == 0
        for prime in (2, 3, 5):
            while length % prime == 0:
                length //= prime
        assert length == 1
    assert [fast_length(n) for n in (1, 2, 7, 376, 400, 401)] == [2, 2, 8, 384, 400, 432]
