"""Random lead masking (RLM, Oh et al. 2022): zero whole leads of the network's input."""

import numpy as np


def draw_lead_mask(
    rng: np.random.Generator, probability: float, n_leads: int = 12, keep_one: bool = False
) -> np.ndarray:
    """Draw which leads to hide, each with the same probability.

    Parameters
    ----------
    rng : numpy Generator
    probability : float
        Of each lead to be hidden.
    keep_one : bool
        Draw one lead to be shown when all would be hidden (published: all twelve may vanish, once in 4,096 ECGs).

    Returns
    -------
    ndarray, shape (12,), bool
        True where the lead is hidden.
    """
    hidden = rng.random(n_leads) < probability
    if keep_one and hidden.all():
        hidden[rng.integers(n_leads)] = False
    return hidden
