"""The ECG encoder that D-BETA and ECG-FM share: convolution stem, positional convolution, transformer."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ecgtext_plugins.modules.conv_stem import ConvStem, PositionalConv, parse_conv_layers
from ecgtext_plugins.modules.dropout import Dropout
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

    Keys and arithmetic follow the published D-BETA and ECG-FM encoders. A `feature_grad_mult` of 0 freezes the stem.

    Attributes
    ----------
    padding_as_published : bool
        Let padding into the stem's norm and the positional convolution, as fairseq-signals does: the frames of a short
        ECG then depend on how long the others of its batch are.
    """

    def __init__(self, config: EcgEncoderConfig):
        super().__init__()
        width = config.encoder_embed_dim
        layers = parse_conv_layers(config.conv_feature_layers)
        self.feature_grad_mult = config.feature_grad_mult
        self.padding_as_published = False
        self.feature_extractor = ConvStem(layers, config.in_d, config.conv_bias)
        self.feature_extractor.requires_grad_(config.feature_grad_mult != 0)
        self.layer_norm = nn.LayerNorm(layers[-1][0])
        self.post_extract_proj = nn.Linear(layers[-1][0], width)
        self.dropout_input = Dropout(config.dropout_input)
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

    def stem(self, ecg: Tensor, padding_mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """ECG (B, 12, T), padding (B, T) at the end -> features (B, C, N) of the convolutions, padding (B, N).

        A frame that holds padding counts as padding.

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
        features = self.feature_extractor(ecg, None if self.padding_as_published else lengths)
        if lengths is not None:
            padding = torch.arange(features.shape[-1], device=ecg.device) >= n_frames[:, None]
        if self.feature_grad_mult != 1.0 and features.requires_grad:
            features = features * self.feature_grad_mult + features.detach() * (1.0 - self.feature_grad_mult)
        return features, padding

    def project(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, C, N) -> the same after layer norm (B, N, C), frames without position (B, N, D)."""
        features = self.layer_norm(features.transpose(1, 2))
        return features, self.dropout_input(self.post_extract_proj(features))

    def add_position(self, frames: Tensor, padding: Tensor | None = None) -> Tensor:
        """Add the positional convolution to frames (B, N, D).

        Padding (B, N) is zeroed before it, so that it leaves no trace; after it with `padding_as_published`.
        """
        if padding is None:
            return frames + self.conv_pos(frames)
        if self.padding_as_published:
            return (frames + self.conv_pos(frames)).masked_fill(padding[:, :, None], 0.0)
        frames = frames.masked_fill(padding[:, :, None], 0.0)
        return frames + self.conv_pos(frames)

    def embed(self, ecg: Tensor, padding_mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """ECG (B, 12, T) in millivolt, padding (B, T) at the end -> frames with position (B, N, D), padding (B, N).

        Norm and positional convolution see what they would see of the ECG alone, so that its frames do not depend on
        the batch, unless `padding_as_published`.

        Raises
        ------
        ValueError
            When an ECG is too short for one frame.
        """
        features, padding = self.stem(ecg, padding_mask)
        return self.add_position(self.project(features)[1], padding), padding

    def encode(self, frames: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Frame embeddings (B, N, D), with or without a class token in front -> contextual frames (B, N, D)."""
        return self.encoder(frames, padding_mask)

    def encode_frames(self, ecg: Tensor, padding_mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """ECG (B, 12, T), padding (B, T) -> contextual frames (B, N, D), padding (B, N) or None."""
        frames, padding = self.embed(ecg, padding_mask)
        return self.encode(frames, padding), padding

    def attention_maps(self, ecg: Tensor, padding_mask: Tensor | None = None, layers: Sequence[int] = (-1,)) -> Tensor:
        """Attention weights of some layers, averaged over heads, without dropout.

        Parameters
        ----------
        ecg : Tensor, shape (B, 12, T)
        padding_mask : Tensor, shape (B, T), bool, optional
        layers : sequence of int
            Which layers; negative numbers count from the last one.

        Returns
        -------
        Tensor, shape (B, len(layers), N, N), float32
            Row: the frame that attends; each row sums to 1.

        Raises
        ------
        ValueError
            When there is no such layer.
        """
        frames, padding = self.embed(ecg, padding_mask)
        return self.encoder.attention_maps(frames, padding, layers)


def with_class_token(padding: Tensor | None) -> Tensor | None:
    """Padding mask (B, N) of frames -> (B, 1 + N) with the class token, which is never padding."""
    return None if padding is None else torch.cat([padding.new_zeros(len(padding), 1), padding], dim=1)
