"""ECG-FM as the fairseq model `arcface` for identification."""

from dataclasses import dataclass

from fairseq.models import BaseFairseqModel, register_model

from ecgtext_plugins.models._encoder_path import load_encoder
from ecgtext_plugins.models.ecg_transformer_classifier import EcgFinetuningModelConfig, number_of_labels
from ecgtext_plugins.modules.arcface import ArcFace


@dataclass
class ArcFaceModelConfig(EcgFinetuningModelConfig):
    """Keys of `model=arcface`; its labels are identities."""


@register_model("arcface", dataclass=ArcFaceModelConfig)
class ArcFaceModel(ArcFace, BaseFairseqModel):
    """`ArcFace` with fairseq's model interface and the same state dict."""

    @classmethod
    def build_model(cls, cfg: ArcFaceModelConfig, task) -> "ArcFaceModel":
        """Build, and copy another checkpoint's ECG encoder if the config names one."""
        model = cls(cfg, number_of_labels(cfg, task))
        load_encoder(model, cfg)
        return model
