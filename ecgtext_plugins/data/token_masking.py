"""BERT's token masking for MLM (Devlin et al. 2019): 80 % mask token, 10 % random token, 10 % unchanged."""

import numpy as np

IGNORED = -100
DRAWS = 3  # a token: whether it is scored, what becomes of it, which random token


def mask_tokens(
    ids: np.ndarray,
    maskable: np.ndarray,
    probability: float,
    mask_id: int,
    random_ids: np.ndarray,
    draws: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Mask reports.

    Parameters
    ----------
    ids : ndarray, shape (B, L), int
        Token ids.
    maskable : ndarray, shape (B, L), bool
        False at special tokens and padding.
    probability : float
        Of a maskable token to be scored.
    mask_id : int
        Id of the mask token.
    random_ids : ndarray
        Ids to draw random tokens from.
    draws : ndarray, shape (B, L, 3)
        Uniform in [0, 1).

    Returns
    -------
    (masked, labels) : tuple of ndarray, shape (B, L)
        The network's input, and the true ids at scored places with -100 elsewhere.
    """
    chosen = (draws[..., 0] < probability) & maskable
    kind, random_tokens = draws[..., 1], random_ids[(draws[..., 2] * len(random_ids)).astype(np.int64)]
    masked = np.where(chosen & (kind < 0.8), mask_id, ids)
    masked = np.where(chosen & (kind >= 0.8) & (kind < 0.9), random_tokens, masked)
    return masked, np.where(chosen, ids, IGNORED)
