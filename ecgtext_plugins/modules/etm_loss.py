"""ECG-text matching (ETM), equation 3 of the D-BETA paper, with the release's two-class head."""

from torch import Tensor
from torch.nn import functional


def etm_loss(logits: Tensor, is_aligned: Tensor) -> Tensor:
    """Mean cross-entropy of (B, 2) logits against `is_aligned` (B,), 1 = the report is the ECG's own."""
    return functional.cross_entropy(logits.float(), is_aligned.long())


def etm_counts(logits: Tensor, is_aligned: Tensor) -> tuple[Tensor, int]:
    """Correct and judged pairs, for the accuracy."""
    return (logits.argmax(-1) == is_aligned).sum(), len(is_aligned)
