from itertools import groupby

import numpy as np

from ecgtext_plugins.signals.runs import find_runs


def runs_by_groupby(flags):
    """Walk through every row sample by sample."""
    found = []
    for row, values in enumerate(flags):
        place = 0
        for value, group in groupby(values.tolist()):
            length = len(list(group))
            if value:
                found.append((row, place, place + length))
            place += length
    return found


def test_runs_are_those_of_a_walk_through_the_samples():
    rng = np.random.default_rng(0)
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        for samples in (0, 1, 2, 40):
            flags = rng.random((5, samples)) < share
            found = [tuple(int(value) for value in run) for run in zip(*find_runs(flags), strict=True)]
            assert found == runs_by_groupby(flags)


def test_a_run_does_not_go_on_in_the_next_row():
    rows, starts, ends = find_runs(np.array([[False, True, True], [True, False, False]]))
    assert (rows.tolist(), starts.tolist(), ends.tolist()) == ([0, 1], [1, 0], [3, 1])
