"""D-BETA's criterion: the weighted sum of MLM, MEM, ETM and ETS."""

from dataclasses import dataclass, field

from fairseq.criterions import register_criterion

from ecgtext_plugins.criterions._terms import EtsOptions, MemOptions, MlmOptions, TermsCriterion


@dataclass
class DBetaCriterionConfig(MlmOptions, MemOptions, EtsOptions):
    """Keys of `criterion=dbeta`."""

    mlm_weight: float = field(default=1.0, metadata={"help": "weight of MLM; 0 = not computed"})
    mem_weight: float = field(default=1.0, metadata={"help": "weight of MEM; 0 = not computed"})
    etm_weight: float = field(default=1.0, metadata={"help": "weight of ETM; 0 = not computed"})
    ets_weight: float = field(default=1.0, metadata={"help": "weight of ETS; 0 = not computed"})


@register_criterion("dbeta", dataclass=DBetaCriterionConfig)
class DBetaCriterion(TermsCriterion):
    """Weighted sum of the four terms (paper: all weights 1)."""
