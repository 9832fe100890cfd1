"""Contrastive multi-segment coding (CMSC; CLOCS, Kiyasseh et al. 2021): segments of one patient attract each other."""

import torch
from torch import Tensor

from ecgtext_plugins.modules.contrastive import gather_rows, positives_mean
from ecgtext_plugins.modules.ets_exchange import NOBODY


def cmsc_loss(
    features: Tensor,
    patient_id: Tensor,
    segment: Tensor,
    record: Tensor | None = None,
    temperature: float = 0.1,
    eps: float = 1e-8,
    same_record_only: bool = False,
    gather: bool = False,
) -> Tensor:
    """Contrast the first segments with the second ones, and the other way round.

    Parameters
    ----------
    features : Tensor, shape (B, D)
        Divided by their length, through which no gradient flows, as published.
    patient_id : Tensor, shape (B,), int64
        Pairs of equal ids are positive. Rows of id -1 count nothing, for the other processes either.
    segment : Tensor, shape (B,), int64
        0 or 1; only pairs of different numbers are compared.
    record : Tensor, shape (B,), int64, optional
        For `same_record_only`.
    temperature, eps : float
        Divides the cosines; smallest length.
    same_record_only : bool
        Only segments of one record are positive; those of other records of the same patient are left out.
    gather : bool
        Compare with the segments of all processes; gradients averaged over processes are then those of one process on
        the whole batch. The published criterion compares within a process.

    Returns
    -------
    Tensor, scalar float32
        Mean over positive pairs, which is the mean of both directions.

    Raises
    ------
    ValueError
        When `same_record_only` lacks records.
    """
    if same_record_only and record is None:
        raise ValueError("same_record_only needs the batch's record numbers, found none")
    features = features.float()
    features = features / torch.linalg.vector_norm(features.detach(), dim=1, keepdim=True).clamp(min=eps)
    labels = patient_id, segment.to(patient_id), patient_id if record is None else record.to(patient_id)
    others, (patients, segments, records), _ = gather_rows(features, *labels, gather=gather)
    counted = (labels[1][:, None] != segments) & (patient_id != NOBODY)[:, None] & (patients != NOBODY)
    positive = counted & (patient_id[:, None] == patients)
    if same_record_only:
        same = labels[2][:, None] == records
        counted, positive = counted & (same | ~positive), positive & same
    return positives_mean(features @ others.T / temperature, positive, counted, gather)
