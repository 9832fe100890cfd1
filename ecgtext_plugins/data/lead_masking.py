"""Random lead masking (RLM, Oh et al. 2022): zero whole leads of the network's input."""

import numpy as np


def lead_mask(draws: np.ndarray, probability: float, keep_one: bool = False) -> np.ndarray:
    """Choose which leads to hide, each with the same probability.

    Parameters
    ----------
    draws : ndarray, shape (B, leads + 1)
        Uniform in [0, 1): one a lead, and one for `keep_one`.
    probability : float
        Of each lead to be hidden.
    keep_one : bool
        Show one lead, drawn, when all would be hidden (published: all twelve may vanish, once in 4,096 ECGs).

    Returns
    -------
    ndarray, shape (B, leads), bool
        True where the lead is hidden.
    """
    hidden = draws[:, :-1] < probability
    if keep_one:
        empty = np.flatnonzero(hidden.all(axis=1))
        hidden[empty, (draws[empty, -1] * hidden.shape[1]).astype(np.int64)] = False
    return hidden


def conditional_lead_mask(draws: np.ndarray, limb: int, precordial: int) -> np.ndarray:
    """Hide `limb` of the six limb leads and `precordial` of the six precordial ones, all choices equally likely.

    That is what fairseq-signals' RandomLeadsMask means by its mode ``conditional``, which does not run there.

    Parameters
    ----------
    draws : ndarray, shape (B, 12) or wider
        Uniform in [0, 1).
    limb, precordial : int
        0 to 6.

    Returns
    -------
    ndarray, shape (B, 12), bool
    """
    ranks = draws[:, :12].reshape(-1, 2, 6).argsort(axis=2).argsort(axis=2)
    return (ranks < np.array([limb, precordial])[:, None]).reshape(-1, 12)
