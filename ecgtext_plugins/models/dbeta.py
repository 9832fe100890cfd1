"""D-BETA as the fairseq model `dbeta`."""

from dataclasses import dataclass

from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model

from ecgtext_plugins.modules.dbeta import DBeta, DBetaConfig


@dataclass
class DBetaModelConfig(DBetaConfig, FairseqDataclass):
    """Keys of `model=dbeta`; see `DBetaConfig`."""


@register_model("dbeta", dataclass=DBetaModelConfig)
class DBetaModel(DBeta, BaseFairseqModel):
    """`DBeta` with fairseq's model interface and the same state dict."""

    @classmethod
    def build_model(cls, cfg: DBetaModelConfig, task) -> "DBetaModel":
        """Build with the text encoder of the task."""
        return cls(cfg, task.build_text_encoder())
