"""BERT's token masking for MLM (Devlin et al. 2019): 80 % mask token, 10 % random token, 10 % unchanged."""

import numpy as np

IGNORED = -100


def mask_tokens(
    ids: np.ndarray,
    maskable: np.ndarray,
    probability: float,
    mask_id: int,
    random_ids: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Mask one report.

    Parameters
    ----------
    ids : ndarray, shape (L,), int
        Token ids of one report, without padding.
    maskable : ndarray, shape (L,), bool
        False at special tokens.
    probability : float
        Of a maskable token to be scored.
    mask_id : int
        Id of the mask token.
    random_ids : ndarray
        Ids to draw random tokens from.
    rng : numpy Generator

    Returns
    -------
    (masked, labels) : tuple of ndarray, shape (L,)
        The network's input, and the true ids at scored places with -100 elsewhere.
    """
    chosen = (rng.random(len(ids)) < probability) & maskable
    kind, random_tokens = rng.random(len(ids)), rng.choice(random_ids, len(ids))
    masked = np.where(chosen & (kind < 0.8), mask_id, ids)
    masked = np.where(chosen & (kind >= 0.8) & (kind < 0.9), random_tokens, masked)
    return masked, np.where(chosen, ids, IGNORED)
