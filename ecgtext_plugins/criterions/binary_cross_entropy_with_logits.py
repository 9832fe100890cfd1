"""Multi-label classification: binary cross-entropy, and a validation's figures from all of its predictions."""

import math
from dataclasses import dataclass, field
from typing import Optional

import numpy as np
import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from torch import Tensor
from torch.nn import functional

from ecgtext_plugins.criterions._epoch_scores import EpochScores
from ecgtext_plugins.criterions._logging import batch_counts, log_ratio, log_totals, sums
from ecgtext_plugins.criterions.classification_metrics import (
    areas,
    confusion_counts,
    exact_match,
    load_challenge_weights,
)
from ecgtext_plugins.errors import BadConfig, BadLoss

AVERAGES = ("macro", "micro")
COUNTED = ("em_correct", "em_count", "true_positives", "false_positives", "false_negatives")


@dataclass
class BinaryCrossEntropyWithLogitsConfig(FairseqDataclass):
    """Keys of `criterion=binary_cross_entropy_with_logits`."""

    weight: Optional[list[float]] = field(default=None, metadata={"help": "weight of each label's loss (null: 1)"})
    pos_weight: Optional[list[float]] = field(
        default=None, metadata={"help": "weight of each label's positive records, e.g. [1.5,20] (null: 1)"}
    )
    threshold: float = field(default=0.5, metadata={"help": "probability above which a label is decided positive"})
    report_auc: bool = field(default=False, metadata={"help": "report areas under curves in validation"})
    auc_average: str = field(
        default="macro", metadata={"help": "which average auroc and auprc are; macro_* and micro_* are always reported"}
    )
    report_cinc_score: bool = field(
        default=False, metadata={"help": "report the PhysioNet/CinC Challenge 2021 metric in validation"}
    )
    weights_file: Optional[str] = field(default=None, metadata={"help": "the Challenge's weights.csv"})
    per_log_keys: list[str] = field(
        default_factory=list,
        metadata={"help": "report validation figures apart for each value of these keys of a batch's targets"},
    )


@register_criterion("binary_cross_entropy_with_logits", dataclass=BinaryCrossEntropyWithLogitsConfig)
class BinaryCrossEntropyWithLogits(FairseqCriterion):
    """Sum of the binary cross-entropy over records and labels; the sample size is the number of scored labels.

    So the gradients of several processes, which fairseq sums and divides by the sum of the sample sizes, are those of
    one process on the whole batch.

    Attributes
    ----------
    epoch_scores : EpochScores
        Predictions since its last `reset`; outside training only.
    is_dummy : bool
        Set by the task where a process has run out of batches and goes through an old one.
    """

    def __init__(self, cfg: BinaryCrossEntropyWithLogitsConfig, task):
        super().__init__(task)
        self.cfg, self.is_dummy, self.epoch_scores = cfg, False, EpochScores()
        if cfg.auc_average not in AVERAGES:
            raise BadConfig(f"criterion.auc_average={cfg.auc_average}: expected one of {', '.join(AVERAGES)}")
        if not 0.0 < cfg.threshold < 1.0:
            raise BadConfig(f"criterion.threshold={cfg.threshold}: expected a probability between 0 and 1")
        self.least_logit = math.log(cfg.threshold / (1.0 - cfg.threshold))
        self.challenge = None
        if cfg.report_cinc_score:
            if not cfg.weights_file:
                raise BadConfig("criterion.report_cinc_score=true: expected criterion.weights_file, a weights.csv")
            self.challenge = load_challenge_weights(cfg.weights_file, list(task.target_labels))

    @classmethod
    def build_criterion(cls, cfg: BinaryCrossEntropyWithLogitsConfig, task) -> "BinaryCrossEntropyWithLogits":
        """Build from the typed config."""
        return cls(cfg, task)

    def forward(self, model, sample: dict) -> tuple[Tensor, Tensor | int, dict]:
        """Return (loss, sample size, logging output) of one batch."""
        target = sample["target"]
        logits = model(**sample["net_input"], mask_seed=target.get("mask_seed"))["logits"].float()
        label, mask = target["label"].float(), target.get("label_mask")
        mask = torch.ones_like(logits, dtype=torch.bool) if mask is None else mask
        loss = self._loss(logits, label, mask)
        sample_size = logits.numel() if target.get("label_mask") is None else mask.sum()
        log = batch_counts(sample, sample_size) | {"loss": loss.detach()}
        with torch.no_grad():
            positive = label >= 0.5
            log |= _counts(positive, logits > self.least_logit, mask)
            if not model.training and not self.is_dummy:
                self._keep(sample, logits, positive, mask)
        return loss, sample_size, log

    def _loss(self, logits: Tensor, label: Tensor, mask: Tensor) -> Tensor:
        if label.shape != logits.shape or mask.shape != logits.shape:
            raise BadConfig(
                f"labels have shape {tuple(label.shape)}, the model's logits {tuple(logits.shape)}: expected "
                "model.num_labels to be the number of the data's labels"
            )
        label = label.masked_fill(~mask, 0.0)  # what is not known may be NaN
        each = functional.binary_cross_entropy_with_logits(
            logits,
            label,
            weight=self._per_label("weight", logits),
            pos_weight=self._per_label("pos_weight", logits),
            reduction="none",
        )
        return each.masked_fill(~mask, 0.0).sum()

    def _per_label(self, key: str, logits: Tensor) -> Tensor | None:
        values = getattr(self.cfg, key)
        if values is None:
            return None
        if len(values) != logits.shape[1]:
            raise BadConfig(
                f"criterion.{key} has {len(values)} numbers: expected {logits.shape[1]}, one for each label"
            )
        return logits.new_tensor(list(values))

    def _keep(self, sample: dict, logits: Tensor, positive: Tensor, mask: Tensor) -> None:
        keys = {}
        for key in self.cfg.per_log_keys:
            if key not in sample["target"]:
                raise BadConfig(
                    f"criterion.per_log_keys names {key}: expected one of {', '.join(sample['target'])}, "
                    "which a batch of this task has"
                )
            keys[f"key_{key}"] = sample["target"][key]
        self.epoch_scores.add(sample["id"], scores=logits, labels=positive, mask=mask, **keys)

    def epoch_figures(self) -> dict[str, float]:
        """Figures of all predictions kept by all processes, which must call it together; nan where undefined.

        Raises
        ------
        BadLoss
            When a prediction is not finite.
        """
        kept = self.epoch_scores.gather()
        if not kept:
            return {}
        scores, labels, mask = kept["scores"], kept["labels"], kept["mask"]
        finite = np.isfinite(scores).all(axis=1)
        if not finite.all():
            raise BadLoss(
                f"predictions of {(~finite).sum()} of {len(finite)} records are not finite: the training has diverged; "
                "go back to an earlier checkpoint and lower the learning rate"
            )
        decisions = scores > self.least_logit
        counts = confusion_counts(labels, decisions, mask)
        figures = {
            "accuracy": counts.accuracy(),
            "em_accuracy": exact_match(labels, decisions, mask),
            "precision": counts.precision(),
            "recall": counts.recall(),
            "f1": counts.micro_f1(),
            "micro_f1": counts.micro_f1(),
            "macro_f1": counts.macro_f1(),
        }
        if self.cfg.report_auc:
            figures |= self._area_figures(labels, scores, mask)
        if self.challenge is not None:
            figures["cinc_score"] = self.challenge.score(labels & mask, decisions & mask)
        for key in self.cfg.per_log_keys:
            values = kept[f"key_{key}"]
            for value in np.unique(values[values >= 0]):
                chosen = [part[values == value] for part in (labels, scores, mask)]
                figures |= {f"{key}_{value}_{name}": figure for name, figure in self._figures_of_key(*chosen).items()}
        return figures

    def _area_figures(self, labels: np.ndarray, scores: np.ndarray, mask: np.ndarray) -> dict[str, float]:
        figures = {}
        for kind in ("auroc", "auprc"):
            found = areas(labels, scores, kind, mask)
            figures |= {f"macro_{kind}": found.macro, f"micro_{kind}": found.micro}
            figures[kind] = figures[f"{self.cfg.auc_average}_{kind}"]
            if kind == "auroc":
                figures["undefined_classes"] = float(found.n_undefined)
        return figures

    def _figures_of_key(self, labels: np.ndarray, scores: np.ndarray, mask: np.ndarray) -> dict[str, float]:
        figures = {"em_accuracy": exact_match(labels, scores > self.least_logit, mask)}
        if self.cfg.report_auc:
            found = self._area_figures(labels, scores, mask)
            figures |= {kind: found[kind] for kind in ("auroc", "auprc")}
        return figures

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict]) -> None:
        """Log the loss in bits and what sums of counts give; areas come from `epoch_figures`."""
        totals = sums(logging_outputs)
        log_totals(totals, apart=COUNTED)
        right, wrong, missed = (totals.get(key, 0.0) for key in COUNTED[2:])
        log_ratio("em_accuracy", totals.get("em_correct", 0.0), totals.get("em_count", 0.0))
        log_ratio("precision", right, right + wrong)
        log_ratio("recall", right, right + missed)
        log_ratio("f1", 2 * right, 2 * right + wrong + missed)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All values are sums."""
        return True


def _counts(positive: Tensor, decided: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Count over a batch what accuracies, precision, recall and F1 are made of."""
    right = positive == decided
    judged = mask.any(dim=1)
    return {
        "correct": (right & mask).sum(),
        "count": mask.sum(),
        "em_correct": ((right | ~mask).all(dim=1) & judged).sum(),
        "em_count": judged.sum(),
        "true_positives": (positive & decided & mask).sum(),
        "false_positives": (~positive & decided & mask).sum(),
        "false_negatives": (positive & ~decided & mask).sum(),
    }
