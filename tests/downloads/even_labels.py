"""Labels drawn so that none is rare: what small downloads need for every class to be in every split."""

import numpy as np


class EvenLabels:
    """Draw different labels for a record; within a group of records, no label comes twice before each has come once.

    Parameters
    ----------
    rng : Generator
    names : sequence of str
    """

    def __init__(self, rng: np.random.Generator, names):
        self.rng, self.names, self.left = rng, list(names), {}

    def draw(self, group: str, count: int) -> list[str]:
        left, drawn = self.left.setdefault(group, []), []
        while len(drawn) < count:
            fresh = [name for name in left if name not in drawn]
            if not fresh:
                left.extend(str(name) for name in self.rng.permutation(self.names))
                continue
            left.remove(fresh[0])
            drawn.append(fresh[0])
        return drawn
