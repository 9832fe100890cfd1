"""Binary cross-entropy: the published number, masks, and a validation's figures from all processes' predictions."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from omegaconf import OmegaConf
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from torch import nn
from torch.nn import functional

from ecgtext_plugins.errors import BadConfig, BadLoss
from tests.processes import in_processes

SHARED = Path(os.environ["ECGTEXT_SHARED"]) if "ECGTEXT_SHARED" in os.environ else None
NEEDS_SHARED = pytest.mark.skipif(SHARED is None, reason="ECGTEXT_SHARED is not set")
ROWS, CLASSES = 17, 4


def build(task=None, **keys):
    from ecgtext_plugins.criterions.binary_cross_entropy_with_logits import (
        BinaryCrossEntropyWithLogits,
        BinaryCrossEntropyWithLogitsConfig,
    )

    cfg = OmegaConf.merge(OmegaConf.structured(BinaryCrossEntropyWithLogitsConfig), keys)
    return BinaryCrossEntropyWithLogits.build_criterion(cfg, task)


class Classifier(nn.Module):
    """Logits are a linear map of the mean of each lead."""

    def __init__(self, n_labels=CLASSES):
        super().__init__()
        torch.manual_seed(0)
        self.proj = nn.Linear(12, n_labels)

    def forward(self, ecg, ecg_padding_mask=None, mask_seed=None):
        return {"logits": self.proj(ecg.mean(-1))}


class Fixed(nn.Module):
    """Logits are given."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.as_tensor(logits))

    def forward(self, ecg, ecg_padding_mask=None, mask_seed=None):
        return {"logits": self.logits}


def sample(rows=range(ROWS), masked=False):
    rng = torch.Generator().manual_seed(1)
    ecg = torch.randn(ROWS, 12, 20, generator=rng) * 8
    label = (torch.rand(ROWS, CLASSES, generator=rng) < torch.tensor([0.2, 0.4, 0.6, 0.0])).float()
    mask = torch.rand(ROWS, CLASSES, generator=rng) < 0.8
    rows = list(rows)
    target = {
        "label": label.masked_fill(~mask, torch.nan)[rows] if masked else label[rows],
        "label_mask": mask[rows] if masked else None,
        "question_type": (torch.arange(ROWS) % 3 - 1)[rows],
    }
    net_input = {"ecg": ecg[rows], "ecg_padding_mask": None}
    counts = {"nsentences": len(rows), "ntokens": 20 * len(rows)}
    return {"id": torch.tensor(rows) + 100, "net_input": net_input, "target": target, **counts}


def given(logits, label, **target):
    n = len(label)
    target = {"label": torch.as_tensor(label, dtype=torch.float32), **target}
    counts = {"nsentences": n, "ntokens": n}
    net_input = {"ecg": torch.zeros(n, 12, 4), "ecg_padding_mask": None}
    return {"id": torch.arange(n), "net_input": net_input, "target": target, **counts}


@NEEDS_SHARED
def test_golden_loss():
    golden = np.load(SHARED / "golden/ecg_fm_finetuned_tiny_ref.npz")
    criterion = build(pos_weight=golden["pos_weight"].tolist())
    batch = given(golden["logits"], golden["label"])
    loss, size, log = criterion(Fixed(golden["logits"]), batch)
    assert loss.item() == pytest.approx(float(golden["crit_loss"]), rel=1e-6)
    assert size == log["sample_size"] == int(golden["crit_sample_size"])


def test_pos_weight_as_a_command_line_gives_it():
    """hydra parses `criterion.pos_weight=[2,1.5]`; one number for each label is expected."""
    parsed = OmegaConf.from_dotlist(["pos_weight=[2,1.5]"])
    criterion = build(**parsed, weight=[1.0, 3.0])
    logits, label = torch.tensor([[0.3, -1.0], [2.0, 0.1]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    expected = functional.binary_cross_entropy_with_logits(
        logits, label, torch.tensor([1.0, 3.0]), pos_weight=torch.tensor([2.0, 1.5]), reduction="sum"
    )
    assert criterion(Fixed(logits), given(logits, label))[0].item() == pytest.approx(expected.item(), rel=1e-6)
    with pytest.raises(BadConfig, match="pos_weight has 3 numbers: expected 2"):
        build(pos_weight=[1, 2, 3])(Fixed(logits), given(logits, label))
    with pytest.raises(BadConfig, match="expected model.num_labels"):
        build()(Fixed(logits), given(logits, label[:, :1]))


def test_masked_labels_give_no_loss_and_no_gradient():
    model, batch = Classifier(), sample(masked=True)
    loss, size, _ = build(pos_weight=[1, 2, 3, 4])(model, batch)
    loss.backward()
    gradient = model.proj.weight.grad.clone()
    label, mask = batch["target"]["label"], batch["target"]["label_mask"]
    logits = model(batch["net_input"]["ecg"])["logits"]
    weight = torch.tensor([1.0, 2, 3, 4]).expand_as(logits)[mask]
    expected = functional.binary_cross_entropy_with_logits(
        logits[mask], label[mask], pos_weight=weight, reduction="sum"
    )
    model.zero_grad()
    expected.backward()
    assert size == mask.sum() and loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.allclose(gradient, model.proj.weight.grad, rtol=1e-5, atol=1e-7)


def validate(criterion, model, batches):
    criterion.epoch_scores.reset()
    with torch.no_grad():
        for batch in batches:
            criterion(model.eval(), batch)
    return criterion.epoch_figures()


def test_epoch_figures_equal_scikit_learn_on_all_predictions():
    model, batch = Classifier(), sample()
    figures = validate(build(report_auc=True), model, [sample(range(9)), sample(range(9, ROWS))])
    scores = model(batch["net_input"]["ecg"])["logits"].detach().numpy()
    labels = batch["target"]["label"].numpy() > 0
    assert figures["undefined_classes"] == 1  # no record has the last class
    for name, theirs in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        expected = np.mean([theirs(labels[:, k], scores[:, k]) for k in range(3)])
        assert figures[f"macro_{name}"] == figures[name] == pytest.approx(expected, rel=1e-12)
        assert figures[f"micro_{name}"] == pytest.approx(theirs(labels, scores, average="micro"), rel=1e-12)
        assert figures[f"micro_{name}"] != figures[name]
    decisions = scores > 0
    assert figures["f1"] == figures["micro_f1"] == pytest.approx(f1_score(labels, decisions, average="micro"))
    assert figures["macro_f1"] == pytest.approx(f1_score(labels, decisions, average="macro", zero_division=np.nan))
    assert figures["accuracy"] == pytest.approx((labels == decisions).mean())
    assert figures["em_accuracy"] == pytest.approx((labels == decisions).all(1).mean())
    micro = validate(build(report_auc=True, auc_average="micro"), model, [batch])
    assert micro["auroc"] == figures["micro_auroc"] and micro["macro_auroc"] == figures["macro_auroc"]
    assert "auroc" not in validate(build(), model, [batch])


def test_a_record_counts_once_and_training_keeps_nothing():
    model, criterion = Classifier(), build(report_auc=True)
    once = validate(criterion, model, [sample()])
    assert validate(criterion, model, [sample(), sample(range(5))]) == once
    with torch.no_grad():
        criterion(model, sample(masked=True))  # again without reset: what came last counts
        assert criterion.epoch_figures() == validate(build(report_auc=True), model, [sample(masked=True)])
    criterion.epoch_scores.reset()
    criterion(model.train(), sample())
    criterion.is_dummy = True
    criterion(model.eval(), sample())
    assert criterion.epoch_figures() == {}


def test_figures_of_each_question_type():
    model, batch = Classifier(), sample()
    figures = validate(build(report_auc=True, per_log_keys=["question_type"]), model, [batch])
    types = batch["target"]["question_type"].numpy()
    scores = model(batch["net_input"]["ecg"])["logits"].detach().numpy()
    labels = batch["target"]["label"].numpy() > 0
    for value in (0, 1):
        right = ((scores > 0) == labels)[types == value].all(1).mean()
        assert figures[f"question_type_{value}_em_accuracy"] == pytest.approx(right)
        assert f"question_type_{value}_auroc" in figures
    assert not any("-1" in name for name in figures)
    with pytest.raises(BadConfig, match="per_log_keys names attribute: expected one of label"):
        validate(build(per_log_keys=["attribute"]), model, [batch])


def test_threshold_is_a_probability():
    model, batch = Classifier(), sample()
    figures = validate(build(threshold=0.9), model, [batch])
    decisions = model(batch["net_input"]["ecg"])["logits"].sigmoid() > 0.9
    assert figures["accuracy"] == pytest.approx((decisions == batch["target"]["label"].bool()).float().mean().item())
    for wrong in (0.0, 1.0):
        with pytest.raises(BadConfig, match="criterion.threshold"):
            build(threshold=wrong)


@NEEDS_SHARED
def test_golden_challenge_figures():
    golden = np.load(SHARED / "golden/challenge2021_metric.npz")
    names = [str(name) for name in golden["classes"]]
    keys = {"report_cinc_score": True, "weights_file": str(SHARED / "data/challenge2021/weights.csv")}
    logits = torch.where(torch.as_tensor(golden["binary_outputs"]), 1.0, -1.0)
    criterion = build(SimpleNamespace(target_labels=names), **keys)
    figures = validate(criterion, Fixed(logits), [given(logits, golden["labels"])])
    assert figures["cinc_score"] == pytest.approx(float(golden["challenge_metric"]), rel=1e-12)
    assert figures["macro_f1"] == pytest.approx(float(golden["macro_f"]), rel=1e-12)
    with pytest.raises(BadConfig, match="weights_file"):
        build(report_cinc_score=True)


def test_predictions_that_are_not_finite_are_refused():
    logits = torch.tensor([[0.0, 1.0], [torch.nan, 0.0], [1.0, 1.0]])
    with pytest.raises(BadLoss, match="predictions of 1 of 3 records are not finite"):
        validate(build(report_auc=True), Fixed(logits), [given(logits, torch.eye(3, 2))])
    with pytest.raises(BadConfig, match="auc_average=weighted: expected one of macro, micro"):
        build(auc_average="weighted")


def test_logged_figures_are_those_of_the_sums():
    """Batches of unequal size: fairseq's meters give what one batch of all gives; the loss is in bits."""
    from fairseq import metrics

    model, criterion = Classifier(), build()
    logs = [criterion(model, sample(rows))[2] for rows in (range(5), range(5, ROWS))]
    whole = criterion(model, sample())[2]
    values = []
    for outputs in (logs, [whole]):
        with metrics.aggregate(new_root=True) as meters:
            for log in outputs:
                criterion.reduce_metrics([log])
        values.append(meters.get_smoothed_values())
    assert values[0] == {
        name: pytest.approx(value, abs=2e-4) for name, value in values[1].items() if name != "nsignals"
    } | {"nsignals": ROWS / 2}
    assert values[1]["loss"] == pytest.approx(whole["loss"].item() / whole["sample_size"] / np.log(2), abs=1e-4)
    assert {"accuracy", "em_accuracy", "precision", "recall", "f1"} <= set(values[1])


PARTS = {2: (range(9), range(9, ROWS)), 3: (range(4), range(4, ROWS), ())}


def process(rank, world, folder):
    model, criterion = Classifier(), build(report_auc=True, pos_weight=[1, 2, 3, 4])
    rows = PARTS[world][rank]
    batch = sample(rows or range(3), masked=True)  # without batches of its own: an old one, whose size fairseq zeroes
    loss, size, _ = criterion(model, batch)
    (loss if rows else loss * 0).backward()
    total = torch.tensor(float(size) if rows else 0.0)
    dist.all_reduce(total)
    dist.all_reduce(model.proj.weight.grad)
    criterion.epoch_scores.reset()
    if rows:
        figures = validate(criterion, model, [batch, sample(range(3), masked=True)])
    else:
        figures = criterion.epoch_figures()
    torch.save((model.proj.weight.grad / total, figures), f"{folder}/{rank}.pt")


@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_processes_equal_one(world, tmp_path):
    """The last of three has no batches; each of the others goes through three records of the first again."""
    in_processes(world, process, tmp_path)
    model, criterion = Classifier(), build(report_auc=True, pos_weight=[1, 2, 3, 4])
    loss, size, _ = criterion(model, sample(masked=True))
    (loss / size).backward()
    expected = validate(criterion, model, [sample(masked=True)])
    for rank in range(world):
        gradient, figures = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert torch.allclose(gradient, model.proj.weight.grad, rtol=1e-5, atol=1e-7)
        assert figures == expected
