"""Random generators that depend on seed, epoch and item alone: never on workers, batch order or a resume."""

import numpy as np

PURPOSES = (
    "batch_order",
    "lead_mask",
    "crop",
    "token_mask",
    "swap_rows",
    "swap_report",
    "shuffle_reports",
    "patch_mask",
)


def generator(purpose: str, seed: int, epoch: int, *keys: int) -> np.random.Generator:
    """Return the generator for one purpose.

    Parameters
    ----------
    purpose : str
        One of `PURPOSES`, so that two draws for the same item are independent.
    seed, epoch : int
        Non-negative.
    keys : int
        What the draw is for: the index of an item, or all indices of a batch.
    """
    return np.random.default_rng([PURPOSES.index(purpose), seed, epoch, *keys])
