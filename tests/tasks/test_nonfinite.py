"""Losses that are no number: named, and stopped or left out."""

import logging

import pytest
import torch

from ecgtext_plugins.errors import BadLoss
from ecgtext_plugins.tasks._nonfinite import NonfiniteGuard
from tests.tasks.training import train

NAMES = ["r0", "r1", "r2", "r3"].__getitem__


def sample(bad=()):
    ecg = torch.zeros(3, 12, 4)
    for row, value in bad:
        ecg[row, 5, 2] = value
    return {"id": torch.tensor([2, 0, 3]), "net_input": {"ecg": ecg}}


def test_stop_names_the_record_and_the_terms():
    guard = NonfiniteGuard("stop")
    assert guard.check(torch.tensor(1.0), sample(), {}, NAMES) and not guard.take()
    values = {"mlm_loss": torch.tensor(1.0), "mem_loss": torch.tensor(float("nan"))}
    said = r"mem_loss = nan\): the ECG of record r3 holds NaN or inf; task.nonfinite=skip"
    with pytest.raises(BadLoss, match=said):
        guard.check(torch.tensor(float("nan")), sample([(2, float("inf"))]), values, NAMES)
    with pytest.raises(BadLoss, match="the batch holds r2, r0, r3"):
        guard.check(torch.tensor(float("inf")), sample(), values, NAMES)


def test_skip_warns_and_leaves_the_update_out(caplog):
    guard = NonfiniteGuard("skip")
    with caplog.at_level(logging.WARNING):
        assert not guard.check(torch.tensor(float("nan")), sample([(0, float("nan"))]), {}, NAMES)
    assert "record r2 holds NaN or inf; this update is left out" in caplog.text
    assert guard.take() and not guard.take()


@pytest.mark.slow
def test_a_run_with_a_bad_step(demo_data, tmp_path):
    """An infinite weight makes every loss infinite: the run stops with the sentence, or leaves all updates out."""
    keys = ("optimization.max_update=2", "dataset.disable_validation=true", "criterion.mlm_weight=1e39")
    stopped = train(demo_data, tmp_path / "stop", *keys)
    assert stopped.returncode == 1
    line = stopped.stderr.strip().splitlines()[-1]
    assert line.startswith("ecgtext: error: the loss is not a number"), line
    skipped = train(demo_data, tmp_path / "skip", *keys, "task.nonfinite=skip")
    assert skipped.returncode == 0, skipped.stderr[-3000:]
    assert (skipped.stdout + skipped.stderr).count("this update is left out") >= 2
