"""Correlation with long kernels by way of the Fourier transform, for processors."""

import torch
from torch import Tensor
from torch.nn import functional

LONG = 32
"""Kernels from so many steps on are quicker this way on a CPU: 6 times at 128 steps, 768 channels, 16 groups."""


def correlate(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """Correlate over time as `torch.nn.functional.conv1d` with half a kernel of zeros at both ends, as long as before.

    A long kernel on a CPU is multiplied in the frequency domain, float32, as accurate as the sum over its steps.

    Parameters
    ----------
    x : Tensor, shape (B, C, N)
    weight : Tensor, shape (D, C / groups, K)
        An even kernel sees one step more of the past.
    bias : Tensor, shape (D,)
    groups : int

    Returns
    -------
    Tensor, shape (B, D, N), of the type of x or of autocast
    """
    steps, half = x.shape[-1], weight.shape[-1] // 2
    if x.device.type != "cpu" or weight.shape[-1] < LONG or torch.compiler.is_compiling():
        return functional.conv1d(x, weight, bias, padding=half, groups=groups)[..., :steps]
    with torch.autocast("cpu", enabled=False):
        return (_in_frequency(x.float(), weight.float(), groups) + bias.float()[:, None]).type_as(x)


def _in_frequency(x: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Correlate around a circle on which zeros behind and in front of the signal leave the ends apart."""
    (batch, _, steps), (width, inside, kernel) = x.shape, weight.shape
    length = fast_length(steps + kernel // 2)
    spectrum = torch.fft.rfft(functional.pad(x, (kernel // 2, 0)), n=length)
    response = torch.fft.rfft(weight, n=length).conj()
    spectrum = spectrum.view(batch, groups, inside, -1).permute(3, 1, 0, 2)
    response = response.view(groups, width // groups, inside, -1).permute(3, 0, 2, 1)
    product = (spectrum @ response).permute(2, 1, 3, 0).reshape(batch, width, -1)
    return torch.fft.irfft(product, n=length)[..., :steps]


def fast_length(at_least: int) -> int:
    """Return the smallest even number from there on whose prime factors are 2, 3 and 5."""
    length = at_least + at_least % 2
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2
