"""torch's fused AdamW as the fairseq optimizer `adamw`."""

from dataclasses import dataclass, field

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II

from ecgtext_plugins.errors import BadConfig


@dataclass
class AdamWConfig(FairseqDataclass):
    """Keys of `optimizer=adamw`."""

    betas: list[float] = field(
        default_factory=lambda: [0.9, 0.999], metadata={"help": "decay of the running means of gradient and square"}
    )
    eps: float = field(default=1e-8, metadata={"help": "added to the root of the mean square"})
    weight_decay: float = field(default=0.0, metadata={"help": "decoupled: lr * weight_decay * weight each step"})
    eps_placement: str = field(
        default="fairseq",
        metadata={
            "help": "add eps before the bias correction, as fairseq's adam, or after it, as torch (fairseq|torch)"
        },
    )
    fused: bool = field(default=True, metadata={"help": "torch's fused kernel; false: its loop over tensors"})
    lr: list[float] = II("optimization.lr")


@register_optimizer("adamw", dataclass=AdamWConfig)
class FairseqAdamW(FairseqOptimizer):
    """AdamW (Loshchilov and Hutter 2019).

    With ``eps_placement=fairseq`` a step equals fairseq's adam: that adds eps to the root of the uncorrected mean
    square, so torch's eps is set to eps / sqrt(1 - beta2 ** t) before step t. A parameter's attribute ``lr_factor``
    multiplies its learning rate.

    Raises
    ------
    BadConfig
        For values that AdamW cannot have.
    """

    def __init__(self, cfg: AdamWConfig, params):
        super().__init__(cfg)
        if cfg.eps_placement not in ("fairseq", "torch"):
            raise BadConfig(f"optimizer.eps_placement={cfg.eps_placement}: expected fairseq or torch")
        if len(cfg.betas) != 2 or not all(0 <= beta < 1 for beta in cfg.betas):
            raise BadConfig(f"optimizer.betas={list(cfg.betas)}: expected two numbers from 0 to below 1")
        by_factor: dict[float, list] = {}
        for parameter in params:
            by_factor.setdefault(float(getattr(parameter, "lr_factor", 1.0)), []).append(parameter)
        groups = [{"params": group, "lr_factor": factor} for factor, group in sorted(by_factor.items(), reverse=True)]
        self._optimizer = torch.optim.AdamW(groups, fused=cfg.fused, **self.optimizer_config)
        self.set_lr(cfg.lr[0])

    @property
    def optimizer_config(self) -> dict:
        """Arguments that replace those of a checkpoint on a resume."""
        cfg = self.cfg
        return {"lr": cfg.lr[0], "betas": tuple(cfg.betas), "eps": cfg.eps, "weight_decay": cfg.weight_decay}

    @property
    def supports_flat_params(self) -> bool:
        """Whether fairseq's bf16 mode may hand over one flat master copy: not with learning rates of their own."""
        return all(group["lr_factor"] == 1.0 for group in self.param_groups)

    def get_lr(self) -> float:
        """Learning rate of parameters without a factor."""
        return self.param_groups[0]["lr"] / self.param_groups[0]["lr_factor"]

    def set_lr(self, lr: float) -> None:
        """Set the learning rate, times each group's factor."""
        for group in self.param_groups:
            group["lr"] = lr * group["lr_factor"]

    def load_state_dict(self, state_dict: dict, optimizer_overrides: dict | None = None) -> None:
        """Load states; settings come from the config, as fairseq's optimizers do."""
        factors = [group["lr_factor"] for group in self.param_groups]
        super().load_state_dict(state_dict, optimizer_overrides)
        for group, factor in zip(self.param_groups, factors, strict=True):
            group["lr_factor"], group["fused"] = factor, self.cfg.fused
        self.set_lr((optimizer_overrides or {}).get("lr", self.cfg.lr[0]))

    def step(self, closure=None, scale: float = 1.0, groups=None) -> None:
        """One step."""
        if self.cfg.eps_placement == "fairseq":
            for group in self.param_groups:
                steps = [self._optimizer.state[p]["step"] for p in group["params"] if self._optimizer.state.get(p)]
                done = int(steps[0]) if steps else 0
                group["eps"] = self.cfg.eps / (1.0 - group["betas"][1] ** (done + 1)) ** 0.5
        super().step(closure, scale, groups)
