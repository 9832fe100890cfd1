"""ECG-text sigmoid loss (ETS), equation 4 of the D-BETA paper, after SigLIP (Zhai et al. 2023)."""

import torch
from torch import Tensor
from torch.nn import functional

REDUCTIONS = ("sum_per_row", "mean")
DUPLICATES = ("ignore", "negative", "positive")


def ets_labels(is_aligned: Tensor, report_id: Tensor, text_report_id: Tensor, duplicates: str = "ignore") -> Tensor:
    """Pair labels: +1 the text belongs to the ECG, -1 it does not, 0 the pair is left out.

    Parameters
    ----------
    is_aligned : Tensor, shape (B,)
        1 where row i shows its own report, 0 where a negative was swapped in: its diagonal becomes -1.
    report_id : Tensor, shape (B,)
        The ECG's own report.
    text_report_id : Tensor, shape (B,)
        The report shown.
    duplicates : str
        Off-diagonal pairs where text j is word for word the report of ECG i: ``ignore`` (0), ``negative`` (-1, as the
        release) or ``positive`` (+1).

    Returns
    -------
    Tensor, shape (B, B), float32; rows are ECGs, columns texts
    """
    if duplicates not in DUPLICATES:
        raise ValueError(f"ets_duplicates={duplicates!r}: expected one of {', '.join(DUPLICATES)}")
    same = report_id[:, None] == text_report_id[None, :]
    value = {"ignore": 0.0, "negative": -1.0, "positive": 1.0}[duplicates]
    labels = torch.where(same, value, -1.0)
    return labels.diagonal_scatter(2.0 * is_aligned.to(labels) - 1.0)


def ets_logits(ecg: Tensor, text: Tensor, scale: Tensor | float, bias: Tensor | float, normalize: bool) -> Tensor:
    """Similarity of all pairs, float32: ECG features (B, D) and text features (B, D) -> (B, B)."""
    ecg, text = ecg.float(), text.float()
    if normalize:
        ecg, text = functional.normalize(ecg, dim=-1), functional.normalize(text, dim=-1)
    return scale * (ecg @ text.T) + bias


def ets_loss(logits: Tensor, labels: Tensor, reduction: str = "sum_per_row") -> Tensor:
    """Sigmoid loss of all pairs.

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
    counted = labels != 0
    total = -(functional.logsigmoid(labels * logits) * counted).sum()
    return total / (len(logits) if reduction == "sum_per_row" else counted.sum().clamp(min=1))


def retrieval_counts(logits: Tensor, report_id: Tensor, text_report_id: Tensor, is_aligned: Tensor) -> tuple[int, int]:
    """Count ECGs whose best-scoring text of the batch is their report, word for word, among those that show it.

    Returns
    -------
    (correct, judged) : tuple of int
    """
    with torch.no_grad():
        best = text_report_id[logits.argmax(1)]
        judged = is_aligned.bool()
        return int(((best == report_id) & judged).sum()), int(judged.sum())
