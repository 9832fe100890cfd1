"""ECG-FM's pretraining criterion: InfoNCE of hidden frames, diversity of codes, feature penalty and CMSC."""

from dataclasses import dataclass, field
from typing import Optional

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from torch import Tensor

from ecgtext_plugins.criterions._logging import batch_counts, log_totals, sums
from ecgtext_plugins.criterions.cmsc import CmscCriterionConfig, cmsc_of_batch, size_of_mean
from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.modules.ets_exchange import share_of_all, world_size
from ecgtext_plugins.modules.gumbel_quantizer import perplexity
from ecgtext_plugins.modules.infonce_loss import diversity_loss, infonce_counts, infonce_loss

OF_CODES = ("prob_perplexity", "code_perplexity", "temp")  # outputs of models that quantise targets


@dataclass
class Wav2Vec2WithCmscConfig(CmscCriterionConfig):
    """Keys of `criterion=wav2vec2_with_cmsc`."""

    infonce: bool = field(default=True, metadata={"help": "tell the right target from wrong ones; must be true"})
    loss_weights: Optional[list[float]] = field(
        default=None, metadata={"help": "weights of code diversity and feature penalty, as published [0.1, 10]"}
    )
    cmsc_weights: Optional[float] = field(default=None, metadata={"help": "weight of CMSC (null: 1)"})
    log_keys: list[str] = field(
        default_factory=lambda: list(OF_CODES),
        metadata={"help": "outputs of the model to log; those of codes are left out where it quantises no targets"},
    )
    all_gather: bool = field(
        default=False,
        metadata={
            "help": "CMSC and code diversity over the batches of all processes, as one process would have them; "
            "published: each process its own"
        },
    )


@register_criterion("wav2vec2_with_cmsc", dataclass=Wav2Vec2WithCmscConfig)
class Wav2Vec2WithCmsc(FairseqCriterion):
    """Sum of four terms; those that are means count S times, the number of hidden frames and the sample size.

    fairseq sums gradients over processes and divides by the sum of S. InfoNCE is a sum over frames, so nothing is to be
    done; the feature penalty of a process counts as its share of the frames says; with `all_gather`, CMSC and code
    diversity are those of the whole batch. All gradients are then those of one process.

    Attributes
    ----------
    is_dummy : bool
        Set by the task where a process has run out of batches: what it holds counts nothing for the others either.
    """

    def __init__(self, cfg: Wav2Vec2WithCmscConfig, task):
        super().__init__(task)
        self.cfg, self.is_dummy = cfg, False
        if not cfg.infonce:
            raise BadConfig("criterion.infonce=false: expected true, the one loss of hidden frames that there is")
        weights = cfg.loss_weights
        if weights is not None and len(weights) not in (1, 2):
            raise BadConfig(
                f"criterion.loss_weights={list(weights)}: expected two, of code diversity and feature penalty, one for "
                "both, or null"
            )
        self.diversity_weight, self.penalty_weight = (0.0, 0.0) if weights is None else (weights[0], weights[-1])
        self.cmsc_weight = 1.0 if cfg.cmsc_weights is None else cfg.cmsc_weights

    @classmethod
    def build_criterion(cls, cfg: Wav2Vec2WithCmscConfig, task) -> "Wav2Vec2WithCmsc":
        """Build from the typed config."""
        return cls(cfg, task)

    def forward(self, model, sample: dict) -> tuple[Tensor, int, dict]:
        """Return (loss, sample size, logging output) of one batch."""
        out = model(**sample["net_input"], mask_seed=sample["target"].get("mask_seed"))
        if "logits" not in out:
            raise BadConfig("the model hides no frames: expected model.apply_mask=true and a model.mask_prob above 0")
        terms = self._terms(model, out, sample["target"])
        loss = sum(terms.values())
        correct, size = infonce_counts(out["logits"])
        log = batch_counts(sample, size) | {"loss": loss.detach(), "correct": correct, "count": size}
        log |= {name: term.detach() for name, term in terms.items()}
        return loss, size, log | self._chosen(out)

    def _chosen(self, out: dict) -> dict:
        """Return the model's outputs that `log_keys` names."""
        single = {name: value for name, value in out.items() if not torch.is_tensor(value) or value.ndim == 0}
        keys = [key for key in self.cfg.log_keys if key not in OF_CODES or "num_vars" in out]
        for key in keys:
            if single.get(key) is None:
                raise BadConfig(f"criterion.log_keys names {key}: expected some of the model's {', '.join(single)}")
        return {key: single[key] for key in keys}

    def _terms(self, model, out: dict, target: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what is summed: ``loss_0`` InfoNCE, ``loss_1`` diversity, ``loss_2`` penalty, ``loss_3`` CMSC."""
        size, together = out["logits"].shape[:2].numel(), self.cfg.all_gather and model.training
        terms = {"loss_0": infonce_loss(out["logits"])}
        if self.diversity_weight and "prob_perplexity" in out:
            used = self._perplexity_of_all(out, size) if together and world_size() > 1 else out["prob_perplexity"]
            terms["loss_1"] = self.diversity_weight * diversity_loss(used, out["num_vars"]) * size
        if self.penalty_weight:
            terms["loss_2"] = self.penalty_weight * out["features_pen"] * self._penalty_size(model, out, size)
        if self.cmsc_weight:
            mean = cmsc_of_batch(out["features"], target, self.cfg, together, self.is_dummy)
            terms["loss_3"] = self.cmsc_weight * mean * size_of_mean(size, mean, together, self.is_dummy)
        return terms

    def _penalty_size(self, model, out: dict, size: int) -> Tensor | int:
        """Hidden frames of all processes, by this process's share of what the penalty is a mean over."""
        if not model.training or world_size() == 1:
            return size
        padding = out["padding"]
        whole = padding is None or model.padding_as_published
        count = out["frames"].shape[:2].numel() if whole else (~padding).sum()
        own = out["features_pen"].new_tensor([size, count], dtype=torch.float64)
        sizes, counts = share_of_all(own * (not self.is_dummy))
        return (count * sizes / counts).float()

    def _perplexity_of_all(self, out: dict, size: int) -> Tensor:
        """Perplexity of the codes' mean probabilities (G, entries) over the hidden frames of all processes.

        Its gradient is that of this process's mean, which counts as often as the process has hidden frames.
        """
        own, live = out["code_probabilities"], size * (not self.is_dummy)
        mean = share_of_all(own.detach() * live) / share_of_all(own.new_tensor(float(live)))
        return perplexity(mean + own - own.detach())

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict]) -> None:
        """Log losses in bits a hidden frame, accuracy, and means over batches of what `log_keys` names."""
        log_totals(sums(logging_outputs))

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All values are sums."""
        return True
