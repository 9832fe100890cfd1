"""Normalised temperature-scaled cross entropy (NT-Xent; SimCLR, Chen et al. 2020, equation 1)."""

import torch
from torch import Tensor
from torch.nn import functional

from ecgtext_plugins.modules.contrastive import gather_rows, positives_mean
from ecgtext_plugins.modules.ets_exchange import NOBODY


def simclr_loss(features: Tensor, source: Tensor, temperature: float = 0.1, gather: bool = False) -> Tensor:
    """Contrast the views of one ECG with all other rows.

    Parameters
    ----------
    features : Tensor, shape (B, D)
    source : Tensor, shape (B,), int64
        Rows of equal number are views of the same ECG (SimCLR) or patient (3KG), and positive. Rows of -1 count
        nothing, for the other processes either.
    temperature : float
        Divides the cosines.
    gather : bool
        Compare with the rows of all processes; gradients averaged over processes are then those of one process on the
        whole batch.

    Returns
    -------
    Tensor, scalar float32
        Mean over positive pairs; with two views of each ECG that is the mean over rows.
    """
    features = functional.normalize(features.float(), dim=1)
    others, (sources,), first = gather_rows(features, source, gather=gather)
    itself = torch.arange(len(source), device=source.device)[:, None] + first
    counted = (torch.arange(len(sources), device=source.device) != itself) & (source != NOBODY)[:, None]
    counted = counted & (sources != NOBODY)
    positive = counted & (source[:, None] == sources)
    return positives_mean(features @ others.T / temperature, positive, counted, gather)
