"""D-BETA as the fairseq model `dbeta`."""

from dataclasses import dataclass

from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model

from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.text.freezing import freeze_layers


@dataclass
class DBetaModelConfig(DBetaConfig, FairseqDataclass):
    """Keys of `model=dbeta`; see `DBetaConfig`."""


@register_model("dbeta", dataclass=DBetaModelConfig)
class DBetaModel(DBeta, BaseFairseqModel):
    """`DBeta` with fairseq's model interface and the same state dict."""

    @classmethod
    def build_model(cls, cfg: DBetaModelConfig, task) -> "DBetaModel":
        """Build with the text encoder of the task; freeze its layers and mark its learning rate as the config says."""
        encoder = task.build_text_encoder()
        freeze_layers(encoder, cfg.text_frozen_layers)
        for parameter in encoder.parameters():
            parameter.lr_factor = cfg.text_lr_factor  # read by the optimizer adamw
        return cls(cfg, encoder)
