"""D-BETA as the fairseq model `dbeta`."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model

from ecgtext_plugins.models._encoder_path import load_encoder
from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.text.freezing import freeze_layers


@dataclass
class DBetaModelConfig(DBetaConfig, FairseqDataclass):
    """Keys of `model=dbeta`; see `DBetaConfig`."""

    encoder_path: Optional[str] = field(
        default=None, metadata={"help": "checkpoint whose ECG encoder training starts from; null: random weights"}
    )


@register_model("dbeta", dataclass=DBetaModelConfig)
class DBetaModel(DBeta, BaseFairseqModel):
    """`DBeta` with fairseq's model interface and the same state dict."""

    @classmethod
    def build_model(cls, cfg: DBetaModelConfig, task) -> "DBetaModel":
        """Build with the text encoder of the task, whose layers are frozen and learn as fast as the config says.

        Another checkpoint's ECG encoder is copied if the config names one.
        """
        encoder = task.build_text_encoder()
        freeze_layers(encoder, cfg.text_frozen_layers)
        for parameter in encoder.parameters():
            parameter.lr_factor = cfg.text_lr_factor  # read by the optimizer adamw
        model = cls(cfg, encoder)
        load_encoder(model, cfg)
        return model
