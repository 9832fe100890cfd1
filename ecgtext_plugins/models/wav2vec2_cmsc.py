"""ECG-FM's pretraining network as the fairseq model `wav2vec2_cmsc`."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model

from ecgtext_plugins.models._encoder_path import load_encoder
from ecgtext_plugins.modules.wav2vec2_cmsc import Wav2Vec2Cmsc, Wav2Vec2CmscConfig


@dataclass
class Wav2Vec2CmscModelConfig(Wav2Vec2CmscConfig, FairseqDataclass):
    """Keys of `model=wav2vec2_cmsc`; see `Wav2Vec2CmscConfig`."""

    encoder_path: Optional[str] = field(
        default=None, metadata={"help": "checkpoint whose ECG encoder training starts from; null: random weights"}
    )
    model_path: Optional[str] = field(default=None, metadata={"help": "the same as encoder_path"})
    no_pretrained_weights: bool = field(default=False, metadata={"help": "ignore encoder_path and model_path"})


@register_model("wav2vec2_cmsc", dataclass=Wav2Vec2CmscModelConfig)
class Wav2Vec2CmscModel(Wav2Vec2Cmsc, BaseFairseqModel):
    """`Wav2Vec2Cmsc` with fairseq's model interface and the same state dict."""

    @classmethod
    def build_model(cls, cfg: Wav2Vec2CmscModelConfig, task) -> "Wav2Vec2CmscModel":
        """Build, and copy another checkpoint's ECG encoder if the config names one."""
        model = cls(cfg)
        load_encoder(model, cfg)
        return model
