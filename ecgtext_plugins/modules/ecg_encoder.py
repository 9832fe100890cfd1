"""The ECG encoder that D-BETA and ECG-FM share: convolution stem, positional convolution, transformer."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ecgtext_plugins.modules.conv_stem import ConvStem, PositionalConv, parse_conv_layers
from ecgtext_plugins.modules.transformer import TransformerEncoder


@dataclass
class EcgEncoderConfig:
    """Sizes of the ECG encoder; the defaults are those of the released D-BETA."""

    in_d: int = field(default=12, metadata={"help": "number of ECG leads"})
    conv_feature_layers: str = field(
        default="[(256, 2, 2)] * 4", metadata={"help": "stem: list of (channels, kernel, stride)"}
    )
    conv_bias: bool = field(default=False, metadata={"help": "bias in the stem's convolutions"})
    feature_grad_mult: float = field(default=1.0, metadata={"help": "factor on the gradient that reaches the stem"})
    conv_pos: int = field(default=128, metadata={"help": "kernel of the positional convolution, in frames"})
    conv_pos_groups: int = field(default=16, metadata={"help": "groups of the positional convolution"})
    encoder_layers: int = field(default=8, metadata={"help": "transformer layers of the ECG encoder"})
    encoder_embed_dim: int = field(default=768, metadata={"help": "width of the ECG encoder"})
    encoder_ffn_embed_dim: int = field(default=3072, metadata={"help": "width of its feed-forward blocks"})
    encoder_attention_heads: int = field(default=12, metadata={"help": "attention heads of the ECG encoder"})
    layer_norm_first: bool = field(default=False, metadata={"help": "pre-norm instead of post-norm layers"})
    dropout: float = field(default=0.1, metadata={"help": "dropout in the ECG transformer"})
    attention_dropout: float = field(default=0.1, metadata={"help": "dropout of its attention weights"})
    activation_dropout: float = field(default=0.0, metadata={"help": "dropout inside its feed-forward blocks"})
    encoder_layerdrop: float = field(default=0.0, metadata={"help": "probability to skip a layer in training"})
    dropout_input: float = field(default=0.1, metadata={"help": "dropout of the projected frames"})
    initializer_range: float = field(
        default=0.02, metadata={"help": "std of initial linear and embedding weights (published: 0.02, for width 768)"}
    )


class EcgEncoder(nn.Module):
    """Stem, projection, positional convolution (`embed`) and transformer (`encode`).

    Keys and arithmetic follow the published D-BETA and ECG-FM encoders.
    """

    def __init__(self, config: EcgEncoderConfig):
        super().__init__()
        width = config.encoder_embed_dim
        layers = parse_conv_layers(config.conv_feature_layers)
        self.feature_grad_mult = config.feature_grad_mult
        self.feature_extractor = ConvStem(layers, config.in_d, config.conv_bias)
        self.layer_norm = nn.LayerNorm(layers[-1][0])
        self.post_extract_proj = nn.Linear(layers[-1][0], width)
        self.dropout_input = nn.Dropout(config.dropout_input)
        self.conv_pos = PositionalConv(width, config.conv_pos, config.conv_pos_groups)
        self.encoder = TransformerEncoder(
            config.encoder_layers,
            width,
            config.encoder_ffn_embed_dim,
            config.encoder_attention_heads,
            config.dropout,
            config.attention_dropout,
            config.activation_dropout,
            config.encoder_layerdrop,
            config.layer_norm_first,
            config.initializer_range,
        )

    def embed(self, ecg: Tensor, padding_mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """ECG (B, 12, T) in millivolt, padding (B, T) at the end -> frames with position (B, N, D), padding (B, N).

        A frame that holds padding counts as padding. Norm and positional convolution see what they would see of the
        ECG alone, so its other frames do not depend on the batch.

        Raises
        ------
        ValueError
            When an ECG is too short for one frame.
        """
        lengths, padding = None, None
        if padding_mask is not None:
            lengths = (~padding_mask).sum(1)
            n_frames = self.feature_extractor.n_frames(lengths)
            if bool((n_frames < 1).any()):
                raise ValueError(
                    f"an ECG of {int(lengths.min())} samples is too short: one frame takes "
                    f"{self.feature_extractor.samples_per_frame}"
                )
        features = self.feature_extractor(ecg, lengths)
        if lengths is not None:
            padding = torch.arange(features.shape[-1], device=ecg.device) >= n_frames[:, None]
        if self.feature_grad_mult != 1.0 and features.requires_grad:
            features = features * self.feature_grad_mult + features.detach() * (1.0 - self.feature_grad_mult)
        frames = self.dropout_input(self.post_extract_proj(self.layer_norm(features.transpose(1, 2))))
        if padding is not None:
            frames = frames.masked_fill(padding[:, :, None], 0.0)
        return frames + self.conv_pos(frames), padding

    def encode(self, frames: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Frame embeddings (B, N, D), with or without a class token in front -> contextual frames (B, N, D)."""
        return self.encoder(frames, padding_mask)


def with_class_token(padding: Tensor | None) -> Tensor | None:
    """Padding mask (B, N) of frames -> (B, 1 + N) with the class token, which is never padding."""
    return None if padding is None else torch.cat([padding.new_zeros(len(padding), 1), padding], dim=1)
