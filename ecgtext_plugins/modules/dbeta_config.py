"""Sizes and switches of D-BETA."""

from dataclasses import dataclass, field

from ecgtext_plugins.modules.conv_stem import parse_conv_layers
from ecgtext_plugins.modules.ecg_encoder import EcgEncoderConfig


@dataclass
class DBetaConfig(EcgEncoderConfig):
    """Keys of D-BETA; the defaults are the released ones (321,387,330 parameters with Flan-T5-base)."""

    hidden_dim: int = field(default=768, metadata={"help": "width of fusion and heads"})
    num_heads: int = field(default=12, metadata={"help": "attention heads of the fusion layers"})
    num_top_layer: int = field(default=6, metadata={"help": "fusion layers"})
    drop_rate: float = field(default=0.1, metadata={"help": "dropout of the fusion layers"})
    mem_prob: float = field(default=0.75, metadata={"help": "share of ECG patches hidden from the encoder in training"})
    mem_layer: int = field(default=3, metadata={"help": "MEM decodes the ECG stream after this many fusion layers"})
    mem_decoder_hidden_dim: int = field(default=384, metadata={"help": "width of the MEM decoder"})
    mem_decoder_num_layers: int = field(default=4, metadata={"help": "layers of the MEM decoder"})
    mem_decoder_num_heads: int = field(default=6, metadata={"help": "attention heads of the MEM decoder"})
    text_attention_mask: bool = field(
        default=True, metadata={"help": "hide padding from the text encoder (false: attend to it, as the release does)"}
    )
    text_frozen_layers: int = field(
        default=0, metadata={"help": "text encoder: freeze embeddings and so many first layers; -1: all of it"}
    )
    text_lr_factor: float = field(
        default=1.0, metadata={"help": "factor on the learning rate of the text encoder (needs optimizer=adamw)"}
    )
    ets_normalize: bool = field(
        default=False, metadata={"help": "cosine instead of dot product between ECG and text features (release: false)"}
    )
    ets_learnable_scale: bool = field(
        default=False, metadata={"help": "learn logit scale and bias of ETS as SigLIP does (paper: fixed)"}
    )
    ets_logit_scale: float = field(default=1.0, metadata={"help": "logit scale of ETS, or its initial value"})
    ets_logit_bias: float = field(default=0.0, metadata={"help": "logit bias of ETS, or its initial value"})
    checkpoint_activations: bool = field(
        default=False, metadata={"help": "keep no activations inside layers, compute them again: less memory, slower"}
    )
    compile_layers: bool = field(
        default=False, metadata={"help": "torch.compile for the ECG encoder's and the fusion's layers"}
    )


def check_sizes(config: DBetaConfig) -> None:
    """Refuse sizes that do not fit together.

    Raises
    ------
    ValueError
        Naming the keys.
    """
    if not 1 <= config.mem_layer <= config.num_top_layer:
        raise ValueError(f"mem_layer={config.mem_layer} must lie between 1 and num_top_layer={config.num_top_layer}")
    overlapping = [layer for layer in parse_conv_layers(config.conv_feature_layers) if layer[1] != layer[2]]
    if overlapping:
        raise ValueError(
            f"conv_feature_layers={config.conv_feature_layers!r} has a layer {overlapping[0]} whose kernel is not "
            "its stride: MEM predicts patches that do not overlap, so expected kernel = stride in every layer"
        )
    if not config.text_lr_factor > 0:
        raise ValueError(f"text_lr_factor={config.text_lr_factor}: expected more than 0; text_frozen_layers=-1 freezes")
    if config.ets_learnable_scale and not config.ets_logit_scale > 0:
        raise ValueError(f"ets_logit_scale={config.ets_logit_scale}: expected more than 0 where it is learned")
