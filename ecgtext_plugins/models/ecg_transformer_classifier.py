"""ECG-FM with a linear head as the fairseq model `ecg_transformer_classifier`."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model

from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.models._encoder_path import load_encoder
from ecgtext_plugins.modules.ecg_classifier import EcgClassifier, EcgClassifierConfig


@dataclass
class EcgFinetuningModelConfig(EcgClassifierConfig, FairseqDataclass):
    """Keys of models that are fine-tuned; see `EcgClassifierConfig`."""

    num_labels: Optional[int] = field(
        default=None, metadata={"help": "labels or identities; null: as many as the task's data has"}
    )
    encoder_path: Optional[str] = field(
        default=None,
        metadata={"help": "checkpoint of any model with an ECG encoder, to start from; null: random weights"},
    )
    model_path: Optional[str] = field(
        default=None, metadata={"help": "the same as encoder_path, fairseq-signals' name"}
    )
    no_pretrained_weights: bool = field(default=False, metadata={"help": "ignore encoder_path and model_path"})


def number_of_labels(cfg: EcgFinetuningModelConfig, task) -> int:
    """Return `num_labels`, or where it is null the number of `task.target_labels`.

    Raises
    ------
    BadConfig
        When neither says how many.
    """
    if cfg.num_labels is not None:
        return cfg.num_labels
    labels = getattr(task, "target_labels", None)
    if not labels:
        raise BadConfig(
            "model.num_labels is null and the task names no labels: expected a number, or a task whose data has labels"
        )
    return len(labels)


@register_model("ecg_transformer_classifier", dataclass=EcgFinetuningModelConfig)
class EcgTransformerClassifierModel(EcgClassifier, BaseFairseqModel):
    """`EcgClassifier` with fairseq's model interface and the same state dict."""

    @classmethod
    def build_model(cls, cfg: EcgFinetuningModelConfig, task) -> "EcgTransformerClassifierModel":
        """Build, and copy another checkpoint's ECG encoder if the config names one."""
        model = cls(cfg, number_of_labels(cfg, task))
        load_encoder(model, cfg)
        return model
