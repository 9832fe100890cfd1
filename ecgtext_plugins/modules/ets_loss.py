"""ECG-text sigmoid loss (ETS), equation 4 of the D-BETA paper, after SigLIP (Zhai et al. 2023)."""

import torch
from torch import Tensor
from torch.nn import functional

REDUCTIONS = ("sum_per_row", "mean")
DUPLICATES = ("ignore", "negative", "positive")


def ets_labels(
    is_aligned: Tensor | None, report_id: Tensor, text_report_id: Tensor, duplicates: str = "ignore"
) -> Tensor:
    """Pair labels: +1 the text belongs to the ECG, -1 it does not, 0 the pair is left out.

    Parameters
    ----------
    is_aligned : Tensor, shape (B,), or None
        1 where row i shows its own report, 0 where a negative was swapped in: its diagonal becomes -1. None for a block
        of one process's ECGs and another's texts, which has no pairs of its own.
    report_id : Tensor, shape (B,)
        The ECG's own report.
    text_report_id : Tensor, shape (C,), C = B unless `is_aligned` is None
        The report shown.
    duplicates : str
        Off-diagonal pairs where text j is word for word the report of ECG i: ``ignore`` (0), ``negative`` (-1, as the
        release) or ``positive`` (+1).

    Returns
    -------
    Tensor, shape (B, C), float32; rows are ECGs, columns texts
    """
    if duplicates not in DUPLICATES:
        raise ValueError(f"ets_duplicates={duplicates!r}: expected one of {', '.join(DUPLICATES)}")
    same = report_id[:, None] == text_report_id[None, :]
    value = {"ignore": 0.0, "negative": -1.0, "positive": 1.0}[duplicates]
    labels = torch.where(same, value, -1.0)
    return labels if is_aligned is None else labels.diagonal_scatter(2.0 * is_aligned.to(labels) - 1.0)


def ets_logits(ecg: Tensor, text: Tensor, scale: Tensor | float, bias: Tensor | float, normalize: bool) -> Tensor:
    """Similarity of all pairs, float32: ECG features (B, D) and text features (B, D) -> (B, B)."""
    ecg, text = ecg.float(), text.float()
    if normalize:
        ecg, text = functional.normalize(ecg, dim=-1), functional.normalize(text, dim=-1)
    return scale * (ecg @ text.T) + bias


def ets_total(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum of -log sigmoid(label * logit) over all pairs whose label is not 0."""
    return -(functional.logsigmoid(labels * logits) * (labels != 0)).sum()


def ets_loss(logits: Tensor, labels: Tensor, reduction: str = "sum_per_row") -> Tensor:
    """Sigmoid loss of all pairs of one process.

    Parameters
    ----------
    logits, labels : Tensor, shape (B, B)
        From `ets_logits` and `ets_labels`; pairs labelled 0 count nothing.
    reduction : str
        ``sum_per_row``: sum over all pairs divided by B (the paper); ``mean``: divided by the number of pairs, B * B
        when none is left out (the release).

    Returns
    -------
    Tensor, scalar float32
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"ets_reduction={reduction!r}: expected one of {', '.join(REDUCTIONS)}")
    pairs = len(logits) if reduction == "sum_per_row" else (labels != 0).sum().clamp(min=1)
    return ets_total(logits, labels) / pairs


def retrieval_counts(
    logits: Tensor, report_id: Tensor, text_report_id: Tensor, is_aligned: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Count aligned ECGs whose best text is their report, word for word, and aligned texts whose best ECG is of it.

    Returns
    -------
    (ecg_to_text, text_to_ecg, judged) : tuple of Tensor, scalar int64
    """
    judged = is_aligned.bool()
    best_text, best_ecg = text_report_id[logits.argmax(1)], report_id[logits.argmax(0)]
    to_text, to_ecg = best_text == report_id, best_ecg == text_report_id
    return (to_text & judged).sum(), (to_ecg & judged).sum(), judged.sum()


def mean_cosine(features: Tensor) -> Tensor:
    """Mean cosine of all pairs of different rows of (B, D): near 1 when a tower has collapsed; 0 for a single row."""
    unit = functional.normalize(features.detach().float(), dim=-1)
    rows = len(unit)
    return (unit.sum(0).square().sum() - unit.square().sum()) / max(rows * (rows - 1), 1)
